"""gevent: its WSGI server, and the current span in every greenlet and every thread of its pool.

Threads are greenlets too where the program is patched.
"""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Carry, Greenlet, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="gevent",
    versions="25 and 26",
    targets=(
        Greenlet("gevent:Greenlet.add_spawn_callback", hook=True),
        Greenlet("gevent:spawn_raw"),
        Carry("gevent.threadpool:ThreadPool.spawn", 1),
        Serve("gevent.pywsgi:WSGIServer.__init__", wsgi, argument=(2, "application")),
    ),
)
