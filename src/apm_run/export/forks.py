"""What a forked child must put right before it goes on.

A thread of the parent may have been importing just then. Its module locks come into the child taken, by nobody: the
next import of that module would wait for ever. Where the thread was ours, or the module is, we undo that.
"""

from __future__ import annotations

import _frozen_importlib
import sys

from apm_run.export.native import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container


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
