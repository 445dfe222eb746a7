"""How what messages need is put in its place: what returns them, what is called with them, what is left."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import receive, wrap
from apm_run.instrument.place import Missing, replace, resolve
from apm_run.instrument.telling import preceded
from apm_run.instrument.vocabulary import Receive, Target
from apm_run.model import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from apm_run.instrument.vocabulary import Deliver, Subclass
    from apm_run.tracer import Tracer

    Make = Callable[[Callable[..., Any]], Callable[..., Any]]


def receiving(target: Receive, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    """Wrap a function that returns messages, and what goes with it, as far as that is there."""
    path, dot, name = attribute.rpartition(".")
    for method, make in _makers(target, name, tracer, target.path):
        try:
            replace(module, f"{path}{dot}{method}", make)
        except Missing:
            if method == name:
                raise


def _makers(target: Receive, name: str, tracer: Tracer, where: str) -> Iterator[tuple[str, Make]]:
    receiver = receive.Receiver(target, tracer, where)
    yield name, lambda original: receive.receiving(original, receiver)
    if target.loop is not None:
        yield target.loop, lambda original: receive.looping(original, tracer)
    for method in target.leave:
        yield method, leaving


def leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of a function, of its kind, before which what its object has given is dealt with."""
    return preceded(original, lambda args, kwargs: receive.settle(args[0] if args else None))


def scope(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of a function that runs a piece of work: what is received in it does not outlast it."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        finally:
            receive.settle()

    return wrap.dressed(wrapper, original)


def callback(target: Deliver, original: Callable[..., Any], tracer: Tracer) -> Callable[..., Any]:
    """The wrapper of a function that takes one of the program's: it hands over one whose calls are transactions."""
    position, name = target.argument

    def instead(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call = Call(original, args, kwargs)
        function = call.argument(position, name)
        describe = target.describe(call) if callable(function) else None
        if describe is None:
            return args, kwargs
        entry = Target(target.path, describe, entry=True)
        inner = wrap.function(function, wrap.Interceptor(entry, tracer, target.path))
        return call.replaced(position, name, _settled(inner))

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            args, kwargs = instead(args, kwargs)
        except Exception:
            failed(f"{target.path}: describe")
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    return wrap.dressed(wrapper, original)


def _settled(inner: Callable[..., Any]) -> Callable[..., Any]:
    """What is called with a message: whatever the same code has asked for before, it has dealt with."""
    if wrap.kind(inner) == wrap.ASYNC_GENERATOR:
        return inner
    return preceded(inner, lambda args, kwargs: receive.settle())


def subclass(target: Subclass, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    """Put a subclass in the place of a type.

    :raises Missing: where there is none, or where it may have been seen already.
    """
    holder, name, kind = resolve(module, attribute)
    if not isinstance(kind, type):
        raise Missing(f"{attribute} is no type")
    if getattr(getattr(module, "__spec__", None), "_initializing", False) is not True:
        raise Missing(f"{attribute} was there before the agent")
    namespace: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__slots__": ()}
    for method in target.targets:
        where = f"{target.path}.{method.path}"
        for path, make in _methods(method, tracer, where):
            original = getattr(kind, path, None)
            if original is not None:
                namespace[path] = make(original)
    made = type(kind.__name__, (kind,), namespace)
    made.__qualname__ = kind.__qualname__
    setattr(holder, name, made)


def _methods(target: Target | Receive, tracer: Tracer, where: str) -> Iterator[tuple[str, Make]]:
    if isinstance(target, Receive):
        yield from _makers(target, target.path, tracer, where)
    else:
        interceptor = wrap.Interceptor(target, tracer, where)
        yield target.path, lambda original: wrap.function(original, interceptor)
