"""The one wrapper, in the four kinds that Python's functions come in.

Each kind: intercept, describe, begin, rewrite, proceed, observe, end (design 3). The program's call runs exactly
once, outside every guard, and what it raises passes untouched. The frame of a wrapper is taken out of the
traceback on its way (from Python 3.11 on; older ones keep the traceback apart from the exception).
"""

from __future__ import annotations

from sys import _getframe, exc_info, get_asyncgen_hooks, set_asyncgen_hooks, version_info

from apm_run.guard import failed
from apm_run.instrument import entries
from apm_run.model import Call
from apm_run.propagation import links
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from contextvars import Token
    from functools import partial
    from typing import Any, TypeVar

    from apm_run.instrument.vocabulary import Target
    from apm_run.tracer import Span, Tracer, Transaction

    Current = Span | Transaction
    Function = TypeVar("Function", bound=Callable[..., Any])
else:
    from _functools import partial

_get = current.get
_set = current.set
_reset = current.reset

#: So many failures of its functions switch a target off.
TOLERATED = 5

#: The kinds of functions, as flags of their code objects.
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200
# A generator that `types.coroutine` has made awaitable.
_AWAITABLE = 0x100

_NAMES = ("__module__", "__name__", "__qualname__", "__doc__", "__defaults__", "__kwdefaults__", "__type_params__")
#: Reading the annotations evaluates them where Python defers that; there their function is taken over.
_ANNOTATIONS = "__annotate__" if hasattr(failed, "__annotate__") else "__annotations__"


class Interceptor:
    """One target at work: begins and ends what its calls are."""

    __slots__ = ("describe", "entry", "failures", "idle", "observe", "rewrite", "sync", "tracer", "where")

    def __init__(self, target: Target, tracer: Tracer, where: str) -> None:
        """:param where: how failures of its functions are recorded: the path of the target."""
        self.describe = target.describe
        self.observe = target.observe
        self.rewrite = target.rewrite
        self.entry = target.entry
        #: It has nothing to do below an exit span, which is a leaf, or where nothing is sampled.
        self.idle = target.rewrite is None and not target.entry
        #: Whether the calling thread waits for its calls: Kibana marks the others.
        self.sync = True
        self.tracer = tracer
        self.where = where
        self.failures = 0

    def running(self) -> Current | None:
        """What is current, or None where the target or the tracer is switched off."""
        tracer = self.tracer
        if self.failures >= TOLERATED or not tracer.active:
            return None
        found = _get() or tracer.ambient
        return found if found is None or found.left is None else tracer.resume(found)

    def parent(self) -> Current | None:
        """What the call runs in; None lets it pass straight through."""
        tracer = self.tracer
        found = _get() or tracer.ambient
        if found is None or self.failures >= TOLERATED or not tracer.active:
            return None
        if found.left is not None:
            found = tracer.resume(found)
            if found is None:
                return None
        if found.exit and not found.end_ns:
            return None if self.idle or (found.draft.sealed and not self.entry) else found  # type: ignore[union-attr]
        return None if self.idle and not found.transaction.sampled else found

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        """Describe the call, begin its span (or transaction) and put the trace context in.

        :returns: what has begun, or None, and the arguments to proceed with.
        """
        opened: Current | None = None
        sender = parent
        try:
            if self.entry:
                opened = sender = self._enter(parent, call)
            # An exit span is a leaf while it runs; tasks and threads that began below it may outlive it.
            elif parent is not None and (not parent.exit or parent.end_ns) and parent.transaction.sampled:
                draft: Any = self.describe(call)
                if draft is not None:
                    if draft.context is not None and self._ignores(draft.context.get("message")):
                        return None, call.args, call.kwargs  # type: ignore[return-value]
                    opened = sender = span = self.tracer.begin(draft, parent)
                    span.sync = self.sync
                    if draft.links:
                        span.links = links(draft.links)
        except Exception:
            self.fault("describe")
        if self.rewrite is not None and sender is not None:
            return opened, *self.rewritten(call, sender)
        return opened, call.args, call.kwargs  # type: ignore[return-value]

    def rewritten(self, call: Call, sender: Current) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the trace context put in, or as they are."""
        try:
            found = self.rewrite(call, self.tracer.headers(sender))  # type: ignore[misc]
            if found is not None:
                args, kwargs = found
                return tuple(args), dict(kwargs)
        except Exception:
            self.fault("rewrite")
        return call.args, call.kwargs  # type: ignore[return-value]

    def _enter(self, parent: Current | None, call: Call) -> Current | None:
        if self.failures >= TOLERATED or not self.tracer.active:
            return None
        if parent is not None and parent.transaction.entry and not parent.transaction.ended:
            return None
        draft: Any = self.describe(call)
        if draft is None or self._ignores(draft.message):
            return None
        self.tracer.claim()
        return entries.begin(self.tracer, draft)

    def _ignores(self, message: dict[str, Any] | None) -> bool:
        return message is not None and entries.ignored(message, self.tracer.settings)

    def close(self, opened: Current, call: Call, result: object, *, here: bool = True) -> None:
        """Observe the result and end."""
        if self.observe is not None:
            self._observe(opened, call, result)
        self.end(opened, here)

    def _observe(self, opened: Current, call: Call, result: object) -> None:
        try:
            draft: Any = opened.draft
            self.observe(call, result, draft)  # type: ignore[misc]
            if draft.links and not self.entry:
                opened.links = links(draft.links)
        except Exception:
            self.fault("observe")

    def fail(self, opened: Current, call: Call, error: BaseException) -> None:
        """The program's call has raised: observe that, and end with the outcome that follows from it."""
        if self.observe is not None and isinstance(error, Exception):
            self._observe(opened, call, error)
        try:
            if self.entry:
                entries.fail(opened.transaction, error)
            else:
                self.tracer.fail(opened, error)  # type: ignore[arg-type]
        except Exception:
            self.fault("fail")
        self.end(opened)

    def stop(self, opened: Current, call: Call, error: BaseException) -> None:
        """A generator has raised: GeneratorExit says that its consumer has had enough, which is no failure."""
        if isinstance(error, GeneratorExit):
            self.end(opened)
        else:
            self.fail(opened, call, error)

    def end(self, opened: Current, here: bool = True) -> None:
        """End the span or the transaction; it always runs.

        :param here: where it was asked for, and not where the library has found its end.
        """
        try:
            if self.entry:
                entries.end(opened.transaction)
            else:
                self.tracer.end(opened, here)  # type: ignore[arg-type]
        except Exception:
            self.fault("end")

    def fault(self, step: str) -> None:
        """A function of the instrumentation has failed: record it, and after too many let calls pass."""
        # What the program's depth or memory is the reason of says nothing about the target.
        if not isinstance(exc_info()[1], (RecursionError, MemoryError)):
            self.failures += 1
            if self.failures >= TOLERATED:
                self.tracer.switched_off.add(self.where)
        failed(f"{self.where}: {step}")


def leave(opened: Current, previous: Current | None) -> None:
    """Make what was current before current again, unless this context never saw the span."""
    if _get() is opened:
        _set(previous)


def pause(token: Token[Current | None], mine: Current | None) -> Current | None:
    """Between two steps of a generator the context is the consumer's: make current what was before this one.

    :param token: of the beginning of the step. :param mine: what was current in the function then.
    :returns: what is to be current in its next step: a block of the program's may have begun or ended in this one.
    """
    found = _get()
    try:
        _reset(token)
    except ValueError:  # begun in one context, gone on with in another
        return mine
    return found


def hide_frame(error: BaseException) -> None:
    """Take the frame that is handling an error out of its traceback; call it right before a bare ``raise``."""
    traceback = error.__traceback__
    if traceback is not None:
        error.__traceback__ = traceback.tb_next  # None after a call into C, which has no frame of its own
    if not _HIDES:  # pragma: no cover
        # Before 3.11 it is there again after the raise. What shows tracebacks to people leaves out a frame with these.
        _getframe(1).f_locals.update(_HIDDEN)


#: Of Django, Werkzeug and Sentry; of pytest and IPython.
_HIDDEN = {"__traceback_hide__": True, "__tracebackhide__": True}
_HIDES = version_info >= (3, 11)


def kind(original: Callable[..., Any]) -> int:
    """The flag of a function's kind: of coroutine, asynchronous generator or generator functions; 0 of others."""
    while type(original) is partial:
        original = original.func
    flags: int = getattr(getattr(original, "__code__", None), "co_flags", 0)
    return flags & COROUTINE or flags & ASYNC_GENERATOR or flags & GENERATOR


def function(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    """The wrapper of a function: of the same kind, with its names, found by pickle and copy under them."""
    makers: Any = {COROUTINE: _coroutine, ASYNC_GENERATOR: _async_generator, GENERATOR: _generator}
    found = kind(original)
    interceptor.sync = found not in (COROUTINE, ASYNC_GENERATOR)
    return dressed(makers.get(found, _plain)(original, interceptor), original)


def dressed(wrapper: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Give a wrapper the names, the documentation, the defaults and the attributes of what it wraps."""
    unseen(wrapper)
    for name in (*_NAMES, _ANNOTATIONS):
        try:
            setattr(wrapper, name, getattr(original, name))
        except (AttributeError, TypeError):  # not every callable is a function
            continue
    if getattr(getattr(original, "__code__", None), "co_flags", 0) & _AWAITABLE:
        code: Any = wrapper.__code__
        wrapper.__code__ = code.replace(co_flags=code.co_flags | _AWAITABLE)
    wrapper.__dict__.update(getattr(original, "__dict__", {}))
    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    return wrapper


def unseen(function: Function) -> Function:
    """Keep a function's frames out of the counting by ``stacklevel``.

    ``warnings`` and ``logging`` count no frame whose file is the import system's by name. Without this a
    deprecation that a library warns its caller of would be put down to us, and be shown or hidden by that.
    """
    code: Any = function.__code__
    function.__code__ = code.replace(co_filename=unseen_name(code.co_filename))
    return function


def unseen_name(filename: str) -> str:
    """The name of one of our files that :func:`unseen` gives it: another way to the same file."""
    folder, _, name = filename.rpartition("/")
    return f"{folder}/importlib_bootstrap/../{name}"


def _plain(original: Callable[..., Any], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        opened: Current | None = None
        if parent is not None or entry:
            call = Call(original, args, kwargs)
            opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            try:
                return original(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        previous = _get()
        try:
            _set(opened)
            result = original(*args, **kwargs)
        except BaseException as error:
            leave(opened, previous)
            interceptor.fail(opened, call, error)
            hide_frame(error)
            raise
        if _get() is opened:  # as leave() does, for what has raised
            _set(previous)
        interceptor.close(opened, call, result)
        return result

    return wrapper


def _coroutine(original: Callable[..., Coroutine[Any, Any, Any]], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        parent = interceptor.parent()
        opened: Current | None = None
        if parent is not None or entry:
            call = Call(original, args, kwargs)
            opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            try:
                return await original(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        previous = _get()
        try:
            _set(opened)
            result = await original(*args, **kwargs)
        except BaseException as error:
            leave(opened, previous)
            interceptor.fail(opened, call, error)
            hide_frame(error)
            raise
        if _get() is opened:  # as leave() does, for what has raised
            _set(previous)
        interceptor.close(opened, call, result)
        return result

    return wrapper


def _generator(original: Callable[..., Generator[Any, Any, Any]], interceptor: Interceptor) -> Callable[..., Any]:
    entry = interceptor.entry

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        parent = interceptor.parent()
        opened: Current | None = None
        if parent is not None or entry:
            call = Call(original, args, kwargs)
            opened, args, kwargs = interceptor.open(parent, call)
        if opened is None:
            try:
                return (yield from original(*args, **kwargs))
            except BaseException as error:
                hide_frame(error)
                raise
        step: Any = None
        value: Any = None
        mine: Current | None = opened
        while True:
            # Current only while the inner one runs.
            previous = _get()
            try:
                token = _set(mine)
                if step is None:
                    inner = original(*args, **kwargs)
                    step = inner.send
                item = step(value)
            except StopIteration as stop:
                leave(opened, previous)
                interceptor.close(opened, call, stop.value)
                return stop.value
            except BaseException as error:
                leave(opened, previous)
                interceptor.stop(opened, call, error)
                hide_frame(error)
                raise
            mine = pause(token, mine)
            step = value = None  # what was thrown in is kept alive no longer than it would be
            try:
                step, value = inner.send, (yield item)
            except BaseException as error:
                hide_frame(error)
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
        step: Any = None
        value: Any = None
        mine: Current | None = opened
        while True:
            previous = _get()
            try:
                if opened is not None:
                    token = _set(mine)
                if step is None:
                    inner = original(*args, **kwargs)
                    step = _unhooked(inner)
                item = await step(value)
            except StopAsyncIteration:
                if opened is not None:
                    leave(opened, previous)
                    interceptor.close(opened, call, None)
                return
            except BaseException as error:
                if opened is not None:
                    leave(opened, previous)
                    interceptor.stop(opened, call, error)
                hide_frame(error)
                raise
            if opened is not None:
                mine = pause(token, mine)
            step = value = None
            try:
                step, value = inner.asend, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.athrow, error

    return wrapper


def _unhooked(inner: AsyncGenerator[Any, Any]) -> Callable[[Any], Any]:
    """The first step of an inner asynchronous generator, of which the event loop shall not hear.

    The loop closes what it knows of at its end: the wrapper, which closes the inner one; both at once would clash.
    """
    heard = get_asyncgen_hooks().firstiter
    set_asyncgen_hooks(firstiter=None)
    try:
        first = inner.asend(None)
    finally:
        set_asyncgen_hooks(firstiter=heard)
    return lambda _: first
