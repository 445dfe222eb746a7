"""What one receiver has received since it started: counts for the summary, and when it was last busy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Condition
from time import monotonic
from typing import Any

from apm_run.intake.decode import Event
from apm_run.local import rows

_COUNTERS = {
    "transaction": "transactions",
    "span": "spans",
    "error": "errors",
    "metricset": "metricsets",
    "log": "logs",
}
_REASONS = 100


class Tally:
    """Counts per service. Safe for threads."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._services: dict[str, dict[str, int]] = {}
        self._reasons: dict[str, int] = {}
        self._rejected = 0
        self._open = 0
        self._last = monotonic()

    def touch(self) -> None:
        """Count this moment as busy: what is waiting in the socket is about to be read."""
        with self._changed:
            self._last = monotonic()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Mark an intake request as under way."""
        with self._changed:
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._last = monotonic()
                self._changed.notify_all()

    def accepted(self, events: Iterable[Event]) -> None:
        """Count stored events."""
        with self._changed:
            for event in events:
                counts = self._services.setdefault(
                    rows.service_name(event), dict.fromkeys((*_COUNTERS.values(), "failures"), 0)
                )
                counts[_COUNTERS[event.kind]] += 1
                if event.kind == "transaction" and rows.outcome(event.body) == "failure":
                    counts["failures"] += 1

    def rejected(self, errors: Iterable[dict[str, str]], count: int) -> None:
        """Count refused events; ``errors`` names the reasons of the first of them."""
        with self._changed:
            self._rejected += count
            for error in errors:
                reason = error["message"]
                if reason in self._reasons or len(self._reasons) < _REASONS:
                    self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def summary(self) -> dict[str, Any]:
        """Return counts since the start.

        ``{"services": {name: {"transactions", "spans", "errors", "failures", "metricsets", "logs"}},
        "rejected": number of events, "reasons": {message: times}}``
        """
        with self._changed:
            return {
                "services": {name: dict(counts) for name, counts in sorted(self._services.items())},
                "rejected": self._rejected,
                "reasons": dict(self._reasons),
            }

    def wait_idle(self, quiet: float, timeout: float) -> bool:
        """Wait until no request is under way and none ended in the last ``quiet`` seconds.

        Returns False when that has not come to pass within ``timeout`` seconds.
        """
        deadline = monotonic() + timeout
        with self._changed:
            while True:
                now = monotonic()
                settled = self._last + quiet
                if not self._open and now >= settled:
                    return True
                if now >= deadline:
                    return False
                until = deadline if self._open else min(settled, deadline)
                self._changed.wait(until - now)
