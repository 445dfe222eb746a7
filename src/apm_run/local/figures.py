"""The figures of Kibana's APM app: average, 95th percentile, failure rate, throughput, distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

_MINUTE = 60_000_000
#: Buckets per factor of ten in a distribution of durations.
_PER_DECADE = 10
#: Points of a small chart.
POINTS = 40


class Measured:
    """Durations (ms), outcomes and times (us) of things of one kind, gathered one by one."""

    __slots__ = ("calls", "durations", "failures", "known", "last", "times", "total")

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.times: list[int] = []
        self.calls = 0
        self.failures = 0
        self.known = 0
        self.last = 0
        self.total = 0.0

    def add(self, duration: float, outcome: str, ts: int | None, calls: int = 1) -> None:
        """Take one in; ``calls`` counts for a composite span (spec.md 20.3)."""
        self.durations.append(duration)
        self.total += duration
        self.calls += calls
        self.known += outcome != "unknown"
        self.failures += outcome == "failure"
        if ts is not None:
            self.times.append(ts)
            self.last = max(self.last, ts)

    def figures(self, window: tuple[int, int]) -> dict[str, Any]:
        """Return the figures for the page; ``window`` (us) is what throughput is measured over."""
        minutes = max(window[1] - window[0], _MINUTE) / _MINUTE
        return {
            "count": self.calls,
            "average": self.total / len(self.durations) if self.durations else None,
            "p95": percentile(self.durations, 0.95),
            "total": self.total,
            "failures": self.failures,
            # As in Kibana: what has no outcome says nothing about failing.
            "failure_rate": self.failures / self.known if self.known else None,
            "throughput": self.calls / minutes,
            "last": self.last or None,
            "series": counts(self.times, window),
        }


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that ``share`` of the values do not exceed; None without values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def counts(times: Iterable[int], window: tuple[int, int]) -> list[int]:
    """Return how many of ``times`` fall into each of 40 equal parts of ``window``."""
    start, width = window[0], max(window[1] - window[0], 1) / POINTS
    series = [0] * POINTS
    for moment in times:
        series[min(max(int((moment - start) / width), 0), POINTS - 1)] += 1
    return series


def distribution(durations: Sequence[float]) -> list[dict[str, float]]:
    """Return the histogram of durations (ms) in buckets of equal width on a logarithmic scale."""
    if not durations:
        return []
    places = [_bucket(duration) for duration in durations]
    first, last = min(places), max(places)
    filled = dict.fromkeys(range(first, last + 1), 0)
    for place in places:
        filled[place] += 1
    return [
        {"from": 10 ** (place / _PER_DECADE), "to": 10 ** ((place + 1) / _PER_DECADE), "count": count}
        for place, count in filled.items()
    ]


def thinned(points: Sequence[tuple[int, float]], most: int = 120) -> list[tuple[int, float]]:
    """Return at most ``most`` of the points: the mean of neighbours."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _bucket(duration: float) -> int:
    return math.floor(math.log10(max(duration, 0.001)) * _PER_DECADE)
