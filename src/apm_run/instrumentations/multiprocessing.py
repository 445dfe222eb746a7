"""multiprocessing: the process that cleans up behind the others is no unit of work. (A forkserver's children are.)"""

from __future__ import annotations

from apm_run.instrument.vocabulary import Claim, Instrumentation

INSTRUMENTATION = Instrumentation(
    library="multiprocessing",
    versions="CPython 3.9 to 3.13",
    targets=(Claim("multiprocessing.resource_tracker:main"),),
)
