"""The ends that no ``atexit`` sees: ``os._exit`` and ``os.exec*`` (design 5a, "Ends").

They are replaced when the first event of a process waits, or the first span of the program's own transaction has begun,
and send for at most 0.3 s before they do what they do. An idle program keeps the originals.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

from apm_run.guard import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.agent import Agent

#: Seconds that sending may delay such an end.
DELAY = 0.3


class StandIn:
    """What stands for a built-in function: by all that a program can ask of it, that function."""

    __slots__ = ("_first", "_original")

    def __init__(self, original: Callable[..., Any], first: Callable[..., None]) -> None:
        """:param first: is called before, with the same arguments; what it raises is raised to the program."""
        self._original = original
        self._first = first

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what comes first, then what the function does."""
        self._first(*args, **kwargs)
        try:
            return self._original(*args, **kwargs)
        except BaseException as end:
            end.__traceback__ = None  # from 3.11 on what is re-raised then shows no frame of ours
            raise

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._original)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._original.__doc__

    @property
    def __module__(self) -> str:  # type: ignore[override]
        return self._original.__module__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original  # os.supports_fd holds the originals

    def __hash__(self) -> int:
        return hash(self._original)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce__(self) -> str:
        return self._original.__name__


class Undisturbed:
    """A process that ends by itself, at once, is not killed in the middle of its last request.

    A pool kills its workers while they end; who adopted the request in flight would send it a second time.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> None:
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP))

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)


def is_pool_worker() -> bool:
    """Whether ``multiprocessing`` has started this process, and may kill it."""
    process = sys.modules.get("multiprocessing.process")
    return getattr(process, "_parent_process", None) is not None


def watch(agent: Agent) -> None:
    """Have these functions send first what waits in this process; once."""

    def leave(*args: Any, **kwargs: Any) -> None:
        try:
            status = args[0] if args else kwargs.get("status")
            agent.hard_exit(status, DELAY)
        except BaseException:
            # Whatever happens, the program ends here.
            failed("os._exit")

    def become(*args: Any, **kwargs: Any) -> None:
        try:
            path = args[0] if args else kwargs.get("path")
            # execvp tries one directory after the other; a descriptor is taken as it is.
            if isinstance(path, int) or os.access(path, os.X_OK):  # type: ignore[arg-type]
                agent.hard_exit(0, DELAY, stays=True)
        except Exception:
            failed("os.exec")

    for name, first in (("_exit", leave), ("execv", become), ("execve", become)):
        original = getattr(os, name)
        if type(original) is StandIn:
            continue
        stand = StandIn(original, first)
        for module in (os, sys.modules["posix"]):
            if getattr(module, name) is original:
                setattr(module, name, stand)
