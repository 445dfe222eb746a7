"""waitress: every socket has a server object, which is made for the application."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="waitress",
    versions="3.0",
    targets=(Serve("waitress.server:BaseWSGIServer.__init__", wsgi, argument=(1, "application")),),
)
