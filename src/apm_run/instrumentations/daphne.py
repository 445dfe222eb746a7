"""daphne: one server object holds the application, whether its command or Django's runserver makes it."""

from __future__ import annotations

from apm_run.conventions import asgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="daphne",
    versions="4.2",
    targets=(
        Claim("daphne.server:Server.run"),
        Serve("daphne.server:Server.__init__", asgi, argument=(1, "application")),
    ),
)
