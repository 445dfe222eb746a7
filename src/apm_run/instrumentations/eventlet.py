"""eventlet: its WSGI server, and the current span in every greenlet and every thread of its pool.

Threads are greenlets too where the program is patched.
"""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Carry, Greenlet, Instrumentation, Serve

INSTRUMENTATION = Instrumentation(
    library="eventlet",
    versions="0.41",
    targets=(
        Greenlet("eventlet.greenthread:spawn"),
        Greenlet("eventlet.greenthread:spawn_n"),
        Greenlet("eventlet.greenthread:spawn_after"),
        Greenlet("eventlet.greenthread:spawn_after_local"),
        Carry("eventlet.tpool:execute", 0),
        Serve("eventlet.wsgi:Server.__init__", wsgi, argument=(3, "app")),
    ),
)
