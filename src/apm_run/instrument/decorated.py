"""Functions that a decorator has made of one of another kind: what counts is the function within."""

from __future__ import annotations

from apm_run.instrument import wrap
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from apm_run.instrument.wrap import Interceptor

_get = current.get
_set = current.set
_MANAGERS = {wrap.GENERATOR: "contextmanager", wrap.ASYNC_GENERATOR: "asynccontextmanager"}


def function(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    """The wrapper of a function, whether it is decorated or not.

    The span of a context manager of contextlib's lasts as long as the ``with``; that of a plain function around a
    coroutine function as long as what it hands out is awaited.
    """
    inner: Any = getattr(original, "__wrapped__", None)
    kind = wrap.kind(inner)
    if not kind or wrap.kind(original):
        return wrap.function(original, interceptor)
    scope = getattr(original, "__globals__", {})
    if kind in _MANAGERS and scope.get("__name__") == "contextlib":
        managing: Callable[..., Any] = scope[_MANAGERS[kind]]
        managed: Callable[..., Any] = managing(wrap.function(inner, interceptor))
        return managed
    if kind == wrap.COROUTINE and interceptor.rewrite is None and not interceptor.entry:
        interceptor.sync = False
        return wrap.dressed(_handing(original, interceptor), original)
    return wrap.function(original, interceptor)


def _handing(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    async def awaiting(made: Coroutine[Any, Any, Any], call: Call) -> Any:
        parent = interceptor.parent()
        opened = None if parent is None else interceptor.open(parent, call)[0]
        if opened is None:
            try:
                return await made
            except BaseException as error:
                wrap.hide_frame(error)
                raise
        previous = _get()
        try:
            _set(opened)
            result = await made
        except BaseException as error:
            wrap.leave(opened, previous)
            interceptor.fail(opened, call, error)
            wrap.hide_frame(error)
            raise
        wrap.leave(opened, previous)
        interceptor.close(opened, call, result)
        return result

    wrap.dressed(awaiting, original)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            made = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        # By its name: a program that needs no `types` shall not get it from us.
        if type(made).__name__ == "coroutine" and interceptor.parent() is not None:
            return awaiting(made, Call(original, args, kwargs))
        return made

    return wrapper
