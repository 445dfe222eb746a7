"""The one wrapper, in the four kinds that Python's functions come in.

Each kind: intercept, describe, begin, rewrite, proceed, observe, end (design 3). The program's call runs exactly
once, outside every guard, and what it raises passes untouched. The frame of a wrapper is taken out of the
traceback on its way (from Python 3.11 on; older ones keep the traceback apart from the exception).
"""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.model import FAILURE, SUCCESS, Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from typing import Any

    from apm_run.instrument.vocabulary import Target
    from apm_run.tracer import Span, Tracer, Transaction

    Current = Span | Transaction

_get = current.get
_set = current.set

#: So many failures of its functions switch a target off.
TOLERATED = 5

_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x180, 0x20, 0x200


class Interceptor:
    """One target at work: begins and ends what its calls are."""

    __slots__ = ("describe", "entry", "failures", "observe", "rewrite", "tracer", "where")

    def __init__(self, target: Target, tracer: Tracer, where: str) -> None:
        """:param where: how failures of its functions are recorded, e.g. ``sqlite3 Cursor.execute``."""
        self.describe = target.describe
        self.observe = target.observe
        self.rewrite = target.rewrite
        self.entry = target.entry
        self.tracer = tracer
        self.where = where
        self.failures = 0

    def parent(self) -> Current | None:
        """What the call runs in; None lets it pass straight through."""
        if self.failures >= TOLERATED:
            return None
        return _get() or self.tracer.ambient

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        """Describe the call, begin its span (or transaction) and put the trace context in.

        :returns: what has begun, or None, and the arguments to proceed with.
        """
        opened: Current | None = None
        sender = parent
        try:
            if self.entry:
                opened = sender = self._enter(parent, call)
            elif parent is not None and not parent.exit and parent.transaction.sampled:
                draft = self.describe(call)
                if draft is not None:
                    opened = sender = self.tracer.begin(draft, parent)
        except Exception:
            self.fault("describe")
        if self.rewrite is not None and sender is not None:
            try:
                rewritten = self.rewrite(call, self.tracer.headers(sender))
                if rewritten is not None:
                    return opened, *rewritten
            except Exception:
                self.fault("rewrite")
        return opened, call.args, call.kwargs  # type: ignore[return-value]

    def _enter(self, parent: Current | None, call: Call) -> Current | None:
        if parent is not None and parent.transaction.entry:
            return None
        draft = self.describe(call)
        if draft is None:
            return None
        self.tracer.claim()
        transaction = self.tracer.begin_transaction(draft.name, draft.type)
        transaction.entry = True
        return transaction

    def close(self, opened: Current, call: Call, result: object) -> None:
        """Observe the result and end."""
        if self.observe is not None and not self.entry:
            try:
                self.observe(call, result, opened.draft)  # type: ignore[union-attr]
            except Exception:
                self.fault("observe")
        self.end(opened)

    def fail(self, opened: Current, error: BaseException) -> None:
        """The program's call has raised: end with the outcome that follows from it."""
        try:
            if self.entry:
                if isinstance(error, Exception):
                    opened.transaction.capture(error, handled=False)
                    opened.outcome = opened.outcome or FAILURE
            else:
                self.tracer.fail(opened, error)  # type: ignore[arg-type]
        except Exception:
            self.fault("fail")
        self.end(opened)

    def end(self, opened: Current) -> None:
        """End the span or the transaction; it always runs."""
        try:
            if self.entry:
                opened.outcome = opened.outcome or SUCCESS
                self.tracer.end_transaction(opened.transaction)
            else:
                self.tracer.end(opened)  # type: ignore[arg-type]
        except Exception:
            self.fault("end")

    def fault(self, step: str) -> None:
        """A function of the instrumentation has failed: record it, and after too many let calls pass."""
        self.failures += 1
        failed(f"{self.where}: {step}")


def leave(opened: Current, previous: Current | None) -> None:
    """Make what was current before current again, unless this context never saw the span."""
    if _get() is opened:
        _set(previous)


def hide_frame(error: BaseException) -> None:
    """Take the frame that is handling an error out of its traceback; call it right before a bare ``raise``."""
    traceback = error.__traceback__
    if traceback is not None:
        error.__traceback__ = traceback.tb_next


def function(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    """The wrapper of a function: of the same kind, with its names, found by pickle and copy under them."""
    flags = getattr(getattr(original, "__code__", None), "co_flags", 0)
    if flags & _COROUTINE:
        wrapper: Callable[..., Any] = _coroutine(original, interceptor)
    elif flags & _ASYNC_GENERATOR:
        wrapper = _async_generator(original, interceptor)
    elif flags & _GENERATOR:
        wrapper = _generator(original, interceptor)
    else:
        wrapper = _plain(original, interceptor)
    return dressed(wrapper, original)


def dressed(wrapper: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Give a wrapper the names, the documentation and the attributes of what it wraps."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        try:
            setattr(wrapper, name, getattr(original, name))
        except AttributeError:
            continue
    wrapper.__dict__.update(getattr(original, "__dict__", {}))
    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    return wrapper


def _plain(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        if parent is None and not entry:
            return original(*args, **kwargs)
        call = Call(original, args, kwargs)
        opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            return original(*args, **kwargs)
        previous = _get()
        _set(opened)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            leave(opened, previous)
            interceptor.fail(opened, error)
            hide_frame(error)
            raise
        leave(opened, previous)
        interceptor.close(opened, call, result)
        return result

    return wrapper


def _coroutine(original: Callable[..., Coroutine[Any, Any, Any]], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        if parent is None and not entry:
            return await original(*args, **kwargs)
        call = Call(original, args, kwargs)
        opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            return await original(*args, **kwargs)
        previous = _get()
        _set(opened)
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            leave(opened, previous)
            interceptor.fail(opened, error)
            hide_frame(error)
            raise
        leave(opened, previous)
        interceptor.close(opened, call, result)
        return result

    return wrapper


def _generator(original: Callable[..., Generator[Any, Any, Any]], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        parent = interceptor.parent()
        if parent is None and not entry:
            return (yield from original(*args, **kwargs))
        call = Call(original, args, kwargs)
        opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            return (yield from original(*args, **kwargs))
        inner = original(*args, **kwargs)
        step, value = inner.send, None
        while True:
            # Current only while the inner one runs: between two steps the context is the consumer's.
            previous = _get()
            _set(opened)
            try:
                item = step(value)
            except StopIteration as stop:
                leave(opened, previous)
                interceptor.close(opened, call, stop.value)
                return stop.value
            except BaseException as error:
                leave(opened, previous)
                interceptor.fail(opened, error)
                hide_frame(error)
                raise
            leave(opened, previous)
            try:
                step, value = inner.send, (yield item)
            except GeneratorExit:
                try:
                    inner.close()
                finally:
                    interceptor.end(opened)
                raise
            except BaseException as error:
                step, value = inner.throw, error

    return wrapper


def _async_generator(original: Callable[..., AsyncGenerator[Any, Any]], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        parent = interceptor.parent()
        call = Call(original, args, kwargs)
        opened: Current | None = None
        if parent is not None or entry:
            opened, args, kwargs = interceptor.open(parent, call)
        inner = original(*args, **kwargs)
        step, value = inner.asend, None
        while True:
            previous = _get()
            if opened is not None:
                _set(opened)
            try:
                item = await step(value)
            except BaseException as error:
                if opened is not None:
                    leave(opened, previous)
                    if isinstance(error, StopAsyncIteration):
                        interceptor.close(opened, call, None)
                    else:
                        interceptor.fail(opened, error)
                if isinstance(error, StopAsyncIteration):
                    return
                hide_frame(error)
                raise
            if opened is not None:
                leave(opened, previous)
            try:
                step, value = inner.asend, (yield item)
            except GeneratorExit:
                try:
                    await inner.aclose()
                finally:
                    if opened is not None:
                        interceptor.end(opened)
                raise
            except BaseException as error:
                step, value = inner.athrow, error

    return wrapper
