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


def exchange(target: Exchange, tracer: Tracer, where: str) -> dict[str, Make]:
    """The makers of the wrappers of an exchange's methods, by the method's name."""
    interceptor = wrap.Interceptor(Target(target.path, target.describe, observe=target.observe), tracer, where)

    def begin(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            parent = interceptor.parent()
            if parent is None:
                return original(*args, **kwargs)
            _abandon(args[0])
            call = Call(original, args, kwargs)
            opened, args, kwargs = interceptor.open(parent, call)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if opened is not None:
                    interceptor.fail(opened, error)
                wrap.hide_frame(error)
                raise
            args[0].__dict__[_OPEN] = (opened, opened or parent, call)
            return result

        return wrap.dressed(wrapper, original)

    def inject(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            found = args[0].__dict__.get(_OPEN)
            if found is None:
                return original(*args, **kwargs)
            opened, sender, _ = found
            if target.rewrite is not None:
                try:
                    target.rewrite(Call(original, args, kwargs), tracer.headers(sender))
                except Exception:
                    interceptor.fault("rewrite")
            try:
                return original(*args, **kwargs)
            except BaseException as error:
                args[0].__dict__.pop(_OPEN, None)
                if opened is not None:
                    interceptor.fail(opened, error)
                wrap.hide_frame(error)
                raise

        return wrap.dressed(wrapper, original)

    def finish(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            opened, _, call = args[0].__dict__.pop(_OPEN, (None, None, None))
            if opened is None:
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                interceptor.fail(opened, error)
                wrap.hide_frame(error)
                raise
            interceptor.close(opened, call, result)
            return result

        return wrap.dressed(wrapper, original)

    def abandon(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            _abandon(args[0])
            return original(*args, **kwargs)

        return wrap.dressed(wrapper, original)

    def _abandon(instance: Any) -> None:
        opened = instance.__dict__.pop(_OPEN, (None,))[0]
        if opened is not None:
            opened.outcome = UNKNOWN
            interceptor.end(opened)

    first = target.path.rpartition(".")[2]
    return {first: begin, target.inject: inject, target.finish: finish, target.abandon: abandon}
