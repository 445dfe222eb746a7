"""The two things that have a duration (spec 6, 7). Their facts are plain data: intake.encode puts them on the wire."""

from __future__ import annotations

from itertools import count

from apm_run.model import SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.config import Settings
    from apm_run.model import SpanDraft, TransactionDraft
    from apm_run.tracer.breakdown import Timers
    from apm_run.tracer.compression import Composite
    from apm_run.tracer.stack import RawFrame
    from apm_run.tracer.tracer import Tracer

#: Nanoseconds after which a transaction is a long one: what has ended in it no longer waits for its end (design 5a).
OLD_NS = 1_000_000_000


class Span:
    """A span that has begun. Times are nanoseconds of ``perf_counter_ns``."""

    __slots__ = (
        "child_ns", "children", "composite", "draft", "dropped", "end_ns", "exit", "frames", "held", "id", "left",
        "links", "outcome", "parent", "propagated", "since_ns", "start_ns", "sync", "transaction",
    )  # fmt: skip

    def __init__(
        self, draft: SpanDraft, parent: Span | Transaction, transaction: Transaction, id: str, start_ns: int
    ) -> None:
        """Begin it.

        :param parent: the span or transaction that was current; no exit span, which is a leaf.
        """
        self.draft = draft
        self.parent = parent
        self.transaction = transaction
        self.id = id
        self.start_ns = start_ns
        self.end_ns = 0
        self.exit = draft.exit
        #: No further span of the transaction is to be reported.
        self.dropped = transaction.full
        #: Whether its trace context has left the process with it.
        self.propagated = False
        #: What it stands for, where it has absorbed others; whether an open record tells of it.
        self.composite: Composite | None = None
        self.held = False
        self.outcome: str | None = None
        self.links: list[dict[str, str]] | None = None
        self.frames: list[RawFrame] | None = None
        #: Ended elsewhere than it has begun: (what is current again where it has been left current,).
        self.left: tuple[Span | Transaction | None] | None = None
        self.sync = True
        #: How many spans run below it, since when some do, and how long some did before; exit spans have none.
        self.children = self.since_ns = self.child_ns = 0

    @property
    def parent_id(self) -> str:
        """16 hex."""
        return self.parent.id

    def own(self) -> SpanDraft:
        """Its draft, to be changed: one that is shared with others is copied first."""
        if self.draft.encoded is not None:
            self.draft = self.draft.copy()
        self.draft.reached = None
        return self.draft

    @property
    def light(self) -> bool:
        """Whether it may become part of another, or be dropped for being short (spec 20.2, 20.3)."""
        return self.exit and self.outcome == SUCCESS and not self.propagated

    @property
    def timestamp(self) -> int:
        """When it began, in microseconds since the epoch."""
        return self.transaction.moment(self.start_ns)


class Transaction:
    """A unit of work of this service: a request, a job, the program itself."""

    __slots__ = (
        "__weakref__", "_dropped", "_name", "_reads", "attributes", "baggage", "buffers", "child_ns", "children",
        "context", "counter", "draft", "end_ns", "ended", "ends", "entry", "errors", "exit", "failed", "first",
        "framework", "full", "handed_over", "id", "ignored", "kind", "left", "linked", "links", "look_ns",
        "named_by_user", "opened", "outcome", "parent_id", "received", "result", "route_prefix", "sample_rate",
        "sampled", "settings", "since_ns", "spans", "start_ns", "stats", "timers", "timestamp", "trace_id", "tracer",
        "tracestate", "type",
    )  # fmt: skip

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        type: str,
        *,
        id: str,
        trace_id: str,
        start_ns: int,
        timestamp: int,
    ) -> None:
        """Begin it as the root of a trace; the tracer adds what an incoming context says.

        :param timestamp: microseconds since the epoch.
        """
        self.tracer = tracer
        self._name = name
        self.type = type
        #: What it began as: the user may give it another type.
        self.kind = type
        self.id = id
        self.trace_id = trace_id
        self.parent_id: str | None = None
        self.tracestate = ""
        self.sampled = True
        self.sample_rate: float | None = None
        self.start_ns = start_ns
        self.end_ns = 0
        self.timestamp = timestamp
        self.ended = False
        #: Made by a server or worker framework: the same request seen by an inner layer starts no other.
        self.entry = False
        #: The program has asked for the messages that it deals with: nobody tells when it has.
        self.received = False
        self.exit = False
        self.left: tuple[Span | Transaction | None] | None = None  # as for spans
        self.result: str | None = None
        self.outcome: str | None = None
        self.context: dict[str, Any] = {}
        #: Of no interest to the user (``transaction_ignore_urls``): it is not reported, nor what happens in it.
        self.ignored = False
        #: The options as they were when it began (spec 4).
        self.settings: Settings = tracer.settings
        self.framework: tuple[str, str] | None = None
        #: What an instrumentation says of it, which may yet change.
        self.draft: TransactionDraft | None = None
        self.named_by_user = False
        self.route_prefix = ""
        self.spans: list[Span] = []
        self.errors: list[dict[str, Any]] = []
        self.links: list[dict[str, str]] = []
        #: The baggage that came with it, and what of it is shown with it and its spans and errors.
        self.baggage: dict[str, str] | None = None
        self.attributes: dict[str, str] | None = None
        #: An error of it was reported.
        self.failed = False
        #: How many of its spans are to be reported, and how often it was ended: counters that threads can share.
        self.counter = count()
        self.ends = count()
        #: No further span is to be reported.
        self.full = self.settings.transaction_max_spans == 0
        #: Called when its first span begins.
        self.first: Callable[[], None] | None = None
        #: By the id of their parent: spans that have ended and may yet absorb the next one.
        self.buffers: dict[str, Span] = {}
        #: What is said of exit spans that are not reported: (type, target type, target name, outcome) -> count, sum.
        self.stats: dict[tuple[str, str, str, str], list[int]] = {}
        #: Self times by type and subtype; None where nobody wants them. What is as for spans.
        self.timers: Timers | None = None
        self.children = self.since_ns = self.child_ns = 0
        self._dropped = count()
        self._reads = 0
        #: How many of its spans were reported before its end, by the piece.
        self.handed_over: list[int] = []
        #: Another program was started below it.
        self.linked = False
        #: Whether an open record says that it has begun, and when that is to be looked at again.
        self.opened = False
        self.look_ns = start_ns + OLD_NS

    @property
    def name(self) -> str:
        """The name as events show it: of the group that it belongs to (spec 22)."""
        name = self._name
        if name.__class__ is not str:  # whatever the program has put there; encoding copes with it
            return name
        return self.tracer.names.shown(name, self.tracer.settings.transaction_name_groups)

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def own(self) -> TransactionDraft:
        """Its draft, to be changed, as for spans; only what an instrumentation has described has one."""
        return self.draft  # type: ignore[return-value]

    @property
    def transaction(self) -> Transaction:
        """Itself: what is current may be a span or a transaction, and both have one."""
        return self

    def moment(self, ns: int) -> int:
        """A reading of the tracer's clock in microseconds since the epoch, by its one wall clock reading (spec 5)."""
        return self.timestamp + (ns - self.start_ns) // 1000

    def set_name(self, name: str) -> None:
        """Name it by its route or handler, unless the user has named it."""
        if not self.named_by_user:
            self._name = name

    def ignore(self) -> None:
        """Report neither it nor its spans; its errors are reported as outside any transaction (spec 22)."""
        self.ignored = True
        self.sampled = False

    def capture(self, error: BaseException, handled: bool) -> None:
        """Report an error of it; the same exception a second time is nothing new.

        :param handled: the program or its framework has dealt with it.
        """
        self.tracer.capture(error, self, handled)

    def dismiss(self, error: BaseException) -> None:
        """What looks like an error of it is none: nothing is reported where the program's log tells of it."""
        self.tracer.dismiss(error)

    def count_dropped(self) -> None:
        """One more span of it was not reported."""
        next(self._dropped)

    def dropped(self) -> int:
        """How many of its spans were not reported. Read by one thread at a time."""
        self._reads += 1
        return next(self._dropped) - self._reads + 1

    @property
    def silent(self) -> bool:
        """Whether there is nothing in it or below it that is worth reporting, nor the user has said anything of it."""
        said = self.named_by_user or self.context
        found = self.spans or self.errors or self.opened or self.linked or self.buffers or self.stats
        return not (found or said)


def settled(item: Span | Transaction | None) -> Span | Transaction | None:
    """What is current instead of an item that has been left current where it did not end."""
    while item is not None and item.left is not None:
        item = item.left[0]
    return item
