"""The engine without a program: a tracer with its own clock and ids, and a sink that keeps what has ended.

engine = Engine(transaction_max_spans="2")
work = engine.wrap(work, describe=...)
with engine.transaction() as transaction:
    work()
assert engine.sink.spans(transaction)[0].outcome == "success"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from apm_run import config
from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import Call, SpanDraft, TransactionDraft
from apm_run.tracer import Span, Tracer, Transaction, current

#: What the wall clock always says, in nanoseconds.
WALL = 1_700_000_000_123_456_789


class Clock:
    """Nanoseconds that pass only when told, but for one at each reading."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def advance(self, milliseconds: float) -> None:
        self.now += int(milliseconds * 1e6)


class Sink:
    """Keeps what has ended: ``transactions`` with their spans, late spans, errors outside of transactions.

    :ivar opened: what was said of long transactions. :ivar taken_back: ids of those that are none any more.
    """

    def __init__(self) -> None:
        self.transactions: list[tuple[Transaction, list[Span]]] = []
        self.late: list[Span] = []
        self.errors: list[dict[str, Any]] = []
        self.opened: list[tuple[Transaction, list[Span], list[Any], int, bool]] = []
        self.taken_back: list[str] = []
        self.held: list[Span] = []
        self.metricsets: list[dict[str, Any]] = []

    def begun(self, job: bool = False) -> None:
        pass

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        self.transactions.append((transaction, spans))

    def open(self, transaction: Transaction, spans: list[Span], errors: list[Any], now: int, anew: bool) -> None:
        self.opened.append((transaction, spans, errors, now, anew))

    def hold(self, span: Span) -> None:
        self.held.append(span)

    def metricset(self, event: dict[str, Any]) -> None:
        self.metricsets.append(event)

    def gone(self, id: str) -> None:
        self.taken_back.append(id)

    def span(self, span: Span) -> None:
        self.late.append(span)

    def error(self, error: dict[str, Any]) -> None:
        self.errors.append(error)

    def spans(self, transaction: Transaction) -> list[Span]:
        (found,) = [spans for ended, spans in self.transactions if ended is transaction]
        return found


def work_span(call: Call) -> SpanDraft:
    """A span that is no exit span."""
    return SpanDraft("work", "custom", exit=False)


def job(call: Call) -> TransactionDraft:
    """A transaction."""
    return TransactionDraft("work", "messaging")


def exit_span(call: Call) -> SpanDraft:
    """A span that leaves the process."""
    return SpanDraft("call", "external", "http")


def settings(**options: Any) -> config.Settings:
    """The default settings but for these."""
    found, problems = config.load({f"ELASTIC_APM_{name.upper()}": str(value) for name, value in options.items()})
    assert not problems
    return found


class Engine:
    """A tracer and what it reports."""

    def __init__(self, **options: str) -> None:
        # Each span by itself, unless a test wants them compressed.
        options.setdefault("span_compression_enabled", "false")
        self.clock = Clock()
        self.sink = Sink()
        self.tracer = Tracer(settings(**options), self.sink, clock=self.clock, wall=lambda: WALL, seed=1)

    def wrap(
        self,
        original: Callable[..., Any],
        describe: Callable[..., Any] | None = None,
        *,
        observe: Any = None,
        rewrite: Any = None,
        entry: bool = False,
    ) -> Callable[..., Any]:
        describe = describe or (job if entry else work_span)
        target = Target("test:work", describe, observe=observe, rewrite=rewrite, entry=entry)
        return wrap.function(original, wrap.Interceptor(target, self.tracer, target.path))

    def begin(self, name: str = "test", **facts: Any) -> Transaction:
        return self.tracer.begin_transaction(name, "test", **facts)

    @contextmanager
    def transaction(self, name: str = "test", **facts: Any) -> Iterator[Transaction]:
        """Run the body in a transaction; nothing of it may be current afterwards."""
        transaction = self.begin(name, **facts)
        with running(transaction):
            yield transaction
            assert current.get() is transaction
        self.tracer.end_transaction(transaction)

    def one_span(self, transaction: Transaction) -> Span:
        (span,) = self.sink.spans(transaction)
        assert span.end_ns >= span.start_ns > 0
        return span


@contextmanager
def running(what: Span | Transaction | None) -> Iterator[None]:
    """Make something current for the body."""
    previous = current.get()
    current.set(what)
    try:
        yield
    finally:
        current.set(previous)
