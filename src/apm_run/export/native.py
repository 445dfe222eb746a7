"""Threads and locks of the operating system, also where gevent or eventlet has put its own in their place."""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def original(name: str) -> Any:
    """``_thread``'s own function of that name."""
    saved = getattr(sys.modules.get("gevent.monkey"), "saved", {})
    # eventlet keeps a second copy of the module.
    kept = sys.modules.get("__original_module__thread", _thread)
    return saved.get("_thread", {}).get(name) or getattr(kept, name)


allocate_lock: Callable[[], _thread.LockType] = original("allocate_lock")
get_ident: Callable[[], int] = original("get_ident")
start_new_thread: Callable[..., int] = original("start_new_thread")


class Event:
    """A flag that one thread waits for and others set; setting never blocks and may happen in a signal handler."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or let the next wait pass."""
        try:
            self._lock.release()
        except RuntimeError:
            # It is set already.
            pass

    def is_set(self) -> bool:
        """Whether the next wait would pass at once."""
        return not self._lock.locked()

    def wait(self, timeout: float | None) -> bool:
        """Wait until set, at most so many seconds; clears it; whether it was set."""
        return self._lock.acquire(True, -1 if timeout is None else max(timeout, 0.0))
