"""What a forked child must put right before it goes on.

A thread of the parent may have been importing just then. Its module locks come into the child taken, by nobody: the
next import of that module would wait for ever. Where the thread was ours, or the module is, we undo that.
"""

from __future__ import annotations

import _frozen_importlib
import _warnings
import os
import posix
import sys

from apm_run.export.native import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any


class Fork:
    """Around a fork: the interpreter's warning that there are threads is for the program's own, not for ours.

    From Python 3.12 on it counts those of the operating system and warns in the parent, from 3.13 on behind the
    callbacks there. The filter removes itself when it has matched.
    """

    __slots__ = ("_filter", "_filters")

    def __init__(self) -> None:
        self._filters: list[Any] = []
        self._filter = ("ignore", self, DeprecationWarning, None, 0)

    def before(self, ours: int) -> None:
        """:param ours: how many of the threads are ours."""
        if sys.version_info >= (3, 12) and ours and _threads() == 1 + ours:
            self.remove()
            self._filters = getattr(sys.modules.get("warnings"), "filters", _warnings.filters)
            self._filters.insert(0, self._filter)

    def remove(self) -> None:
        """Leave the program's filters as they were."""
        if self._filter in self._filters:
            self._filters.remove(self._filter)

    def match(self, text: str) -> bool:
        """Whether it is the warning that a fork gives; ``warnings`` calls this as that of a regular expression."""
        if not (text.startswith("This process (pid=") and "is multi-threaded" in text):
            return False
        self.remove()
        return True


def _threads() -> int:
    """The threads of this process, as the interpreter counts them; 0 where it can not."""
    try:
        handle = posix.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(posix.read(handle, 4096).rpartition(b")")[2].split()[17])
        finally:
            os.close(handle)
    except (OSError, ValueError, IndexError):
        return 0


def free_imports(threads: Container[int]) -> None:
    """Free the modules that other threads were importing.

    :param threads: idents of the agent's threads in the parent; anything they were importing is freed, of other
        threads our own modules only.
    """
    me = get_ident()
    locks = _frozen_importlib._module_locks  # type: ignore[attr-defined]
    for name, reference in list(locks.items()):
        owner = getattr(reference(), "owner", None)
        if owner in (None, me) or not (owner in threads or name.startswith("apm_run")):
            continue
        del locks[name]
        module = sys.modules.get(name)
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            del sys.modules[name]
