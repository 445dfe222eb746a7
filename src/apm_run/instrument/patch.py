"""From the facts of an instrumentation to wrapped functions: each target on its own (design 3, step 4)."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.exchange import exchange
from apm_run.instrument.factory import factory
from apm_run.instrument.vocabulary import Annotate, Carry, Claim, Exchange, Factory, Serve, Subscribe, Target
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from apm_run.instrument.vocabulary import AnyTarget, Instrumentation
    from apm_run.tracer import Tracer


def instrument(instrumentation: Instrumentation, module: ModuleType, tracer: Tracer, results: dict[str, str]) -> None:
    """Instrument what an instrumentation says of a module that has just been imported.

    :param results: the table that doctor prints: path -> ``wrapped``, ``skipped: why`` or ``failed: why``.
    """
    for target in instrumentation.targets:
        trigger, _, attribute = target.path.partition(":")
        if trigger != module.__name__:
            continue
        try:
            _apply(target, module, attribute, tracer)
            results[target.path] = "wrapped"
        except Missing as missing:
            results[target.path] = f"skipped: {missing}"
        except Exception as error:
            results[target.path] = f"failed: {type(error).__name__}: {error}"
            failed(f"instrument {target.path}")


class Missing(Exception):
    """What a target names is not there: another release of the library, most likely."""


def _apply(target: AnyTarget, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    where = target.path.partition(":")[2]
    if isinstance(target, Subscribe):
        _subscribe(target, resolve(module, attribute)[2], tracer, where)
    elif isinstance(target, Exchange):
        holder = resolve(module, attribute)[0]
        for name in (target.inject, target.finish, target.abandon):
            if getattr(holder, name, None) is None:
                raise Missing(f"no {name}")
        for name, make in exchange(target, tracer, where).items():
            replace(module, f"{attribute.rpartition('.')[0]}.{name}", make)
    elif isinstance(target, Factory):
        base = resolve(module, target.base.partition(":")[2])[2]
        replace(module, attribute, lambda original: factory(original, base, target, tracer, where))
    else:
        replace(module, attribute, lambda original: _wrapper(target, original, tracer, where))


def _wrapper(
    target: Target | Annotate | Claim | Serve | Carry,
    original: Callable[..., Any],
    tracer: Tracer,
    where: str,
) -> Callable[..., Any]:
    if isinstance(target, Target):
        return wrap.function(original, wrap.Interceptor(target, tracer, where))
    if isinstance(target, Annotate):
        return wrap.dressed(_annotating(target, original, where), original)
    if isinstance(target, Claim):
        return wrap.dressed(_claiming(original, tracer), original)
    if isinstance(target, Carry):
        return wrap.dressed(_carrying(target, original), original)
    return wrap.dressed(_serving(target, original, tracer, where), original)


def resolve(module: ModuleType, attribute: str) -> tuple[Any, str, Any]:
    """The holder of an attribute path, the last name of it and what is there.

    :raises Missing: where it is not.
    """
    holder: Any = module
    *path, name = attribute.split(".")
    for part in path:
        holder = getattr(holder, part, None)
    found = getattr(holder, name, None)
    if found is None:
        raise Missing(f"no {attribute}")
    return holder, name, found


def replace(module: ModuleType, attribute: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of a function; static and class methods stay what they are.

    A method that a class inherits is put on that class, so that its base is left alone.

    :raises Missing: where there is no such function.
    """
    holder, name, found = resolve(module, attribute)
    raw = getattr(holder, "__dict__", {}).get(name, found)
    if isinstance(raw, (staticmethod, classmethod)):
        setattr(holder, name, type(raw)(make(raw.__func__)))
    else:
        setattr(holder, name, make(raw))


def _annotating(target: Annotate, original: Callable[..., Any], where: str) -> Callable[..., Any]:
    def tell(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running = current.get()
        if running is not None:
            try:
                target.annotate(Call(original, args, kwargs), running.transaction)
            except Exception:
                failed(f"{where}: annotate")

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        tell(args, kwargs)
        try:
            return await original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    def calling(*args: Any, **kwargs: Any) -> Any:
        tell(args, kwargs)
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    return awaiting if original.__code__.co_flags & 0x80 else calling


def _claiming(original: Callable[..., Any], tracer: Tracer) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer.claim()
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    return wrapper


def _carrying(target: Carry, original: Callable[..., Any]) -> Callable[..., Any]:
    position = target.position

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        running = current.get()
        if running is not None and len(args) > position:
            args = (*args[:position], carried(args[position], running), *args[position + 1 :])
        return original(*args, **kwargs)

    return wrapper


def carried(work: Callable[..., Any], running: Any) -> Callable[..., Any]:
    """Work that runs elsewhere, with the span that was current where it was handed over."""

    def run(*args: Any, **kwargs: Any) -> Any:
        previous = current.get()
        current.set(running)
        try:
            return work(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        finally:
            current.set(previous)

    return run


def _serving(target: Serve, original: Callable[..., Any], tracer: Tracer, where: str) -> Callable[..., Any]:
    protocol, framework = target.protocol, target.framework
    if target.argument is None and target.attribute is None and not target.result:
        method: Callable[..., Any] = protocol.method(tracer, original, framework)
        return method

    def application(app: Any) -> Any:
        try:
            tracer.claim()
            return protocol.application(tracer, app, framework)
        except Exception:
            failed(f"{where}: application")
            return app

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if target.argument is not None:
            position, name = target.argument
            call = Call(original, args, kwargs)
            app = call.argument(position, name)
            if app is not None:
                args, kwargs = call.replaced(position, name, application(app))
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        if target.attribute is not None:
            setattr(args[0], target.attribute, application(getattr(args[0], target.attribute)))
        return application(result) if target.result else result

    return wrapper


def _subscribe(target: Subscribe, signal: Any, tracer: Tracer, where: str) -> None:
    def heard(*args: Any, **kwargs: Any) -> None:
        running = current.get()
        if running is not None:
            try:
                target.handler(running.transaction, *args, **kwargs)
            except Exception:
                failed(f"{where}: handler")

    signal.connect(heard, weak=False)
