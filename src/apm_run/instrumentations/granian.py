"""granian: its native code calls what a worker has wrapped an application in, and that is made in Python."""

from __future__ import annotations

from apm_run.conventions import asgi, wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="granian",
    versions="2.8",
    targets=(
        # The process that only watches over workers loads no application.
        Claim("granian.server.mp:MPServer.serve"),
        Claim("granian.server.mt:MTServer.serve"),
        Serve("granian.asgi:_callback_wrapper", asgi, argument=(0, "callback")),
        Serve("granian.wsgi:_callback_wrapper", wsgi, argument=(0, "callback")),
    ),
)
