"""Functions that return messages: what the program does with them comes after the call (spec 18.3).

Within a transaction the call is a span. Outside, a transaction begins when it has returned messages, and stays
current in the program's own code until the same code asks for more, leaves its loop, closes the consumer or ends.
A context that has such a transaction open holds a :class:`Receipt`: the end of the context (a thread's, a task's) is
the end of the receipt, and so of the transaction. Nothing that begins a transaction of its own is kept from it.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar
from _thread import get_ident
from _weakref import ref
from opcode import opname  # here, where it is guarded: a program may have a module of that name
from sys import _getframe

from apm_run.guard import failed
from apm_run.instrument import entries, wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import Call
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType
    from typing import Any

    from apm_run.instrument.vocabulary import Receive
    from apm_run.tracer import Span, Tracer, Transaction

    Current = Span | Transaction

_get = current.get
_set = current.set

#: What a context has received last and still deals with.
_receipt: ContextVar[Receipt | None] = ContextVar("apm_run_receipt", default=None)
#: The object that is being asked for messages: what it calls of itself meanwhile is part of that.
_asking: ContextVar[Any] = ContextVar("apm_run_asking", default=None)
#: Those that such an object asks in its place, in whatever thread.
_asked: set[int] = set()


class Receipt:
    """A transaction that is open until what has received its messages says otherwise."""

    __slots__ = ("_previous", "_source", "_task", "_thread", "_transaction")

    def __init__(self, transaction: Transaction, previous: Current | None, source: Any) -> None:
        """:param previous: what was current before. :param source: the consumer."""
        self._transaction = transaction
        self._previous = previous
        try:
            self._source: Any = ref(source)
        except TypeError:  # a type in C, or a function of a module
            self._source = id(source)
        self._thread = get_ident()
        self._task = _task()

    def mine(self) -> bool:
        """Whether it was made here: a task that was begun meanwhile has a copy of the context, and its own life."""
        return self._thread == get_ident() and self._task == _task()

    def of(self, source: Any) -> bool:
        """Whether a consumer has given the messages."""
        return self._source == id(source) if type(self._source) is int else self._source() is source

    def settle(self) -> None:
        """Make current what was before, and end it."""
        running = _get()
        if running is not None and running.transaction is self._transaction:
            _set(self._previous)
        else:  # who has made something else current makes it so again afterwards
            self._transaction.left = (self._previous,)
        self.end()

    def hidden(self) -> bool:
        """Whether another transaction has begun in it and not ended."""
        running = _get()
        if running is None or running.transaction is self._transaction:
            return False
        return not running.transaction.ended

    def end(self) -> None:
        """End the transaction; a second call does nothing."""
        try:
            entries.end(self._transaction)
        except Exception:
            failed("receive: end")

    def __del__(self) -> None:
        self.end()


def _task() -> Any:
    """The task of asyncio's that runs here, as a weak reference; None where none does."""
    events = sys.modules.get("asyncio.events")
    loop = None if events is None else events._get_running_loop()
    task = None if loop is None else sys.modules["asyncio.tasks"].current_task(loop)
    return None if task is None else ref(task)


def settle(source: Any = None) -> None:
    """What this context has received is dealt with: nothing else shall be taken for a part of that. Never raises.

    :param source: if it has come from this consumer.
    """
    receipt = _receipt.get()
    if receipt is not None and receipt.mine() and (source is None or receipt.of(source)):
        _receipt.set(None)
        receipt.settle()


class Receiver:
    """One target at work."""

    __slots__ = ("_interceptor", "_received", "_through", "_tracer")

    def __init__(self, target: Receive, tracer: Tracer, where: str) -> None:
        """:param where: how failures of its functions are recorded."""
        spanned = Target(target.path, target.poll, observe=target.observe)
        self._interceptor = wrap.Interceptor(spanned, tracer, where)
        self._received = target.received
        self._through = target.through
        self._tracer = tracer

    def ask(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asking | None:
        """The program asks for messages, and so has dealt with what it had; None: let the call pass."""
        source = args[0] if args else None
        if source is not None and (_asking.get() is source or id(source) in _asked):
            return None
        receipt = _receipt.get()
        if receipt is not None and not receipt.hidden():
            settle()
        interceptor = self._interceptor
        if not self._tracer.active or interceptor.failures >= wrap.TOLERATED:
            return None
        parent = interceptor.running()
        if parent is not None and not self._within(parent.transaction):
            parent = None
        call = Call(original, args, kwargs)
        opened = None if parent is None else interceptor.open(parent, call)[0]
        inner = None if self._through is None else id(getattr(source, self._through, None))
        return Asking(self, call, opened, parent is None, inner)

    def _within(self, transaction: Transaction) -> bool:
        """Whether what is asked for belongs to a transaction that runs here.

        One that was received where a task or thread was begun is no reason for that one's messages to have none.
        """
        return not (transaction.ended or transaction.received or transaction is self._tracer.ambient)

    def begin(self, call: Call, result: object) -> None:
        """Messages have come outside of any transaction."""
        try:
            draft = self._received(call, result)
            if draft is None or entries.ignored(draft.message, self._tracer.settings):
                return
            self._tracer.claim()
            transaction = entries.begin(self._tracer, draft)
            # No framework calls the program here: whatever does so is an entry.
            transaction.entry, transaction.received = False, True
            receipt = Receipt(transaction, _get(), call.args[0] if call.args else None)
            _set(transaction)
            _receipt.set(receipt)
        except Exception:
            self._interceptor.fault("received")


class Asking:
    """One call that asks for messages, or one step of a generator that yields them."""

    __slots__ = ("_before", "_call", "_inner", "_opened", "_outside", "_previous", "_receiver")

    def __init__(
        self, receiver: Receiver, call: Call, opened: Current | None, outside: bool, inner: int | None
    ) -> None:
        """:param opened: its span. :param outside: of any transaction. :param inner: the consumer that it asks."""
        self._receiver = receiver
        self._call = call
        self._opened = opened
        self._outside = outside
        self._before = _asking.get()
        self._previous = _get()
        _asking.set(call.args[0] if call.args else None)
        self._inner = inner
        if inner is not None:
            _asked.add(inner)
        if opened is not None:
            _set(opened)

    def _leave(self) -> None:
        _asking.set(self._before)
        if self._inner is not None:
            _asked.discard(self._inner)
        if self._opened is not None:
            wrap.leave(self._opened, self._previous)

    def done(self, result: object) -> None:
        """It has returned."""
        self._leave()
        if self._opened is not None:
            self._receiver._interceptor.close(self._opened, self._call, result)
        elif self._outside:
            self._receiver.begin(self._call, result)

    def die(self, error: BaseException) -> None:
        """It has raised; that an iteration ends is no failure."""
        self._leave()
        if self._opened is not None:
            if isinstance(error, (StopIteration, StopAsyncIteration)):
                self._receiver._interceptor.close(self._opened, self._call, None)
            else:
                self._receiver._interceptor.fail(self._opened, self._call, error)


def receiving(original: Callable[..., Any], receiver: Receiver) -> Callable[..., Any]:
    """The wrapper of a function that returns messages, of its kind; a generator yields them."""

    def calling(*args: Any, **kwargs: Any) -> Any:
        asking = receiver.ask(original, args, kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            if asking is not None:
                asking.die(error)
            wrap.hide_frame(error)
            raise
        if asking is not None:
            asking.done(result)
        return result

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        asking = receiver.ask(original, args, kwargs)
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            if asking is not None:
                asking.die(error)
            wrap.hide_frame(error)
            raise
        if asking is not None:
            asking.done(result)
        return result

    kind = wrap.kind(original)
    if kind == wrap.GENERATOR:
        return wrap.dressed(_yielding(original, receiver), original)
    return wrap.dressed(awaiting if kind == wrap.COROUTINE else calling, original)


def _yielding(original: Callable[..., Any], receiver: Receiver) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        step: Any = None
        value: Any = None
        while True:
            asking = receiver.ask(original, args, kwargs)
            try:
                if step is None:
                    inner = original(*args, **kwargs)
                    step = inner.send
                item = step(value)
            except StopIteration as stop:
                if asking is not None:
                    asking.die(stop)
                return stop.value
            except BaseException as error:
                if asking is not None:
                    asking.die(error)
                wrap.hide_frame(error)
                raise
            if asking is not None:
                asking.done(item)
            step = value = None
            try:
                step, value = inner.send, (yield item)
            except GeneratorExit:
                if left(_getframe(1)):
                    settle(args[0] if args else None)
                inner.close()
                raise
            except BaseException as error:
                wrap.hide_frame(error)
                step, value = inner.throw, error

    return wrapper


def left(frame: FrameType | None) -> bool:
    """Whether a loop's iterator is dropped by a frame that goes on: by ``break`` or ``return``, not an exception.

    An exception that leaves the loop may yet be told of, and belongs to the messages that it was raised for.
    """
    return frame is not None and opname[frame.f_code.co_code[frame.f_lasti]] in _DROPPING


#: The instructions by which a loop gives up its iterator.
_DROPPING = frozenset(("POP_TOP", "POP_ITER", "FOR_ITER", "END_FOR"))


def looping(original: Callable[..., Any], tracer: Tracer) -> Callable[..., Any]:
    """The wrapper of an ``__iter__`` that returns the consumer itself: a loop over it can be seen to end."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            found = original(*args, **kwargs)
        except BaseException as error:
            wrap.hide_frame(error)
            raise
        return Loop(found) if tracer.active and args and found is args[0] else found

    return wrap.dressed(wrapper, original)


class Loop:
    """A consumer as what a loop iterates; dropped where the loop is left."""

    __slots__ = ("_consumer",)

    def __init__(self, consumer: Any) -> None:
        """:param consumer: its ``__next__`` gives the next message, and its attributes are those of this."""
        self._consumer = consumer

    def __iter__(self) -> Loop:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._consumer)
        except BaseException as error:
            wrap.hide_frame(error)
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of an object that is not made yet: copy, pickle
            raise AttributeError(name)
        return getattr(self._consumer, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._consumer)

    def __del__(self) -> None:
        receipt = _receipt.get()
        if receipt is not None and left(_getframe(1)):
            settle(self._consumer)


wrap.unseen(Loop.__next__)
