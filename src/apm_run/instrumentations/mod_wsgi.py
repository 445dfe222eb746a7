"""Apache's mod_wsgi: it calls applications from C, and shows each request's to who subscribes to its events."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="mod_wsgi",
    versions="4.9",
    targets=(Serve("mod_wsgi:subscribe_events", wsgi, event=("request_started", "application_object")),),
)
