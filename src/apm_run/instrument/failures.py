"""Calls that are a span only where they fail: what else they do is part of what follows."""

from __future__ import annotations

from apm_run.instrument import wrap
from apm_run.instrument.place import Missing
from apm_run.model import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.tracer import Span, Transaction


def function(original: Callable[..., Any], interceptor: wrap.Interceptor) -> Callable[..., Any]:
    """The wrapper of a function or a coroutine function."""
    if getattr(getattr(original, "__code__", None), "co_filename", "") == _FILE:
        raise Missing("handed on by the module that it is wrapped in")
    now = interceptor.tracer.now

    def calling(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        start_ns = 0 if parent is None else now()
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            if parent is not None:
                _report(interceptor, parent, Call(original, args, kwargs), start_ns, error)
            wrap.hide_frame(error)
            raise

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        start_ns = 0 if parent is None else now()
        try:
            return await original(*args, **kwargs)
        except BaseException as error:
            if parent is not None:
                _report(interceptor, parent, Call(original, args, kwargs), start_ns, error)
            wrap.hide_frame(error)
            raise

    kind = wrap.kind(original)
    if kind in (wrap.GENERATOR, wrap.ASYNC_GENERATOR):
        raise Missing("a generator function")
    interceptor.sync = kind != wrap.COROUTINE
    return wrap.dressed(awaiting if kind == wrap.COROUTINE else calling, original)


def _report(
    interceptor: wrap.Interceptor, parent: Span | Transaction, call: Call, start_ns: int, error: BaseException
) -> None:
    opened: Any = interceptor.open(parent, call)[0]
    if opened is not None:
        interceptor.tracer.backdate(opened, start_ns)
        interceptor.fail(opened, call, error)


_FILE = wrap.unseen_name(function.__code__.co_filename)
