"""Span compression: many like spans in a row become one (spec 20.3)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.config import Settings
    from apm_run.tracer.span import Span

EXACT, SAME_KIND = "exact_match", "same_kind"


class Composite:
    """What a span stands for that has absorbed others.

    :ivar count: how many, itself included. :ivar sum_ns: their durations added up.
    """

    __slots__ = ("count", "strategy", "sum_ns")

    def __init__(self, strategy: str, sum_ns: int) -> None:
        self.strategy = strategy
        self.count = 1
        self.sum_ns = sum_ns


def absorb(held: Span, span: Span, settings: Settings) -> bool:
    """Make a span part of the one that ended before it below the same parent, if they are alike.

    Both are exit spans that have not failed, and whose context was not propagated.
    """
    first, draft = held.draft, span.draft
    composite = held.composite
    same = first is draft or first.name == draft.name
    exact = same if composite is None else composite.strategy == EXACT
    if exact:
        limit_ns = settings.span_compression_exact_match_max_duration * 1_000_000
    else:
        limit_ns = settings.span_compression_same_kind_max_duration * 1_000_000
    duration = span.end_ns - span.start_ns
    if not limit_ns or duration > limit_ns or span.start_ns < held.end_ns:  # too long, or not one after the other
        return False
    if first is not draft and ((exact and not same) or not first.alike(draft)):
        return False
    if composite is None:
        before = held.end_ns - held.start_ns
        if before > limit_ns:
            return False
        composite = held.composite = Composite(EXACT if exact else SAME_KIND, before)
        if not exact:
            held.draft = first.copy()
            held.draft.name = f"Calls to {'/'.join(filter(None, first.target())) or 'unknown'}"
    composite.count += 1
    composite.sum_ns += duration
    held.end_ns = span.end_ns
    return True
