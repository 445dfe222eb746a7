"""W3C trace context: reading and writing ``traceparent`` and ``tracestate`` (spec 14)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX = frozenset("0123456789abcdef")


class TraceContext:
    """What an incoming carrier says of its trace."""

    __slots__ = ("parent_id", "sampled", "trace_id", "tracestate")

    def __init__(self, trace_id: str, parent_id: str, sampled: bool, tracestate: str) -> None:
        """:param trace_id: 32 hex. :param parent_id: 16 hex. :param tracestate: the joined header, or ``""``."""
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.tracestate = tracestate

    @property
    def sample_rate(self) -> float | None:
        """The ``s`` of the ``es`` entry, or None where there is none or it is no rate (spec 13)."""
        for entry in self.tracestate.split(","):
            vendor, _, values = entry.strip().partition("=")
            if vendor != "es":
                continue
            for item in values.split(";"):
                key, _, value = item.partition(":")
                if key == "s":
                    return _rate(value)
        return None


def _rate(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def parse(traceparents: Iterable[str], tracestates: Iterable[str] = ()) -> TraceContext | None:
    """Read a trace context.

    :param traceparents: every value of the header; more than one makes it invalid.
    :param tracestates: every value of ``tracestate``, joined with a comma; blank ones count for nothing.
    :returns: None where there is no valid ``traceparent``.
    """
    values = list(traceparents)
    if len(values) != 1:
        return None
    parts = values[0].strip(" \t").split("-")
    if len(parts) < 4:
        return None
    version, trace_id, parent_id, flags = parts[:4]
    if not (_hex(version, 2) and _hex(trace_id, 32) and _hex(parent_id, 16) and _hex(flags, 2)):
        return None
    if version == "ff" or (version == "00" and len(parts) > 4):
        return None
    if trace_id == "0" * 32 or parent_id == "0" * 16:
        return None
    state = ",".join(value.strip(" \t") for value in tracestates if value.strip(" \t,"))
    return TraceContext(trace_id, parent_id, int(flags, 16) & 1 == 1, state)


def _hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX.issuperset(text)


def traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """Format the header for an outgoing call (version 00)."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def root_tracestate(sample_rate: float) -> str:
    """The ``tracestate`` that a trace's root writes (spec 13, 14)."""
    return f"es=s:{sample_rate:.4g}"
