"""Functions that are made by others, looked at when they have run, or that log what is reported already."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.place import Missing
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from apm_run.instrument.vocabulary import Watch
    from apm_run.tracer import Tracer


def making(original: Callable[..., Any], interceptor: wrap.Interceptor) -> Callable[..., Any]:
    """The wrapper of a function whose results are the functions that are intercepted."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            made = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        try:
            return wrap.function(made, interceptor)
        except Exception:
            failed(f"{interceptor.where}: made")
            return made

    return wrapper


def watching(target: Watch, original: Callable[..., Any], tracer: Tracer, where: str) -> Callable[..., Any]:
    """The wrapper of a function whose results are looked at."""
    seen = target.seen

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        if tracer.active:
            try:
                running = current.get()
                seen(Call(original, args, kwargs), result, None if running is None else running.transaction)
            except Exception:
                failed(f"{where}: seen")
        return result

    return wrapper


def code(function: Any) -> CodeType:
    """The code of a function, below whatever wraps it."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    found: CodeType | None = getattr(function, "__code__", None)
    if found is None:
        raise Missing("no function")
    return found
