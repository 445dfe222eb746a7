"""uvicorn: what it serves is an ASGI 3 application once it has loaded it, whatever it was given."""

from __future__ import annotations

from apm_run.conventions import asgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="uvicorn",
    versions="0.39 to 0.54",
    targets=(
        # The process that only watches over others loads no application.
        Claim("uvicorn.main:run"),
        Serve("uvicorn.config:Config.load", asgi, attribute="loaded_app"),
    ),
)
