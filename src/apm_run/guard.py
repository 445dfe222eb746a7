"""Where the agent's own failures end: never in the program, never unseen in our tests.

Every call from the program's thread into code that could fail for a reason of ours runs under :class:`guard`,
or in a ``try`` whose handler calls :func:`failed`. With ``APM_RUN_STRICT=1``, as in all of our tests, both
re-raise.
"""

from __future__ import annotations

import os
import posix
import sys
from time import time

from apm_run import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

STRICT = os.environ.get("APM_RUN_STRICT") == "1"

#: Where it failed -> [how often, the last failure as text]. Doctor shows it.
failures: dict[str, list[object]] = {}

#: Bytes of the file of what has been said, after which it begins anew.
_NOTED = 65536

_stderr: tuple[int, ...] | None
try:
    _stderr = os.fstat(2)[1:3]
except OSError:
    _stderr = None


def failed(where: str) -> None:
    """Record the exception that is being handled; call it from an ``except`` block only.

    :param where: the place in the agent, as doctor names it, e.g. ``"describe sqlite3"``.
    :raises Exception: the exception itself, in strict mode; and what a signal handler of the program's has raised,
        which was meant for the program: a job's time is up, say.
    """
    if not sys.meta_path:
        # The interpreter is being taken down, and nothing can be imported any more: a finalizer of the program's has
        # called what is traced.
        return
    error = sys.exc_info()[1]
    if error is not None and _of_a_signal(error):
        raise error
    entry = failures.setdefault(where, [0, ""])
    entry[0] = int(entry[0]) + 1  # type: ignore[call-overload]
    try:
        entry[1] = f"{type(error).__name__}: {error}"[:500]
        log.write("error", "agent.failure", f"{where}: {entry[1]}")
    except Exception:
        entry[1] = type(error).__name__
    if STRICT:
        raise  # noqa: PLE0704 (the caller is handling it)


def _of_a_signal(error: BaseException) -> bool:
    """Whether a signal handler has raised an exception, in whatever piece of work the signal came."""
    codes = _handlers()
    trace = error.__traceback__ if codes else None
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _handlers() -> set[object]:
    """The code of the program's signal handlers."""
    signals = __import__("_signal")  # the module itself, which is always there; signal would import enum

    found = set()
    for number in range(1, signals.NSIG):
        handler: object = signals.getsignal(number)
        while not hasattr(handler, "__code__") and handler is not None:  # a method; a partial
            handler = getattr(handler, "__func__", None) or getattr(handler, "func", None)
        if handler is not None:
            found.add(handler.__code__)
    return found


class guard:
    """Context manager that swallows and records any :class:`Exception` of its body; re-raises in strict mode."""

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        """:param where: the place in the agent, as doctor names it."""
        self.where = where

    def __enter__(self) -> None:
        """Begin the guarded body."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Swallow what is the agent's; let KeyboardInterrupt and the like pass."""
        if not isinstance(error, Exception):
            return False
        failed(self.where)
        return True


def say(line: str) -> None:
    """Write the one line that a launched tree may put on stderr (design 5, "Silence").

    A second call in this process, its children or its siblings below the same launcher writes nothing; nor does
    any call once the program has put another file on descriptor 2.

    :param line: one line, without prefix and newline.
    """
    log.write("warning", "agent.told", line)
    tree = f"{os.environ.get('APM_RUN_LAUNCHED', os.getpid())}:{int(time()) // 86400}"
    if os.environ.get("APM_RUN_SAID") == tree:
        return
    os.environ["APM_RUN_SAID"] = tree
    try:
        if _stderr is not None and os.fstat(2)[1:3] == _stderr and _first_of_tree(tree):
            posix.write(2, f"apm-run: {line}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def _first_of_tree(tree: str) -> bool:
    """Whether no process of the tree has spoken yet, as noted in a small file of this user's."""
    folder = os.environ.get("TMPDIR") or "/tmp"
    mark = f"{tree} {os.getpid()}\n".encode()
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = posix.open(f"{folder}/.apm-run-said-{os.getuid()}", flags, 0o600)
    except OSError:
        return True
    try:
        info = os.fstat(handle)
        if info.st_uid != os.getuid():
            return True
        if info.st_size > _NOTED:
            os.ftruncate(handle, 0)
        # Noted first and then looked at: of two processes at once, the one whose note comes first speaks.
        posix.write(handle, mark)
        notes = os.pread(handle, 2 * _NOTED, 0).splitlines(keepends=True)
        return next((note for note in notes if note.startswith(f"{tree} ".encode())), mark) == mark
    except OSError:
        return True
    finally:
        os.close(handle)
