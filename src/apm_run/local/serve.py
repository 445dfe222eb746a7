"""The stand-alone receiver of ``apm-run local``."""

from __future__ import annotations

import signal
import sys
from threading import Event

from apm_run.local.server import DEFAULT_PORT, Receiver
from apm_run.local.store import SIZE_CAP


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    store_path: str | None = None,
    size_cap: int = SIZE_CAP,
) -> int:
    """Serve in the foreground until SIGINT or SIGTERM; return the exit status.

    Prints its address on stderr once it answers. Arguments and errors as in
    :class:`apm_run.local.server.Receiver`. To be called on the main thread.
    """
    stopped = Event()
    previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    receiver = Receiver(host, port, store_path, size_cap)
    try:
        receiver.start()
        receiver.wait_ready()
        print(f"apm-run: receiving on {receiver.url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        stopped.wait()
    finally:
        receiver.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0
