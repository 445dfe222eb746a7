"""The import hook: a plain dictionary of trigger modules, asked once per import (launching.md 3).

It lets the other finders find the module, sets ``exec_module`` on that loader instance and takes it away again
inside the call: the loader's type and identity stay as they are.

A server written in C makes its own module without an import, and runs an application's file without a finder. Both
are seen where it asks for a module, or has the import system set one up.
"""

from __future__ import annotations

import _frozen_importlib_external as external
import sys
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType
    from typing import Any


class Finder:
    """The one object that the agent puts on ``sys.meta_path``."""

    __slots__ = ("_asking", "_imported", "_made", "_running", "_triggers")

    def __init__(
        self, triggers: dict[str, Any], imported: Callable[[ModuleType], None], made: Mapping[str, str]
    ) -> None:
        """:param triggers: may get more while it is in use.

        :param imported: called with a trigger module once the program has imported it; it must not raise.
        :param made: the trigger modules that no import makes -> what they have once they are complete.
        """
        self._triggers = triggers
        self._made = tuple(made.items())
        # Code that C runs, as weak references.
        self._running: list[Any] = []
        # Names that the other finders are being asked for: one of them may ask all finders in its turn, us included.
        self._asking: set[str] = set()
        self._imported = imported

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification that the other finders give, for a trigger module; None for all others."""
        for made, _ in self._made:
            if made in sys.modules:
                self._meet()
                break
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

    def _meet(self) -> None:
        """Tell of the modules that somebody has made by now."""
        for made in self._made:
            module = sys.modules.get(made[0])
            if module is not None and hasattr(module, made[1]) and made in self._made:
                self._made = tuple(other for other in self._made if other != made)
                self._imported(module)

    def executed(self, name: str) -> None:
        """C is about to run a module's code, in this thread and next of all: tell of it afterwards.

        C gives the code up and looks into the module's dictionary, and asks nobody. Tracing is on for one event only:
        nothing else tells which code it is.
        """
        self._meet()
        if name not in self._triggers:
            return
        before = sys.gettrace()

        def first(frame: FrameType, event: str, arg: Any) -> Any:  # pragma: no cover (coverage traces no tracing)
            sys.settrace(before)
            self._running.append(ref(frame.f_code, given_up))
            return None if before is None else before(frame, event, arg)

        def given_up(code: Any) -> None:
            self._running.remove(code)
            module = sys.modules.get(name)
            if module is not None:
                self._imported(module)

        sys.settrace(first)

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


def _watch_execution(finder: Finder) -> None:
    """The one function of the import system that C calls for a module it has compiled itself, before it runs it."""
    system: Any = external
    original = system._fix_up_module

    def _fix_up_module(namespace: dict[str, Any], name: str, *rest: Any) -> None:
        original(namespace, name, *rest)
        finder.executed(name)

    system._fix_up_module = _fix_up_module


def arm(
    triggers: dict[str, Any], imported: Callable[[ModuleType], None], made: Mapping[str, str] | None = None
) -> Finder:
    """Put the hook in place, and instrument at once what is imported already.

    :param made: as for :class:`Finder`.
    """
    finder = Finder(triggers, imported, made or {})
    sys.meta_path.insert(0, finder)
    if made:
        _watch_execution(finder)
    for name in triggers:
        module = sys.modules.get(name)
        if module is not None and getattr(getattr(module, "__spec__", None), "_initializing", False) is not True:
            imported(module)
    return finder
