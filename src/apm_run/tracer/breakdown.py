"""Where the time of transactions goes: breakdown metrics (spec 24.2).

While a transaction runs, each of its spans adds its self time (its duration without that of its children, overlapping
ones counted once) to a timer of the transaction. At its end they are added to those of the process, which the agent
thread turns into metricsets. What is added up here is read and written between two points at which the interpreter
may change threads, so that no lock is needed.
"""

from __future__ import annotations

from apm_run import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.config import Settings
    from apm_run.tracer.span import Transaction

    #: (type, subtype) of spans -> how many, and their self time in nanoseconds.
    Timers = dict[tuple[str, "str | None"], list[int]]

#: Distinct names and kinds in one interval; what comes beyond is not counted.
CAP = 1000

#: What the transaction itself does.
_APP = ("app", None)
COUNT, SUM = "span.self_time.count", "span.self_time.sum.us"


class Breakdown:
    """The self times of one process since they were last collected."""

    def __init__(self, settings: Settings, wall: Callable[[], int]) -> None:
        """:param wall: nanoseconds since the epoch."""
        self.enabled = settings.breakdown_metrics and settings.metrics_interval > 0
        self.interval_ns = int(settings.metrics_interval * 1e9)
        self._samples = tuple(
            name for name in (COUNT, SUM) if not any(matcher.match(name) for matcher in settings.disable_metrics)
        )
        self._wall = wall
        self._timers: dict[tuple[str, str, str, str | None], list[int]] = {}
        self._full = False
        #: When they are to be collected, of the tracer's clock; 0 while there is nothing.
        self.due_ns = 0

    def add(self, transaction: Transaction, timers: Timers, self_ns: int) -> None:
        """A sampled transaction has ended.

        :param self_ns: its own self time.
        """
        name: Any = transaction.name  # or whatever the program has put there
        kind: Any = transaction.type
        if not (isinstance(name, str) and isinstance(kind, str)):
            name, kind = name if isinstance(name, str) else "", kind if isinstance(kind, str) else ""
        for (type, subtype), (count, sum_ns) in ((_APP, (1, self_ns)), *timers.items()):
            key = (name, kind, type, subtype)
            timer = self._timers.get(key) or self._new(key)
            timer[0] += count
            timer[1] += sum_ns
        if not self.due_ns:
            self.due_ns = transaction.end_ns + self.interval_ns

    def _new(self, key: tuple[str, str, str, str | None]) -> list[int]:
        if len(self._timers) < CAP:
            return self._timers.setdefault(key, [0, 0])
        if not self._full:
            self._full = True
            log.write("warning", "metrics.full", f"more than {CAP} names and kinds: the others are not counted")
        return [0, 0]

    def collect(self) -> list[dict[str, Any]]:
        """What was added since the last time, as metricsets."""
        timers, self._timers = self._timers, {}
        self.due_ns = 0
        timestamp = self._wall() // 1000
        found = []
        for (name, kind, type, subtype), (count, sum_ns) in timers.items():
            values = {COUNT: {"value": count}, SUM: {"value": max(sum_ns, 0) // 1000}}
            samples = {sample: values[sample] for sample in self._samples}
            if count and samples:
                span = {"type": type} if subtype is None else {"type": type, "subtype": subtype}
                event = {"timestamp": timestamp, "transaction": {"name": name, "type": kind}, "span": span}
                found.append({**event, "samples": samples})
        return found

    def forked(self) -> None:
        """In a forked child: what was added is the parent's."""
        self._timers = {}
        self.due_ns = 0
