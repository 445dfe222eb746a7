"""Functions that tell something about a transaction, before or after they run (:class:`vocabulary.Annotate`)."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.place import Missing
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.vocabulary import Annotate
    from apm_run.tracer import Tracer, Transaction

    Find = Callable[[], Transaction | None]
    Tell = Callable[..., None]


def annotated(target: Annotate, original: Callable[..., Any], tracer: Tracer, where: str) -> Callable[..., Any]:
    """The wrapper of a function that tells something about a transaction."""

    def find() -> Transaction | None:
        found = tracer.ambient if target.program else current.get()
        return None if found is None else found.transaction

    def tell(args: tuple[Any, ...], kwargs: dict[str, Any], *told: Any) -> None:
        try:
            target.annotate(Call(original, args, kwargs), *told)
        except Exception:
            failed(f"{where}: annotate")

    if target.after:
        return _followed(original, find, tell)

    def first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        transaction = find()
        if transaction is not None:
            tell(args, kwargs, transaction)

    return preceded(original, first)


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


def _followed(original: Callable[..., Any], find: Find, tell: Tell) -> Callable[..., Any]:
    """The wrapper of a function after which something is told; of the transaction that it was called in."""

    def calling(*args: Any, **kwargs: Any) -> Any:
        transaction = find()
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        if transaction is not None:
            tell(args, kwargs, transaction, result)
        return result

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        transaction = find()
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        if transaction is not None:
            tell(args, kwargs, transaction, result)
        return result

    kind = wrap.kind(original)
    if kind not in (0, wrap.COROUTINE):
        raise Missing("a generator function")
    return wrap.dressed(awaiting if kind else calling, original)
