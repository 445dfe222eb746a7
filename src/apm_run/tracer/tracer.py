"""The tracer: it begins and ends, decides what is sampled and reported, and hands what has ended to a sink."""

from __future__ import annotations

import os
import sys
from _contextvars import ContextVar
from _random import Random
from _weakref import ref
from time import perf_counter_ns, time_ns

from apm_run import propagation
from apm_run.model import FAILURE, SUCCESS, UNKNOWN
from apm_run.tracer import errors, stack
from apm_run.tracer.span import OLD_NS, Span, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from apm_run.config import Settings
    from apm_run.model import SpanDraft
    from apm_run.propagation import TraceContext

    class Sink(Protocol):
        """Where ended things go. It must neither block nor raise."""

        def begun(self) -> None:
            """A transaction has begun, so that :meth:`Tracer.look` has something to look at."""

        def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
            """A transaction has ended, with these of its spans."""

        def span(self, span: Span) -> None:
            """A span has ended after its transaction."""

        def error(self, error: dict[str, Any]) -> None:
            """An error outside any transaction, or after the end of its own."""

        def open(
            self, transaction: Transaction, spans: list[Span], errors: list[dict[str, Any]], now: int, anew: bool
        ) -> None:
            """A transaction takes long: this has ended in it, and should it never end, so did it ``now``.

            :param anew: what else is known of it may have changed.
            """

        def gone(self, id: str) -> None:
            """A transaction that was said to be open is not to be reported."""


#: So many errors of a transaction wait for its end; a program that goes on failing sends the others at once.
WAITING_ERRORS = 50

#: The span or transaction that is running in this context.
current: ContextVar[Span | Transaction | None] = ContextVar("apm_run_current", default=None)


#: Nanoseconds after which the program's own transaction is reported with the spans it has.
AMBIENT_NS = 600_000_000_000


class Tracer:
    """One per process.

    :ivar ambient: the program's own transaction, the parent of what runs in no other; None once it is claimed.
    :ivar active: whether anything is captured: not with ``recording=false``, nor once the agent stands aside. Calls
        then go straight through, and what has begun is not reported.
    """

    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        *,
        clock: Callable[[], int] = perf_counter_ns,
        wall: Callable[[], int] = time_ns,
        seed: int | None = None,
    ) -> None:
        """:param clock: monotonic nanoseconds. :param wall: nanoseconds since the epoch. :param seed: of the ids."""
        self.settings = settings
        self.sink = sink
        self.ambient: Transaction | None = None
        self.active: bool = settings.recording
        #: Targets that have failed too often, by their paths: calls pass them straight through.
        self.switched_off: set[str] = set()
        #: By their ids the transactions that have begun and not ended.
        self._live: dict[str, ref[Transaction]] = {}
        self._clock = clock
        self._wall = wall
        self._random = Random(int.from_bytes(os.urandom(16), "big") if seed is None else seed)
        self._pid = os.getpid()

    def forked(self) -> None:
        """In a forked child: other ids, and what was running in the parent ends there only.

        What the child adds to that transaction goes out by itself, as of a transaction that has ended.
        """
        self._pid = os.getpid()
        self._live = {}
        self._random.seed(int.from_bytes(os.urandom(16), "big"))
        running = current.get()
        if running is not None:
            next(running.transaction.ends)
            running.transaction.ended = True

    def _id(self) -> str:
        """64 random bits; all zeros is invalid (spec 5)."""
        return "%016x" % (self._random.getrandbits(64) or 1)

    def _long_id(self) -> str:
        """128 random bits, of a trace or an error."""
        if self._pid != os.getpid():
            self.forked()
        return "%032x" % (self._random.getrandbits(128) or 1)

    # Transactions

    def begin_transaction(
        self,
        name: str,
        type: str,
        context: TraceContext | None = None,
        *,
        start_ns: int | None = None,
        timestamp: int | None = None,
    ) -> Transaction:
        """Begin a transaction: a trace of its own, or the continuation of an incoming one (spec 13, 14).

        :param start_ns: when it began, of the tracer's clock.
        :param timestamp: the same moment in microseconds since the epoch.
        """
        if self._pid != os.getpid():  # forked in C, as uWSGI does: nobody has told
            self.forked()
        transaction = Transaction(
            self,
            name,
            type,
            id=self._id(),
            trace_id=self._long_id() if context is None else context.trace_id,
            start_ns=self._clock() if start_ns is None else start_ns,
            timestamp=self._wall() // 1000 if timestamp is None else timestamp,
        )
        if context is None:
            rate = self.settings.transaction_sample_rate
            transaction.sampled = rate >= 1.0 or self._random.random() < rate
            transaction.sample_rate = rate if transaction.sampled else 0
            transaction.tracestate = propagation.root_tracestate(transaction.sample_rate)
        else:
            transaction.parent_id = context.parent_id
            transaction.sampled = context.sampled
            transaction.sample_rate = context.sample_rate if context.sampled else 0
            transaction.tracestate = context.tracestate
        self._live[transaction.id] = ref(transaction)
        self.sink.begun()
        return transaction

    def begin_ambient(self, name: str, start_ns: int, timestamp: int, context: TraceContext | None) -> None:
        """Begin the program's own transaction (design 5), at the moment the interpreter started."""
        self.ambient = self.begin_transaction(name, "script", context, start_ns=start_ns, timestamp=timestamp)

    def claim(self) -> None:
        """A server or worker framework runs this program: what it does is not one transaction.

        What it has done so far is one where spans of it are on their way already.
        """
        ambient, self.ambient = self.ambient, None
        if ambient is not None:
            self._live.pop(ambient.id, None)
            if ambient.opened:
                self.end_transaction(ambient)

    def end_transaction(self, transaction: Transaction) -> None:
        """End it and hand it over with the spans that have ended. A second call does nothing."""
        if next(transaction.ends):  # of two threads at once, the first one ends it
            return
        transaction.ended = True
        transaction.end_ns = self._clock()
        self._live.pop(transaction.id, None)
        if transaction.outcome is None:
            transaction.outcome = FAILURE if transaction.failed else SUCCESS
        transaction.last_error = None
        if transaction.ignored or not self.active:
            if transaction.opened:
                self.sink.gone(transaction.id)
            return
        spans = _taken(transaction.spans)
        transaction.errors = _taken(transaction.errors)
        self.sink.transaction(transaction, spans)

    # Long transactions

    def look(self) -> float | None:
        """Leave open records of the transactions that take long, so that a crash in one is seen (design 5a).

        Called by the agent thread.

        :returns: seconds until it is worth another call; None while nothing runs.
        """
        now = self._clock()
        due = None
        for id, reference in list(self._live.items()):
            transaction = reference()
            if transaction is None:  # nobody is left who could end it
                self._live.pop(id, None)
                self.sink.gone(id)
                continue
            if transaction.look_ns <= now:
                # A program that has nothing to say yet may be one that never has.
                if transaction is self.ambient and transaction.silent:
                    transaction.look_ns = now + OLD_NS
                else:
                    self._hand_over(transaction, now)
            due = min(due or transaction.look_ns, transaction.look_ns)
        return None if due is None else max(due - now, 0) / 1e9

    def abandon(self) -> None:
        """The process ends: what is known to be open ends with it, as a failure."""
        for reference in list(self._live.values()):
            transaction = reference()
            if transaction is not None and transaction.opened:
                transaction.outcome = transaction.outcome or FAILURE
                self.end_transaction(transaction)

    def _hand_over(self, transaction: Transaction, now: int) -> None:
        """What has ended in a long transaction is reported, and that it has begun."""
        if transaction.ended or transaction.ignored or not self.active:
            return
        spans = _taken(transaction.spans)
        if spans:
            transaction.handed_over.append(len(spans))
        anew = transaction.look_ns <= now
        if anew:  # ever more seldom: what the agent thread does for long ones stays little
            transaction.look_ns = now + max((now - transaction.start_ns) // 4, OLD_NS)
        transaction.opened = True
        self.sink.open(transaction, spans, _taken(transaction.errors), now, anew)

    # Spans

    def begin(self, draft: SpanDraft, parent: Span | Transaction) -> Span:
        """Begin a span below a parent; over ``transaction_max_spans`` it is counted, not reported (spec 20.1)."""
        transaction = parent.transaction
        # An exit span is a leaf: what a task or thread begins that outlived it hangs where it hung.
        parent_id = parent.parent_id if parent.exit else parent.id
        span = Span(draft, transaction, parent_id or transaction.id, self._id(), self._clock())
        maximum = self.settings.transaction_max_spans
        if maximum >= 0 and next(transaction.counter) >= maximum:
            span.dropped = True
        return span

    def end(self, span: Span) -> None:
        """End a span. Its stack is caught here, where it is known to be slow enough to be worth it.

        A second call does nothing.
        """
        if span.end_ns:
            return
        span.end_ns = self._clock()
        if span.outcome is None:
            span.outcome = span.draft.outcome or SUCCESS
        transaction = span.transaction
        if span.dropped:
            transaction.count_dropped()
            self._retire(transaction)
            return
        limit = self.settings.span_stack_trace_min_duration
        if limit >= 0 and span.end_ns - span.start_ns >= limit * 1e6 and self.settings.stack_trace_limit:
            span.frames = stack.of_caller(sys._getframe(1), self.settings.stack_trace_limit)
        transaction.spans.append(span)
        if span.end_ns - transaction.start_ns > OLD_NS:
            if span.end_ns - transaction.start_ns > AMBIENT_NS:
                self._retire(transaction)
            self._hand_over(transaction, span.end_ns)
        if transaction.ended and _left(transaction, transaction.spans, span) and self.active:
            self.sink.span(span)

    def _retire(self, transaction: Transaction) -> None:
        """The program's own transaction is reported when it is full or old, and not renewed (design 5)."""
        if transaction is self.ambient:
            self.ambient = None
            self.end_transaction(transaction)

    def fail(self, span: Span, error: BaseException) -> None:
        """The program's call has raised: the outcome follows from what it raised (spec 12)."""
        if span.outcome is None and span.draft.outcome is None:
            span.outcome = FAILURE if isinstance(error, Exception) else UNKNOWN

    # Errors

    def capture(
        self, error: BaseException, transaction: Transaction | None, parent_id: str | None, handled: bool
    ) -> None:
        """Report an exception once; below a transaction it waits for its end, so that both go in one piece.

        :param parent_id: 16 hex: the span or transaction that it happened in.
        """
        if not self.active:
            return
        if transaction is not None:
            if transaction.last_error is error:
                return
            transaction.last_error = error if not transaction.ended else None
            transaction.failed = True
        settings = self.settings
        event: dict[str, Any] = {
            "id": self._long_id(),
            "timestamp": self._wall() // 1000 if transaction is None else transaction.moment(self._clock()),
            **errors.facts(
                error,
                handled,
                limit=settings.stack_trace_limit,
                app_lines=settings.source_lines_error_app_frames,
                library_lines=settings.source_lines_error_library_frames,
            ),
        }
        if transaction is None:
            self.sink.error(event)
            return
        event.update(trace_id=transaction.trace_id, transaction_id=transaction.id, parent_id=parent_id)
        event["transaction"] = {
            "sampled": transaction.sampled,
            "name": transaction.name,
            "type": transaction.type,
        }
        event["context"] = transaction.context
        waiting = transaction.errors
        if transaction.ended or len(waiting) >= WAITING_ERRORS:
            self.sink.error(event)
            return
        waiting.append(event)
        now = self._clock()
        if now - transaction.start_ns > OLD_NS:
            self._hand_over(transaction, now)
        if _left(transaction, waiting, event):
            self.sink.error(event)

    # Propagation

    def headers(self, sender: Span | Transaction) -> dict[str, str]:
        """The trace context headers of an outgoing call made by a span, or by a transaction without one (spec 14)."""
        transaction = sender.transaction
        # A span that is not reported is nobody's parent.
        id = transaction.id if isinstance(sender, Span) and sender.dropped else sender.id
        found = {"traceparent": propagation.traceparent(transaction.trace_id, id, transaction.sampled)}
        if transaction.tracestate:
            found["tracestate"] = transaction.tracestate
        return found


def _taken(waiting: list[Any]) -> list[Any]:
    """Take what waits for the end of a transaction.

    One by one: what another thread adds now is taken here, or that thread sees the end (:func:`_left`).
    """
    found = []
    while waiting:
        found.append(waiting.pop())
    found.reverse()
    return found


def _left(transaction: Transaction, waiting: list[Any], item: Any) -> bool:
    """Whether a transaction has ended without taking what was just added; if so, that is taken back."""
    if not transaction.ended:
        return False
    try:
        waiting.remove(item)
    except ValueError:
        return False
    return True
