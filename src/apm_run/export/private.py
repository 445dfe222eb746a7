"""Private copies of standard-library modules: the agent's sending never meets the program's (design 5).

The program may replace ``socket``, ``ssl`` or ``select`` (gevent, mocks), we instrument some of them ourselves, and
a ``base64.py`` in its directory must not become ours. So what the agent needs is executed a second time, from the
standard library's own files, under the name ``apm_run.export._private.NAME``, with an ``__import__`` of its own that
serves private copies. Modules that are loaded already, are the standard library's and are not in :data:`OWN`
are shared; so are built-in ones and C modules with an underscore, which nobody replaces.

Nothing is entered into ``sys.modules`` under a name the program could import.
"""

from __future__ import annotations

import _imp
import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PREFIX = "apm_run.export._private."

#: Modules that programs and their libraries replace or patch in place: never shared, even when loaded.
OWN = frozenset({"socket", "ssl", "select", "selectors"})

#: Imported at their top by what we need, used by functions that we do not: an empty module will do. Importing ``array``
#: would import ``collections`` from wherever the program's path says.
_UNUSED = frozenset({"array"})

_folder = os.path.dirname(os.__file__)
_roots = [_folder, os.path.join(_folder, "lib-dynload")]
_roots += [path for path in sys.path if path not in _roots and path.endswith("lib-dynload")]
_import = builtins.__import__

_ready: dict[str, ModuleType] = {}
_half: dict[str, ModuleType] = {}
_pid = os.getpid()


def load(name: str) -> ModuleType:
    """The standard library's module of that name, shared or private.

    :param name: absolute name, dotted for a module inside a package.
    :raises ImportError: this interpreter has no such module.
    """
    global _pid
    if _pid != os.getpid():
        # A thread of the parent may have been half-way through one of these.
        _pid = os.getpid()
        for half in _half:
            sys.modules.pop(PREFIX + half, None)
        _half.clear()
    if name == "collections.abc":
        name = "_collections_abc"
    module = _ready.get(name) or _half.get(name)
    if module is not None:
        return module
    module = _empty(name) or _shared(name) or _private(name)
    _ready[name] = module
    return module


def _empty(name: str) -> ModuleType | None:
    return type(sys)(PREFIX + name) if name in _UNUSED else None


def _shared(name: str) -> ModuleType | None:
    if name in sys.builtin_module_names and name not in OWN:
        return _plain(name)
    if name in OWN:
        return None
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str) and (origin in ("frozen", "built-in") or _is_ours(origin)):
        # Half imported by a thread of the program: its names may still be missing.
        return None if getattr(spec, "_initializing", False) else module
    return _plain(name) if name.startswith("_") and "." not in name else None


def _plain(name: str) -> ModuleType:
    _import(name)
    return sys.modules[name]


def _is_ours(origin: str) -> bool:
    return origin.startswith(_folder + os.sep) and "-packages" not in origin


def _private(name: str) -> ModuleType:
    parent, _, leaf = name.rpartition(".")
    roots: Sequence[str] = load(parent).__path__ if parent else _roots
    spec = _find(name, roots)
    if spec is None:
        if parent:
            raise ImportError(f"no module {name} in the standard library", name=name)
        return _plain(name)
    module = _extension(spec) if spec.origin and not spec.origin.endswith(".py") else _source(name, spec)
    if parent:
        setattr(load(parent), leaf, module)
    return module


def _find(name: str, roots: Sequence[str]) -> ModuleSpec | None:
    import _frozen_importlib_external

    spec: ModuleSpec | None = _frozen_importlib_external.PathFinder.find_spec(name, list(roots))
    return spec if spec is not None and spec.loader is not None else None


def _extension(spec: ModuleSpec) -> ModuleType:
    before = sys.modules.get(spec.name)
    module: ModuleType = _imp.create_dynamic(spec)
    _imp.exec_dynamic(module)
    # Modules of the older, single-phase kind enter themselves.
    if before is None:
        sys.modules.pop(spec.name, None)
    return module


def _source(name: str, spec: ModuleSpec) -> ModuleType:
    module = type(sys)(PREFIX + name)
    names = module.__dict__
    names["__builtins__"] = _builtins()
    names["__file__"] = spec.origin
    search = spec.submodule_search_locations
    names["__package__"] = PREFIX + (name if search is not None else name.rpartition(".")[0])
    names["__package__"] = names["__package__"].rstrip(".")
    if search is not None:
        names["__path__"] = list(search)
    _half[name] = module
    # enum's _convert_ and namedtuple look their module up by name.
    sys.modules[PREFIX + name] = module
    known = "collections.abc" in sys.modules
    try:
        # get_code reads the compiled file of the interpreter, nothing is compiled here.
        exec(spec.loader.get_code(spec.name), names)  # type: ignore[union-attr]
    except BaseException:
        sys.modules.pop(PREFIX + name, None)
        raise
    finally:
        _half.pop(name, None)
        if not known and "collections" not in sys.modules:
            # A private collections enters it.
            sys.modules.pop("collections.abc", None)
    return module


def _builtins() -> dict[str, object]:
    copy = dict(builtins.__dict__)
    copy["__import__"] = _private_import
    return copy


def _private_import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """What an ``import`` statement inside a private module does."""
    if level:
        package = str((globals or {})["__package__"])[len(PREFIX) :]
        for _ in range(level - 1):
            package = package.rpartition(".")[0]
        name = f"{package}.{name}" if name else package
    module = load(name)
    if not fromlist:
        return module if level else load(name.partition(".")[0])
    if hasattr(module, "__path__"):
        for item in fromlist:
            if item != "*" and not hasattr(module, item):
                load(f"{name}.{item}")
    return module
