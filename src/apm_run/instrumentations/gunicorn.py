"""gunicorn: each kind of worker loads its application by itself; only then is known which protocol it speaks."""

from __future__ import annotations

from apm_run.conventions import asgi, wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="gunicorn",
    versions="23 to 27",
    targets=(
        Claim("gunicorn.arbiter:Arbiter.run"),
        Serve("gunicorn.workers.sync:SyncWorker.load_wsgi", wsgi, attribute="wsgi"),
        Serve("gunicorn.workers.gthread:ThreadWorker.load_wsgi", wsgi, attribute="wsgi"),
        Serve("gunicorn.workers.base_async:AsyncWorker.load_wsgi", wsgi, attribute="wsgi"),
        Serve("gunicorn.workers.gasgi:ASGIWorker.load_wsgi", asgi, attribute="asgi"),
    ),
)
