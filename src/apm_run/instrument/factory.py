"""Types implemented in C: their attributes can not be set, so objects are made of a subclass (decision 0005).

The subclass has the name, module and qualified name of what it stands for; ``isinstance`` and the library's own
type checks hold, and a type of the program's that overrides a method keeps its say.
"""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.vocabulary import Factory
    from apm_run.tracer import Tracer


def factory(
    original: Callable[..., Any], base: type, target: Factory, tracer: Tracer, where: str
) -> Callable[..., Any]:
    """The wrapper of a function that makes objects: it asks for a subclass of what the caller asks for."""
    position = target.position
    made: dict[type, type] = {}

    def subclass(kind: type) -> type:
        found = made.get(kind)
        if found is None:
            found = made[kind] = _subclass(kind, base, target, tracer, where)
        return found

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            if len(args) > position:
                args = (*args[:position], _instead(args[position]), *args[position + 1 :])
            else:
                kwargs = {**kwargs, "factory": _instead(kwargs.get("factory", base))}
        except Exception:
            failed(f"{where}: factory")
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    def _instead(asked: Any) -> Any:
        # A factory that is no type (a function, say) makes what it likes: left as it is.
        if isinstance(asked, type) and issubclass(asked, base) and asked not in made.values():
            return subclass(asked)
        return asked

    return wrap.dressed(wrapper, original)


def _subclass(kind: type, base: type, target: Factory, tracer: Tracer, where: str) -> type:
    namespace: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    if "__dict__" not in dir(kind):
        namespace["__slots__"] = ()
    for making in target.makes:
        method = getattr(kind, making.path)
        # Overridden by the program: it may take other arguments, and its objects are its own affair.
        if method is getattr(base, making.path):
            namespace[making.path] = factory(method, _type(base, making), making, tracer, where)
    for spanned in target.targets:
        interceptor = wrap.Interceptor(spanned, tracer, f"{base.__name__}.{spanned.path}")
        namespace[spanned.path] = wrap.function(getattr(kind, spanned.path), interceptor)
    made = type(kind.__name__, (kind,), namespace)
    made.__qualname__ = kind.__qualname__
    return made


def _type(base: type, making: Factory) -> type:
    """The type named by ``making.base``, looked up beside the type whose method makes it."""
    from sys import modules

    module, _, name = making.base.partition(":")
    found: type = getattr(modules[module], name)
    return found
