"""The tracer: it begins and ends, decides what is sampled and reported, and hands what has ended to a sink."""

from __future__ import annotations

import os
import sys
from _contextvars import ContextVar
from _random import Random
from _weakref import ref
from time import perf_counter_ns, time_ns

from apm_run import propagation
from apm_run.config.wildcard import any_match
from apm_run.model import FAILURE, SUCCESS, UNKNOWN
from apm_run.tracer import capture, stack
from apm_run.tracer.breakdown import Breakdown
from apm_run.tracer.names import Names
from apm_run.tracer.reporting import AMBIENT_NS, Reporting, left, taken
from apm_run.tracer.span import OLD_NS, Span, Transaction, settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LogRecord
    from types import CodeType, FrameType
    from typing import Any

    from apm_run.config import Settings
    from apm_run.model import SpanDraft
    from apm_run.propagation import TraceContext
    from apm_run.tracer.reporting import Sink


#: What an error says of the transaction that it happened in.
_IN_TRANSACTION = frozenset(("trace_id", "transaction_id", "parent_id", "transaction"))

#: So many errors of a transaction wait for its end; a program that goes on failing sends the others at once.
WAITING_ERRORS = 50

#: The span or transaction that is running in this context.
current: ContextVar[Span | Transaction | None] = ContextVar("apm_run_current", default=None)


class Tracer(Reporting):
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
        #: Called when the program is found to be a server or worker; must not raise.
        self.claimed: Callable[[], None] | None = None
        self.active: bool = settings.recording
        self.names = Names()
        #: Functions that log an error of a transaction which is reported by itself.
        self.retold: set[CodeType] = set()
        #: Targets that have failed too often, by their paths: calls pass them straight through.
        self.switched_off: set[str] = set()
        #: By their ids the transactions that have begun and not ended.
        self._live: dict[str, ref[Transaction]] = {}
        self._breakdown = Breakdown(settings, wall)
        self._capture = capture.Capture(settings)
        self._stacks = stack.Stacks(settings)
        #: Spans that last as long show their stack.
        slow = settings.span_stack_trace_min_duration if settings.stack_trace_limit else -1
        self._slow_ns = slow * 1e6 if slow >= 0 else float("inf")
        self._clock = clock
        self._wall = wall
        self._random = Random(int.from_bytes(os.urandom(16), "big") if seed is None else seed)
        self._bits = self._random.getrandbits
        self._pid = os.getpid()

    @property
    def process(self) -> int:
        """The process that it works in, as far as it has heard of forks."""
        return self._pid

    def forked(self) -> None:
        """In a forked child: other ids, and what was running in the parent ends there only.

        What the child adds to that transaction goes out by itself, as of a transaction that has ended.
        """
        self._pid = os.getpid()
        self._live = {}
        self._breakdown.forked()
        self._random.seed(int.from_bytes(os.urandom(16), "big"))
        running = current.get()
        if running is not None:
            next(running.transaction.ends)
            running.transaction.ended = True

    def _id(self) -> str:
        """64 random bits; all zeros is invalid (spec 5)."""
        return "%016x" % (self._bits(64) or 1)

    def _long_id(self) -> str:
        """128 random bits, of a trace or an error."""
        return "%032x" % (self._bits(128) or 1)

    # Transactions

    def begin_transaction(
        self,
        name: str,
        type: str,
        context: TraceContext | None = None,
        *,
        baggage: dict[str, str] | None = None,
        start_ns: int | None = None,
        timestamp: int | None = None,
    ) -> Transaction:
        """Begin a transaction: a trace of its own, or the continuation of an incoming one (spec 13, 14, 16).

        :param baggage: as :func:`propagation.baggage` reads it.
        :param start_ns: when it began, of the tracer's clock.
        :param timestamp: the same moment in microseconds since the epoch.
        """
        if self._pid != os.getpid():  # forked in C, as uWSGI does: nobody has told
            self.forked()
        links = []
        if context is not None and context.restarted(self.settings.trace_continuation_strategy):
            links.append({"trace_id": context.trace_id, "span_id": context.parent_id})
            context = None
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
        transaction.links = links
        if baggage:
            self.attach(transaction, baggage)
        if self._breakdown.enabled and transaction.sampled:
            transaction.timers = {}
        self._live[transaction.id] = ref(transaction)
        self.sink.begun()
        return transaction

    def attach(self, transaction: Transaction, baggage: dict[str, str]) -> None:
        """Keep the baggage that goes on to others, and what of it is shown (spec 15)."""
        transaction.baggage = baggage
        shown = self.settings.baggage_to_attach
        transaction.attributes = {
            f"baggage.{key}": propagation.value(member) for key, member in baggage.items() if any_match(shown, key)
        }

    def begin_ambient(
        self,
        name: str,
        start_ns: int,
        timestamp: int,
        context: TraceContext | None,
        baggage: dict[str, str] | None = None,
    ) -> None:
        """Begin the program's own transaction (design 5), at the moment the interpreter started."""
        self.ambient = self.begin_transaction(
            name, "script", context, baggage=baggage, start_ns=start_ns, timestamp=timestamp
        )

    def resume(self, ended: Span | Transaction) -> Span | Transaction | None:
        """Make current what was before something that has ended elsewhere: in the task that has closed a generator."""
        found = settled(ended)
        current.set(found)
        return found or self.ambient

    def running(self, ambient: bool) -> Span | Transaction | None:
        """What runs here and is of interest to the user.

        :param ambient: that includes the program's own transaction.
        """
        found = current.get() or self.ambient
        if found is not None and found.left is not None:
            found = settled(found) or self.ambient
        if found is None or not self.active or found.transaction.ignored:
            return None
        return found if ambient or found.transaction is not self.ambient else None

    def claim(self) -> None:
        """A server or worker framework runs this program: what it does is not one transaction.

        What it has done so far is one where spans of it are on their way already.
        """
        ambient, self.ambient = self.ambient, None
        if ambient is not None:
            if self.claimed is not None:
                self.claimed()
            self._live.pop(ambient.id, None)
            if ambient.opened:
                self.end_transaction(ambient)

    def end_transaction(self, transaction: Transaction) -> None:
        """End it and hand it over with the spans that have ended. A second call does nothing."""
        if next(transaction.ends):  # of two threads at once, the first one ends it
            return
        if transaction.buffers:
            self._release(transaction)
        transaction.ended = True
        transaction.end_ns = self._clock()
        self._live.pop(transaction.id, None)
        if transaction.outcome is None:
            transaction.outcome = FAILURE if transaction.failed else SUCCESS
        if self.settings.transactions_ignore_patterns:
            self._ignore_by_name(transaction)
        if transaction.ignored or not self.active:
            if transaction.opened:
                self.sink.gone(transaction.id)
            return
        timers, transaction.timers = transaction.timers, None
        if timers is not None:
            self._breakdown.add(transaction, timers, _self_ns(transaction))
        spans = taken(transaction.spans)
        transaction.errors = taken(transaction.errors)
        self.sink.transaction(transaction, spans)

    def _ignore_by_name(self, transaction: Transaction) -> None:
        """Do not report a transaction whose final name matches; its errors are as those outside any (spec 22)."""
        name = transaction.name
        if name.__class__ is not str or not any(
            pattern.match(name) for pattern in self.settings.transactions_ignore_patterns
        ):
            return
        transaction.ignore()
        if self.active:
            for event in taken(transaction.errors):
                self.sink.error({key: value for key, value in event.items() if key not in _IN_TRANSACTION})

    # Long transactions

    def look(self) -> float | None:
        """Leave open records of the transactions that take long, so that a crash in one is seen (design 5a).

        Called by the agent thread.

        :returns: seconds until it is worth another call; None while nothing runs.
        """
        now = self._clock()
        due = self._breakdown.due_ns or None
        if due is not None and due <= now:
            self.collect()
            due = None
        for id, reference in list(self._live.items()):
            transaction = reference()
            if transaction is None:  # nobody is left who could end it
                self._live.pop(id, None)
                self.sink.gone(id)
                continue
            if transaction is self.ambient and now - transaction.start_ns > AMBIENT_NS and not transaction.silent:
                self._retire(transaction)
            elif transaction.look_ns <= now:
                # A program that has nothing to say yet may be one that never has; some are never to say anything.
                mute = transaction.ignored or not self.active
                if mute or (transaction is self.ambient and transaction.silent):
                    transaction.look_ns = now + OLD_NS
                else:
                    self._hand_over(transaction, now)
            due = min(due or transaction.look_ns, transaction.look_ns)
        return None if due is None else max(due - now, 0) / 1e9

    def collect(self) -> None:
        """Report the metrics of this process."""
        if self.active:
            for event in self._breakdown.collect():
                self.sink.metricset(event)

    def received(self) -> Transaction | None:
        """The transaction of messages that the program has asked for here, and still deals with."""
        running = current.get()
        if running is None or not running.transaction.received or running.transaction.ended:
            return None
        return running.transaction

    def abandon(self) -> None:
        """The process ends: what is known to be open ends with it, as a failure; but for messages received here."""
        received = self.received()
        if received is not None:
            self.end_transaction(received)
        for reference in list(self._live.values()):
            transaction = reference()
            if transaction is not None and transaction.opened:
                transaction.outcome = transaction.outcome or FAILURE
                self.end_transaction(transaction)

    def ensure_parent(self, transaction: Transaction) -> str:
        """The id of the parent of a transaction, which is made up where it has none: a page's, that is yet to come."""
        if transaction.parent_id is None:
            transaction.parent_id = self._id()
        return transaction.parent_id

    # Spans

    def begin(self, draft: SpanDraft, parent: Span | Transaction) -> Span:
        """Begin a span below a parent; over ``transaction_max_spans`` it is counted, not reported (spec 20.1)."""
        transaction = parent.transaction
        # An exit span is a leaf: what a task or thread begins that outlived it hangs where it hung.
        owner: Span | Transaction = parent.parent if parent.exit else parent  # type: ignore[union-attr]
        if transaction.first is not None:
            transaction.first()
        start_ns = self._clock()
        span = Span(draft, owner, transaction, self._id(), start_ns)
        if transaction.timers is not None:
            if not owner.children:
                owner.since_ns = start_ns
            owner.children += 1
        return span

    def now(self) -> int:
        """The time, as spans have it."""
        return self._clock()

    def backdate(self, span: Span, start_ns: int) -> None:
        """Say that a span has begun earlier, when it was not known yet that it would be one."""
        span.start_ns = start_ns
        if span.parent.children == 1:
            span.parent.since_ns = start_ns

    def forget(self, span: Span) -> None:
        """Take back a span that has begun: it is as if it had not."""
        span.end_ns = self._clock()
        if span.transaction.timers is not None:
            span.parent.children -= 1

    def end(self, span: Span, here: bool = True) -> None:
        """End a span. Its stack is caught here, where it is known to be slow enough to be worth it.

        A second call does nothing.

        :param here: where it was asked for; else the stack says nothing about it.
        """
        if span.end_ns:
            return
        span.end_ns = end_ns = self._clock()
        draft, transaction = span.draft, span.transaction
        outcome = span.outcome
        if outcome is None:
            outcome = span.outcome = draft.outcome or SUCCESS
        duration = end_ns - span.start_ns
        exit = span.exit
        timers = transaction.timers
        if timers is not None:
            owner = span.parent
            children = owner.children = owner.children - 1
            if not children:
                owner.child_ns += end_ns - owner.since_ns
            try:
                key = (draft.type, draft.subtype)
                timer = timers.get(key) or timers.setdefault(key, [0, 0])
                timer[0] += 1
                timer[1] += duration if exit else _self_ns(span)
            except TypeError:  # an instrumentation's odd idea of a type
                pass
        if not exit and transaction.buffers:  # an exit span has nothing below it
            self._flush(transaction, span.id)
        if span.dropped:
            self._drop(span)
            self._retire(transaction)
            return
        if here and duration >= self._slow_ns:
            variables = self._stacks.variables("transactions")
            span.frames = stack.of_caller(sys._getframe(1), self.settings.stack_trace_limit, variables)
        # As span.light has it.
        light = exit and outcome == SUCCESS and not span.propagated
        if light and transaction.settings.span_compression_enabled:
            self._buffer(span)
        else:
            if transaction.buffers:
                self._flush(transaction, span.parent.id)
            self._report(span)

    def fail(self, span: Span, error: BaseException) -> None:
        """The program's call has raised: the outcome follows from what it raised (spec 12)."""
        if span.outcome is None and span.draft.outcome is None:
            span.outcome = FAILURE if isinstance(error, Exception) else UNKNOWN

    # Errors

    def capture(
        self,
        error: BaseException | None,
        transaction: Transaction | None,
        handled: bool,
        record: LogRecord | None = None,
        frame: FrameType | None = None,
    ) -> None:
        """Report an exception, once, or what was logged.

        Below a transaction it waits for its end, so that both go in one piece.

        :param transaction: that it happened in; None where it did in none.
        :param record: of the program's log. :param frame: that has logged it.
        """
        if not self.active:
            return
        if transaction is not None and transaction.ignored:
            transaction = None
        if error is not None and self._capture.known(error, transaction, handled):
            return
        if self._pid != os.getpid():
            self.forked()
        span = capture.failing(transaction, current.get())
        event = self._capture.event(self._long_id(), error, handled, record, frame)
        if event is None:
            return
        if transaction is None:
            event["timestamp"] = self._wall() // 1000
            self.sink.error(event)
            return
        event["timestamp"] = transaction.moment(self._clock())
        capture.place(event, transaction, span)
        event["attached"] = transaction.attributes
        waiting = transaction.errors
        if transaction.ended or len(waiting) >= WAITING_ERRORS:
            self.sink.error(event)
            return
        waiting.append(event)
        now = self._clock()
        if now - transaction.start_ns > OLD_NS:
            self._hand_over(transaction, now)
        if left(transaction, waiting, event):
            self.sink.error(event)

    def dismiss(self, error: BaseException) -> None:
        """Do not report an exception, whoever tells of it."""
        self._capture.dismiss(error)

    def told(self, error: BaseException | None, record: LogRecord | None, scene: Any) -> None:
        """Report what the program's log, or the end of a thread or task tells.

        :param scene: the frame that has logged, or the context that the error comes from.
        """
        running = current.get()
        if record is None and scene is not None:
            running = scene.get(current) or running
        running = running or self.ambient
        if running is not None and running.left is not None:
            running = settled(running) or self.ambient
        transaction = None if running is None else running.transaction
        if record is None:
            self.capture(error, transaction, handled=False)
        elif transaction is None or scene is None or scene.f_code not in self.retold:
            self.capture(error, transaction, True, record, scene)

    # Propagation

    def headers(self, sender: Span | Transaction) -> dict[str, str]:
        """The trace context headers of an outgoing call made by a span, or by a transaction without one (spec 14)."""
        transaction = sender.transaction
        id = sender.id
        if isinstance(sender, Span):
            if sender.dropped:  # a span that is not reported is nobody's parent
                id = transaction.id
            else:
                sender.propagated = True
        found = {"traceparent": propagation.traceparent(transaction.trace_id, id, transaction.sampled)}
        if transaction.tracestate:
            found["tracestate"] = transaction.tracestate
        if transaction.baggage:
            found["baggage"] = propagation.members(transaction.baggage)
        return found


def _self_ns(timed: Span | Transaction) -> int:
    """Its duration without the time in which spans ran below it."""
    running = timed.end_ns - timed.since_ns if timed.children else 0
    return timed.end_ns - timed.start_ns - timed.child_ns - running
