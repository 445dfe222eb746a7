"""The standard library's WSGI server, CGI handler included, and its servers of any kind."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="wsgiref",
    versions="CPython 3.9 to 3.13",
    targets=(
        Claim("socketserver:BaseServer.serve_forever"),
        Serve("wsgiref.handlers:BaseHandler.run", wsgi, argument=(1, "application")),
    ),
)
