"""Types implemented in C: their attributes can not be set, so objects are made of a subclass (decision 0005).

The subclass has the name, module and qualified name of what it stands for, and takes its place in the library where
nobody can have seen the original yet; ``isinstance`` and the library's own type checks hold, and a type of the
program's that overrides a method keeps its say.
"""

from __future__ import annotations

import sys

from apm_run.guard import failed
from apm_run.instrument import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from apm_run.instrument.vocabulary import Factory
    from apm_run.tracer import Tracer

#: What a subclass of ours is known by: the wrapper that made it.
_MAKER = "_apm_run_maker"


def factory(
    original: Callable[..., Any],
    base: type,
    target: Factory,
    tracer: Tracer,
    where: str,
    *,
    standard: dict[type, type] | None = None,
) -> Callable[..., Any]:
    """The wrapper of a function that makes objects: it asks for a subclass of what the caller asks for.

    :param standard: is filled with the subclasses of the library's own types, which are made at once; without it
        they are made when they are first asked for.
    """
    position, keyword, default = target.position, target.keyword, target.default
    known: dict[type, type] = {} if standard is None else standard

    def instead(asked: Any) -> Any:
        if asked is base and base in known:
            return known[base]
        # A factory that is no type (a function, say) makes what it likes: left as it is.
        if not isinstance(asked, type) or not issubclass(asked, base) or _minded(asked):
            return asked
        if any(_MAKER in one.__dict__ for one in asked.__mro__):
            return asked
        # The type itself remembers, weakly: what the program makes and forgets is not kept alive by us.
        for found in type.__subclasses__(asked):
            if found.__dict__.get(_MAKER) is wrapper:
                break
        else:
            found = _subclass(asked, base, target, tracer, wrapper, standard=standard)
        if asked is base:
            known[base] = found
        return found

    def meant(args: tuple[Any, ...]) -> Any:
        """What is made where nothing, or None, is asked for."""
        return (getattr(args[0], default, None) if default and args else None) or base

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            if len(args) > position:
                asked = args[position]
                if asked is None and default is not None:
                    asked = meant(args)
                args = (*args[:position], instead(asked), *args[position + 1 :])
            elif default is None:
                kwargs[keyword] = instead(kwargs.get(keyword, base))
            else:
                asked = kwargs.get(keyword)
                kwargs[keyword] = instead(meant(args) if asked is None else asked)
        except Exception:
            failed(f"{where}: factory")
        # Only a function that came to take what it makes by position warns of that.
        caller = sys._getframe(1) if default is None and len(args) > 1 < position else None
        try:
            if caller is not None:
                return _called_at(caller)(original, args, kwargs)
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            if caller is not None:
                wrap.hide_frame(error)
            raise

    dressed = wrap.dressed(wrapper, original)
    if standard is not None:
        others = type.__subclasses__(base)
        made = instead(base)
        for other in others:
            standard[other] = _joined(made, other)
    return dressed


def is_ours(made: Callable[..., Any]) -> bool:
    """Whether a function is such a wrapper already: a module may hand on what another has defined."""
    code = getattr(made, "__code__", None)
    return code is not None and code.co_filename == wrap.unseen_name(factory.__code__.co_filename)


def _minded(kind: type) -> bool:
    """Whether a type takes notice of its subclasses, through a metaclass or ``__init_subclass__``."""
    return type(kind) is not type or any("__init_subclass__" in one.__dict__ for one in kind.__mro__[:-1])


def _subclass(
    kind: type,
    base: type,
    target: Factory,
    tracer: Tracer,
    maker: Callable[..., Any],
    *,
    standard: dict[type, type] | None,
) -> type:
    namespace: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__, _MAKER: maker}
    if "__dict__" not in dir(kind):
        namespace["__slots__"] = ()
    for making in target.makes:
        method = getattr(kind, making.path, None)
        # Overridden by the program: it may take other arguments, and its objects are its own affair.
        if method is not None and method is getattr(base, making.path, None):
            where = f"{target.base}.{making.path}"
            namespace[making.path] = factory(method, _type(making), making, tracer, where, standard=standard)
    for spanned in target.targets:
        method = getattr(kind, spanned.path, None)
        if method is not None:
            interceptor = wrap.Interceptor(spanned, tracer, f"{target.base}.{spanned.path}")
            namespace[spanned.path] = wrap.function(method, interceptor)
    made = type(kind.__name__, (kind,), namespace)
    made.__qualname__ = kind.__qualname__
    if kind is base:
        made.__reduce_ex__ = _unpicklable(made, kind)  # type: ignore[method-assign]
    return made


def _joined(made: type, other: type) -> type:
    """What stands for a type that the library itself derives, in C, from one that has been replaced."""
    joined = type(
        other.__name__, (made, other), {"__module__": other.__module__, "__doc__": other.__doc__, "__slots__": ()}
    )
    joined.__qualname__ = other.__qualname__
    joined.__reduce_ex__ = _unpicklable(joined, other)  # type: ignore[method-assign]
    return joined


def _type(making: Factory) -> type:
    """The type named by ``making.base``."""
    module, _, name = making.base.partition(":")
    found: type = getattr(sys.modules[module], name)
    return found


def _unpicklable(made: type, kind: type) -> Callable[..., Any]:
    """A ``__reduce_ex__`` that refuses by the full name, as a C type does; what the program derives has its own say."""

    original: Callable[..., Any] = kind.__reduce_ex__

    def reduce(self: Any, protocol: int) -> Any:
        if type(self) is made:
            raise TypeError(f"cannot pickle '{kind.__module__}.{kind.__qualname__}' object")
        try:
            return original(self, protocol)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    return wrap.dressed(reduce, original)


def _called_at(caller: FrameType) -> Callable[..., Any]:
    """A function that calls another from the file, the line and the module of a frame.

    What is written in C warns of positional arguments where Python code has called it: there it must be seen, and
    be filtered by the module's name.
    """
    code = _proceed.__code__.replace(co_filename=caller.f_code.co_filename, co_firstlineno=caller.f_lineno - 1)
    made: Callable[..., Any] = _function(code, caller.f_globals)
    return made


def _proceed(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return original(*args, **kwargs)


_function: Any = type(_proceed)
