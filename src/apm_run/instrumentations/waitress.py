"""waitress: every socket has a server object; around the application lies what believes in a proxy's headers."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="waitress",
    versions="3.0",
    targets=(Serve("waitress.server:BaseWSGIServer.__init__", wsgi, attribute="application"),),
)
