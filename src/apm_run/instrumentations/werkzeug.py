"""Werkzeug's development server, with its reloader and debugger."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="werkzeug",
    versions="3.1",
    targets=(
        Claim("werkzeug.serving:run_simple"),
        Serve("werkzeug.serving:make_server", wsgi, argument=(2, "app")),
    ),
)
