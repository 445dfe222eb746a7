"""What became of the events: the counters behind doctor and the agent's health metrics."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.export.outbox import Outbox

_KEPT_REASONS = 5


class ExportStats:
    """Counters of one process. Events, unless said otherwise."""

    __slots__ = ("_outbox", "accepted", "last_error", "reasons", "rejected", "requests", "resent")

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox
        self.accepted = 0
        #: What the server will never take; :attr:`reasons` are its words for the last of them.
        self.rejected = 0
        self.reasons: list[str] = []
        #: Sent again after a request without an answer: the server may hold them twice.
        self.resent = 0
        #: Requests, whatever became of them.
        self.requests = 0
        #: Why the last request that failed did; empty after one that did not.
        self.last_error = ""

    @property
    def waiting(self) -> int:
        """Neither answered nor dropped yet."""
        return self._outbox.waiting if self._outbox is not None else 0

    @property
    def dropped(self) -> dict[str, int]:
        """By reason: ``evicted`` (the outbox was full), ``too large``, ``queue`` (its lock was held for long)."""
        return dict(self._outbox.dropped) if self._outbox is not None else {}

    def reject(self, events: int, reasons: list[str]) -> None:
        """The server will not take them."""
        self.rejected += events
        self.reasons = (self.reasons + reasons)[-_KEPT_REASONS:]
