"""Care with file descriptors inside a foreign process (design 5a).

A daemon closes every descriptor it finds and opens its own files under the same numbers; a program may run with 0-2
closed. So: nothing of ours lives on 0-2, nothing is written to a number without knowing that it is still ours, and
objects that would close a number when they are freed are kept for good.
"""

from __future__ import annotations

import os

#: Objects that must never be freed while the program lives. :func:`keep` says how.
_kept: list[object] = []
_hooked = False


def lift(handle: int) -> int:
    """The same open file under a number above 2, close-on-exec; the given number is closed if it was a low one."""
    low = []
    while handle < 3:
        low.append(handle)
        handle = os.dup(handle)
    for number in low:
        os.close(number)
    return handle


def mind_low(handle: int) -> list[int]:
    """Take the free numbers among 0-2, so that what opens next gets none of them; to be closed after it."""
    taken = [os.dup(handle)]
    while taken[-1] < 3:
        taken.append(os.dup(handle))
    return taken


def identity(handle: int) -> tuple[int, int] | None:
    """What the number stands for now (device and inode), None when it is closed."""
    try:
        info = os.fstat(handle)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def keep(thing: object) -> None:
    """Never free it, not even while the interpreter takes its modules apart.

    Freeing a mapping or a socket closes a number that the program may use for its own file by now. The fork callbacks
    of an interpreter are the last references it drops, after all of the program's own objects.
    """
    global _hooked
    _kept.append(thing)
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_kept.__len__)
