"""What becomes of a span that has ended: it waits, becomes part of another, is reported or counted (spec 20).

And how what ends in a long transaction is reported before that one ends (design 5a).
"""

from __future__ import annotations

from apm_run.model import SUCCESS
from apm_run.tracer.compression import absorb
from apm_run.tracer.span import OLD_NS, Span, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Sink(Protocol):
        """Where ended things go. It must neither block nor raise."""

        def begun(self, job: bool = False) -> None:
            """A transaction has begun, so that :meth:`Tracer.look` has something to look at.

            :param job: it is to be looked at even if nothing has ended in this process yet.
            """

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

        def hold(self, span: Span) -> None:
            """A span of a long transaction has ended, and may yet become part of a longer one."""

        def gone(self, id: str) -> None:
            """A transaction or span that was said to be open is not to be reported."""

        def metricset(self, event: dict[str, Any]) -> None:
            """Metrics of this process."""


#: Kinds of exit spans that a transaction tells of where they were not reported (spec 20.4).
STATS = 128
#: Nanoseconds after which the program's own transaction is reported with the spans it has.
AMBIENT_NS = 600_000_000_000


class Reporting:
    """The part of a tracer that hands over to its sink."""

    if TYPE_CHECKING:
        sink: Sink
        ambient: Transaction | None
        active: bool

        def end_transaction(self, transaction: Transaction) -> None:
            """End it and hand it over."""

    def _hand_over(self, transaction: Transaction, now: int) -> None:
        """What has ended in a long transaction is reported, and that it has begun."""
        if transaction.ended or transaction.ignored or not self.active:
            return
        spans = taken(transaction.spans)
        if spans:
            transaction.handed_over.append(len(spans))
        for span in list(transaction.buffers.values()):
            if not span.held:
                self._hold(span)
        anew = transaction.look_ns <= now
        if anew:  # ever more seldom: what the agent thread does for long ones stays little
            transaction.look_ns = now + max((now - transaction.start_ns) // 4, OLD_NS)
        transaction.opened = True
        self.sink.open(transaction, spans, taken(transaction.errors), now, anew)

    def _buffer(self, span: Span) -> None:
        """Report what ended before it below the same parent, unless it becomes part of that (spec 20.3)."""
        transaction, parent = span.transaction, span.parent
        buffers = transaction.buffers
        held = buffers.pop(parent.id, None)  # whoever takes it out has it
        if held is not None and not absorb(held, span, transaction.settings):
            self._report(held)
            held = None
        if parent.end_ns:
            self._report(held or span)
            return
        kept = held or span
        if span.end_ns - transaction.start_ns > OLD_NS and self.active:
            self._hold(kept)
        if buffers.setdefault(parent.id, kept) is not kept:  # another thread was faster
            self._report(kept)
        elif transaction.ended:
            self._release(transaction)
        elif kept.held:
            self._hand_over(transaction, span.end_ns)

    def _hold(self, span: Span) -> None:
        span.held = True
        self.sink.hold(span)

    def _flush(self, transaction: Transaction, parent_id: str) -> None:
        held = transaction.buffers.pop(parent_id, None)
        if held is not None:
            self._report(held)

    def _release(self, transaction: Transaction) -> None:
        """Report all that waits to become part of something else."""
        for parent_id in list(transaction.buffers):
            self._flush(transaction, parent_id)

    def _report(self, span: Span) -> None:
        """Report a span, or drop it as a short one or as one too many (spec 20)."""
        transaction = span.transaction
        settings = transaction.settings
        shortest = settings.exit_span_min_duration
        if shortest and span.light and span.end_ns - span.start_ns < shortest * 1e6:
            self._drop(span)
            return
        maximum = settings.transaction_max_spans
        if maximum >= 0:
            number = next(transaction.counter)
            if number >= maximum - 1:
                transaction.full = True
            if number >= maximum:
                self._drop(span)
                self._retire(transaction)
                return
        transaction.spans.append(span)
        age = span.end_ns - transaction.start_ns
        if age > OLD_NS:
            if age > AMBIENT_NS:
                self._retire(transaction)
            self._hand_over(transaction, span.end_ns)
        if transaction.ended and left(transaction, transaction.spans, span) and self.active:
            self.sink.span(span)

    def _drop(self, span: Span) -> None:
        """Count a span instead of reporting it (spec 20.4)."""
        transaction = span.transaction
        transaction.count_dropped()
        if span.held:
            self.sink.gone(span.id)
        target = span.draft.target() if span.exit else ("", "")
        stats = transaction.stats
        key = (span.draft.type if span.draft.type == "external" else "", *target, span.outcome or SUCCESS)
        entry = stats.get(key)
        if entry is None:
            if not any(target) or len(stats) >= STATS:
                return
            entry = stats.setdefault(key, [0, 0])
        count, sum_ns = 1, span.end_ns - span.start_ns
        if span.composite is not None:
            count, sum_ns = span.composite.count, span.composite.sum_ns
        entry[0] += count
        entry[1] += sum_ns

    def _retire(self, transaction: Transaction) -> None:
        """The program's own transaction is reported when it is full or old, and not renewed (design 5)."""
        if transaction is self.ambient:
            self.ambient = None
            self.end_transaction(transaction)


def taken(waiting: list[Any]) -> list[Any]:
    """Take what waits for the end of a transaction.

    One by one: what another thread adds now is taken here, or that thread sees the end (:func:`left`).
    """
    found = []
    while waiting:
        found.append(waiting.pop())
    found.reverse()
    return found


def left(transaction: Transaction, waiting: list[Any], item: Any) -> bool:
    """Whether a transaction has ended without taking what was just added; if so, that is taken back."""
    if not transaction.ended:
        return False
    try:
        waiting.remove(item)
    except ValueError:
        return False
    return True
