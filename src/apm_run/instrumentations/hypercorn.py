"""hypercorn: by the time it wraps an application it has found out which protocol that one speaks."""

from __future__ import annotations

from apm_run.conventions import asgi, wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="hypercorn",
    versions="0.18",
    targets=(
        # The process that only watches over workers loads no application.
        Claim("hypercorn.run:run"),
        Serve("hypercorn.app_wrappers:ASGIWrapper.__init__", asgi, argument=(1, "app")),
        Serve("hypercorn.app_wrappers:WSGIWrapper.__init__", wsgi, argument=(1, "app")),
    ),
)
