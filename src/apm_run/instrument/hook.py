"""The import hook: a plain dictionary of trigger modules, asked once per import (launching.md 3).

It lets the other finders find the module, sets ``exec_module`` on that loader instance and takes it away again
inside the call: the loader's type and identity stay as they are.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class Finder:
    """The one object that the agent puts on ``sys.meta_path``."""

    __slots__ = ("_imported", "_leftover", "_triggers")

    def __init__(
        self, triggers: dict[str, Any], imported: Callable[[ModuleType], None], leftover: ModuleType | None
    ) -> None:
        """Say what is waited for.

        :param imported: called with a trigger module once the program has imported it; it must not raise.
        :param leftover: our ``sitecustomize``, which the program must not find once it is loaded.
        """
        self._triggers = triggers
        self._imported = imported
        self._leftover = leftover

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification that the other finders give, for a trigger module; None for all others."""
        leftover = self._leftover
        if leftover is not None and not getattr(leftover.__spec__, "_initializing", False):
            self._leftover = None
            if sys.modules.get("sitecustomize") is leftover:
                del sys.modules["sitecustomize"]
        if name not in self._triggers:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        original = getattr(loader, "exec_module", None)
        if original is None or isinstance(loader, type):
            return
        imported, name = self._imported, spec.name

        def exec_module(module: ModuleType) -> None:
            if module.__name__ != name:  # a loader that serves several modules
                return original(module)
            loader.__dict__.pop("exec_module", None)
            original(module)
            return imported(module)

        try:
            loader.exec_module = exec_module
        except AttributeError:  # a loader without room for attributes: the module stays as it is
            return


def arm(triggers: dict[str, Any], imported: Callable[[ModuleType], None], leftover: ModuleType | None = None) -> Finder:
    """Put the hook in place, and instrument at once what is imported already."""
    finder = Finder(triggers, imported, leftover)
    sys.meta_path.insert(0, finder)
    for name in triggers:
        module = sys.modules.get(name)
        if module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False) is not True:
            imported(module)
    return finder
