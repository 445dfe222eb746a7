"""From the facts of an instrumentation to wrapped functions: each target on its own (design 3, step 4)."""

from __future__ import annotations

import sys

from apm_run.guard import failed
from apm_run.instrument import serving, wrap
from apm_run.instrument.exchange import exchange
from apm_run.instrument.factory import factory, is_ours
from apm_run.instrument.place import Missing, replace, resolve
from apm_run.instrument.preceded import preceded
from apm_run.instrument.vocabulary import (
    Annotate,
    Callback,
    Carry,
    Claim,
    Exchange,
    Factory,
    Greenlet,
    Learn,
    Receive,
    Scope,
    Serve,
    Subclass,
    Subscribe,
    Target,
)
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from functools import partial
    from types import ModuleType
    from typing import Any

    from apm_run.instrument.vocabulary import AnyTarget, Instrumentation
    from apm_run.tracer import Tracer
else:
    from _contextvars import Context
    from _functools import partial


def instrument(
    instrumentation: Instrumentation, module: ModuleType, tracer: Tracer, results: dict[str, str]
) -> list[AnyTarget]:
    """Instrument what an instrumentation says of a module that has just been imported.

    :param results: the table that doctor prints: path -> ``wrapped``, ``skipped: why`` or ``failed: why``.
    :returns: the further targets that it has told of.
    """
    learned: list[AnyTarget] = []
    for target in instrumentation.targets:
        trigger, _, attribute = target.path.partition(":")
        if trigger != module.__name__:
            continue
        try:
            learned += _apply(target, module, attribute, tracer)
            results[target.path] = "wrapped"
        except Missing as missing:
            results[target.path] = f"skipped: {missing}"
        except Exception as error:
            results[target.path] = f"failed: {type(error).__name__}: {error}"
            failed(f"instrument {target.path}")
    return learned


def _apply(target: AnyTarget, module: ModuleType, attribute: str, tracer: Tracer) -> tuple[AnyTarget, ...]:
    where = target.path
    if isinstance(target, Learn):
        tracer.claim()
        return target.targets(resolve(module, attribute)[2])
    if isinstance(target, Subscribe):
        _subscribe(target, resolve(module, attribute)[2], tracer, where)
    elif isinstance(target, Greenlet) and target.hook:
        resolve(module, attribute)[2](partial(_accompany, where))
    elif isinstance(target, Serve) and (target.itself or target.event):
        serve = serving.itself if target.itself else serving.event
        serve(target, module, attribute, tracer)
    elif isinstance(target, Exchange):
        holder = resolve(module, attribute)[0]
        for name in (target.inject, target.finish, target.abandon):
            if getattr(holder, name, None) is None:
                raise Missing(f"no {name}")
        for name, make in exchange(target, tracer, where).items():
            replace(module, f"{attribute.rpartition('.')[0]}.{name}", make)
    elif isinstance(target, Factory):
        _make(target, module, attribute, tracer)
    elif isinstance(target, (Subclass, Receive)):
        # Loaded with the first library that has messages.
        from apm_run.instrument import messages

        if isinstance(target, Subclass):
            messages.subclass(target, module, attribute, tracer)
        else:
            messages.receiving(target, module, attribute, tracer)
    else:
        replace(module, attribute, lambda original: _wrapper(target, original, tracer, where))
    return ()


def _make(target: Factory, module: ModuleType, attribute: str, tracer: Tracer) -> None:
    """Put one wrapper under all names of a function that makes objects, as far as their modules are loaded.

    While the module is being imported nobody can hold its types yet: then what the wrapper makes takes their place,
    and ``type(made) is library.Type`` holds as well.
    """
    base = resolve(module, target.base.partition(":")[2])[2]
    original = resolve(module, attribute)[2]
    if is_ours(original):  # handed on by the module that it was replaced in
        return
    unseen = getattr(getattr(module, "__spec__", None), "_initializing", False) is True
    standard: dict[type, type] | None = {} if unseen else None
    wrapper = factory(original, base, target, tracer, target.path, standard=standard)
    for path in (target.path, *target.names):
        name, _, last = path.partition(":")
        holder = sys.modules.get(name)
        if holder is None:
            continue
        if getattr(holder, last, None) is original:
            setattr(holder, last, wrapper)
        for kind, made in (standard or {}).items():
            if getattr(holder, kind.__name__, None) is kind:
                setattr(holder, kind.__name__, made)


def _wrapper(
    target: Target | Annotate | Claim | Serve | Carry | Greenlet | Callback | Scope,
    original: Callable[..., Any],
    tracer: Tracer,
    where: str,
) -> Callable[..., Any]:
    if isinstance(target, Target):
        return wrap.function(original, wrap.Interceptor(target, tracer, where))
    if isinstance(target, Annotate):
        return preceded(original, _annotating(target, original, where))
    if isinstance(target, Claim):
        return preceded(original, _claiming(tracer, where))
    if isinstance(target, Carry):
        return wrap.dressed(_carrying(target, original), original)
    if isinstance(target, (Callback, Scope)):
        from apm_run.instrument import messages

        if isinstance(target, Scope):
            return messages.scope(original)
        return messages.callback(target, original, tracer)
    if isinstance(target, Greenlet):
        return wrap.dressed(_making(original, where), original)
    return wrap.dressed(serving.calls(target, original, tracer, where), original)


def _annotating(
    target: Annotate, original: Callable[..., Any], where: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    def tell(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running = current.get()
        if running is not None:
            try:
                target.annotate(Call(original, args, kwargs), running.transaction)
            except Exception:
                failed(f"{where}: annotate")

    return tell


def _claiming(tracer: Tracer, where: str) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    def claim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            from apm_run.instrument.receive import settle

            settle()
            tracer.claim()
        except Exception:
            failed(f"{where}: claim")

    return claim


def _carrying(target: Carry, original: Callable[..., Any]) -> Callable[..., Any]:
    position = target.position

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        running = current.get()
        if running is None or len(args) <= position:
            return original(*args, **kwargs)
        args = (*args[:position], carried(args[position], running), *args[position + 1 :])
        # Handing over may start a thread that outlives the work: that one belongs to nobody.
        current.set(None)
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        finally:
            current.set(running)

    return wrapper


def carried(work: Callable[..., Any], running: Any) -> Callable[..., Any]:
    """Work that runs elsewhere, with the span that was current where it was handed over."""
    found: Any = partial(_run, running, work)
    # eventlet knows a thread by these, and would not end it otherwise.
    for name in ("__module__", "__self__"):
        if hasattr(work, name):
            setattr(found, name, getattr(work, name))
    return found  # type: ignore[no-any-return]


def _run(running: Any, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    previous = current.get()
    current.set(running)
    try:
        return work(*args, **kwargs)
    except BaseException as error:
        wrap.hide_frame(error)
        raise
    finally:
        current.set(previous)


wrap.unseen(_run)


def _making(original: Callable[..., Any], where: str) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            made = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        _accompany(where, made)
        return made

    return wrapper


def _accompany(where: str, greenlet: Any) -> None:
    """Give a greenlet that has not run the current span, and nothing else of the context; they begin without one."""
    running = current.get()
    if running is None:
        return
    try:
        if greenlet.gr_context is None:
            context = Context()
            context.run(current.set, running)
            greenlet.gr_context = context
    except Exception:
        failed(f"{where}: context")


def _subscribe(target: Subscribe, signal: Any, tracer: Tracer, where: str) -> None:
    def heard(*args: Any, **kwargs: Any) -> None:
        running = current.get()
        if running is not None:
            try:
                target.handler(running.transaction, *args, **kwargs)
            except Exception:
                failed(f"{where}: handler")

    try:
        signal.connect(heard, weak=False)
    except RuntimeError as error:  # a stand-in, where the library that makes the signals is not installed
        raise Missing(str(error)) from None
