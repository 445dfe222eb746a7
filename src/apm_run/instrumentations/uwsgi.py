"""uWSGI as a module: it calls applications from C, so requests are those of the frameworks; it is no script itself."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Claim, Instrumentation

INSTRUMENTATION = Instrumentation(
    library="pyuwsgi",
    versions="2.0",
    targets=(Claim("pyuwsgi:run"),),
)
