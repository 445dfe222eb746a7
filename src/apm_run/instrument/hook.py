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

    __slots__ = ("_asking", "_imported", "_triggers")

    def __init__(self, triggers: dict[str, Any], imported: Callable[[ModuleType], None]) -> None:
        """:param imported: called with a trigger module once the program has imported it; it must not raise."""
        self._triggers = triggers
        # Names that the other finders are being asked for: one of them may ask all finders in its turn, us included.
        self._asking: set[str] = set()
        self._imported = imported

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification that the other finders give, for a trigger module; None for all others."""
        if name not in self._triggers or name in self._asking:
            return None
        self._asking.add(name)
        try:
            for finder in sys.meta_path:
                find = getattr(finder, "find_spec", None)
                if finder is self or find is None:
                    continue
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    self._watch(spec)
                    return spec
            return None
        finally:
            self._asking.discard(name)

    def _watch(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        original = getattr(loader, "exec_module", None)
        if isinstance(original, _Watch):  # asked for before and not loaded, or a loader of several modules
            original.names.add(spec.name)
        elif original is not None and not isinstance(loader, type):
            try:
                loader.exec_module = _Watch(loader, spec.name, self._imported)
            except Exception:  # a loader without room for attributes: the module stays as it is
                return


class _Watch:
    """What stands for a loader's ``exec_module`` until the awaited modules have come."""

    __slots__ = ("_before", "_imported", "_loader", "_original", "names")

    def __init__(self, loader: Any, name: str, imported: Callable[[ModuleType], None]) -> None:
        """:param loader: whose method it replaces. :param name: of the first module that is awaited."""
        self._loader = loader
        self._original = loader.exec_module
        self._before = loader.__dict__.get("exec_module")
        self._imported = imported
        self.names = {name}

    def __call__(self, module: ModuleType) -> None:
        """Load the module; if it is awaited, tell of it, having put the loader's own method back."""
        awaited = module.__name__ in self.names
        self.names.discard(module.__name__)
        if not self.names:
            self._restore()
        try:
            self._original(module)
        except BaseException as error:
            # The interpreter takes the frames of an import out of a traceback only where they stand together.
            traceback = error.__traceback__
            error.__traceback__ = traceback and traceback.tb_next
            raise
        if awaited:
            self._imported(module)

    def _restore(self) -> None:
        attributes = self._loader.__dict__
        if attributes.get("exec_module") is self:
            if self._before is None:
                del attributes["exec_module"]
            else:
                attributes["exec_module"] = self._before


def arm(triggers: dict[str, Any], imported: Callable[[ModuleType], None]) -> Finder:
    """Put the hook in place, and instrument at once what is imported already."""
    finder = Finder(triggers, imported)
    sys.meta_path.insert(0, finder)
    for name in triggers:
        module = sys.modules.get(name)
        if module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False) is not True:
            imported(module)
    return finder
