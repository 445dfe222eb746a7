"""Functions before which something is done that must not raise."""

from __future__ import annotations

from apm_run.instrument import wrap
from apm_run.instrument.place import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def preceded(
    original: Callable[..., Any], first: Callable[[tuple[Any, ...], dict[str, Any]], None]
) -> Callable[..., Any]:
    """The wrapper of a function, of its kind, that does something first: it must not raise."""

    def calling(*args: Any, **kwargs: Any) -> Any:
        first(args, kwargs)
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        first(args, kwargs)
        try:
            return await original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    def yielding(*args: Any, **kwargs: Any) -> Any:
        first(args, kwargs)
        try:
            return (yield from original(*args, **kwargs))
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    kind = wrap.kind(original)
    if kind == wrap.ASYNC_GENERATOR:
        raise Missing("an asynchronous generator function")
    wrapper = {wrap.COROUTINE: awaiting, wrap.GENERATOR: yielding}.get(kind, calling)
    return wrap.dressed(wrapper, original)
