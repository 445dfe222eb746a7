"""A span over several calls on one object: begun by one, its headers added before another, ended by a third."""

from __future__ import annotations

from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import UNKNOWN, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.vocabulary import Exchange
    from apm_run.tracer import Tracer

    Make = Callable[[Callable[..., Any]], Callable[..., Any]]

#: The object's attribute that holds what its exchange has begun.
_OPEN = "_apm_run_exchange"
_NOTHING: tuple[Any, ...] = (None, None, None, (), {})


def exchange(target: Exchange, tracer: Tracer, where: str) -> dict[str, Make]:
    """The makers of the wrappers of an exchange's methods, by the method's name."""
    interceptor = wrap.Interceptor(Target(target.path, target.describe, observe=target.observe), tracer, where)
    interceptor.idle = target.rewrite is None

    def begin(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            opened = call = None
            parent = interceptor.parent()
            state = _state(args)
            if state is not None and parent is not None:
                call = Call(original, args, kwargs)
                opened, args, kwargs = interceptor.open(parent, call)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if opened is not None and call is not None:
                    interceptor.fail(opened, call, error)
                wrap.hide_frame(error)
                raise
            if state is not None:
                # Only now: a request that is refused because another is under way leaves that one as it is.
                _end(interceptor, state)
            if state is not None and call is not None:
                # Without the object itself: in its own dictionary, that would be a cycle.
                state[_OPEN] = (opened, opened or parent, original, call.args[1:], call.kwargs)
            return result

        return wrap.dressed(wrapper, original)

    def inject(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            state = _state(args)
            opened, sender, _, _, _ = _NOTHING if state is None else state.get(_OPEN, _NOTHING)
            if sender is not None and target.rewrite is not None:
                try:
                    rewritten = target.rewrite(Call(original, args, kwargs), tracer.headers(sender))
                    if rewritten is not None:
                        args, kwargs = rewritten
                except Exception:
                    interceptor.fault("rewrite")
            try:
                return original(*args, **kwargs)
            except BaseException as error:
                if state is not None and state.pop(_OPEN, None) is not None and opened is not None:
                    interceptor.fail(opened, Call(original, args, kwargs), error)
                wrap.hide_frame(error)
                raise

        return wrap.dressed(wrapper, original)

    def finish(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            state = _state(args)
            opened, _, first, after, named = _NOTHING if state is None else state.pop(_OPEN, _NOTHING)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if opened is not None:
                    interceptor.fail(opened, Call(first, (args[0], *after), named), error)
                wrap.hide_frame(error)
                raise
            if opened is not None:
                interceptor.close(opened, Call(first, (args[0], *after), named), result)
            return result

        return wrap.dressed(wrapper, original)

    def abandon(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            state = _state(args)
            if state is not None:
                _end(interceptor, state)
            try:
                return original(*args, **kwargs)
            except BaseException as error:
                wrap.hide_frame(error)
                raise

        return wrap.dressed(wrapper, original)

    first = target.path.rpartition(".")[2]
    return {first: begin, target.inject: inject, target.finish: finish, target.abandon: abandon}


def _state(args: tuple[Any, ...]) -> dict[str, Any] | None:
    """The dictionary of the object that a method is called on; None where it has none, or the call no object."""
    found = getattr(args[0], "__dict__", None) if args else None
    return found if type(found) is dict else None


def _end(interceptor: wrap.Interceptor, state: dict[str, Any]) -> None:
    """End an exchange whose result nobody asked for."""
    opened = state.pop(_OPEN, _NOTHING)[0]
    if opened is not None:
        opened.outcome = UNKNOWN
        interceptor.end(opened)
