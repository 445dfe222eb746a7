"""From the facts of an instrumentation to wrapped functions: each target on its own (design 3, step 4)."""

from __future__ import annotations

import sys

from apm_run.guard import failed
from apm_run.instrument import decorated, failures, looking, serving, telling, wrap
from apm_run.instrument.callbacks import Pair, abandoning
from apm_run.instrument.ending import ending
from apm_run.instrument.exchange import exchange
from apm_run.instrument.factory import factory, is_ours
from apm_run.instrument.place import Missing, replace, resolve
from apm_run.instrument.quiet import Silence
from apm_run.instrument.vocabulary import (
    Abandon,
    Annotate,
    Apart,
    Callbacks,
    Carry,
    Claim,
    Deliver,
    Exchange,
    Factory,
    Failure,
    Greenlet,
    Learn,
    Quiet,
    Receive,
    Remember,
    Retold,
    Scope,
    Serve,
    Subclass,
    Subscribe,
    Target,
    Watch,
    Within,
)
from apm_run.instrument.within import Insider
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
    elif isinstance(target, Retold):
        tracer.retold.add(looking.code(resolve(module, attribute)[2]))
    elif isinstance(target, Callbacks):
        pair = Pair(target, tracer, where)
        resolve(module, attribute)[2](target.listener(pair.begin, pair.end))
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
    target: AnyTarget,
    original: Callable[..., Any],
    tracer: Tracer,
    where: str,
) -> Callable[..., Any]:
    if isinstance(target, Target):
        interceptor = wrap.Interceptor(target, tracer, where)
        if target.made:
            return wrap.dressed(looking.making(original, interceptor), original)
        if target.until is None:
            return decorated.function(original, interceptor)
        return ending(plain(original), interceptor, target.until)
    if isinstance(target, Watch):
        return wrap.dressed(looking.watching(target, plain(original), tracer, where), original)
    if isinstance(target, Failure):
        return failures.function(original, wrap.Interceptor(Target(where, target.describe), tracer, where))
    if isinstance(target, Abandon):
        return telling.preceded(original, abandoning(target, original, where))
    if isinstance(target, Quiet):
        return decorated.function(original, Silence(tracer, where))
    if isinstance(target, Within):
        return decorated.function(original, Insider(target, tracer, where))
    if isinstance(target, Annotate):
        return telling.annotated(target, original, tracer, where)
    if isinstance(target, Claim):
        return telling.preceded(original, _claiming(tracer, where))
    if isinstance(target, Remember):
        return wrap.dressed(_remembering(target, plain(original), where), original)
    if isinstance(target, Carry):
        return wrap.dressed(_carrying(target, original), original)
    if isinstance(target, Apart):
        return wrap.dressed(_apart(original), original)
    if isinstance(target, (Deliver, Scope)):
        from apm_run.instrument import messages

        if isinstance(target, Scope):
            return messages.scope(original)
        return messages.callback(target, original, tracer)
    if isinstance(target, Greenlet):
        return wrap.dressed(_making(original, where), original)
    return wrap.dressed(serving.calls(target, original, tracer, where), original)  # type: ignore[arg-type]


def plain(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which must be no coroutine or generator function: what it returns is what it does."""
    if wrap.kind(original):
        raise Missing("no plain function")
    return original


def _remembering(target: Remember, original: Callable[..., Any], where: str) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        try:
            target.keep(Call(original, args, kwargs))
        except Exception:
            failed(f"{where}: facts")
        return result

    return wrapper


def _apart(original: Callable[..., Any]) -> Callable[..., Any]:
    def calling(*args: Any, **kwargs: Any) -> Any:
        running = current.get()
        current.set(None)
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        finally:
            current.set(running)

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        running = current.get()
        current.set(None)
        try:
            return await original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        finally:
            current.set(running)

    kind = wrap.kind(original)
    if kind not in (0, wrap.COROUTINE):
        raise Missing("a generator function")
    return awaiting if kind else calling


def _claiming(tracer: Tracer, where: str) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    def claim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            # Where it is not loaded nothing has been received.
            getattr(sys.modules.get("apm_run.instrument.receive"), "settle", bool)()
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
