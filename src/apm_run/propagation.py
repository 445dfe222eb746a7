"""W3C trace context and baggage: reading and writing their headers (spec 14, 15)."""

from __future__ import annotations

from itertools import islice

from apm_run.config.percent import unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The headers that are read; of several values of one the carrier holds all.
TRACEPARENT, TRACESTATE, LEGACY, BAGGAGE = "traceparent", "tracestate", "elastic-apm-traceparent", "baggage"
CARRIED = (TRACEPARENT, TRACESTATE, LEGACY, BAGGAGE)

#: Characters of a header that are passed on; of baggage as many bytes have to be, and as many members.
_ROOM = 8192
_MEMBERS = 64
#: Messages of a batch that are looked at.
_MESSAGES = 1000
#: Characters of our own entry in ``tracestate``.
_ES = 256

_HEX = frozenset("0123456789abcdef")
_LETTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TOKEN = _LETTERS | frozenset("!#$%&'*+-.^_`|~")
#: What a value of baggage is made of: printable ASCII without space, quote, comma, semicolon and backslash.
_OCTETS = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('",;\\')
#: Those that stand for themselves where a value is percent-encoded.
_PLAIN = _OCTETS - {"%"}
_BLANK = " \t"


class TraceContext:
    """What an incoming carrier says of its trace."""

    __slots__ = ("own", "parent_id", "sampled", "trace_id", "tracestate")

    def __init__(self, trace_id: str, parent_id: str, sampled: bool, tracestate: str, own: bool = False) -> None:
        """Say which transaction or span is the parent.

        :param trace_id: 32 hex. :param parent_id: 16 hex. :param tracestate: the joined header, or ``""``.
        :param own: it comes from this very program, and is continued whatever ``trace_continuation_strategy`` says.
        """
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.tracestate = tracestate
        self.own = own

    def restarted(self, strategy: str) -> bool:
        """Whether what it says is only linked to, by ``trace_continuation_strategy`` (spec 16).

        What an agent of Elastic's has begun is not external: its ``tracestate`` has an entry ``es``.
        """
        if self.own or strategy == "continue":
            return False
        return strategy == "restart" or _es(self.tracestate) is None

    @property
    def sample_rate(self) -> float | None:
        """The ``s`` of the ``es`` entry, or None where there is none or it is no rate (spec 13)."""
        values = _es(self.tracestate)
        if values is None or len(values) > _ES or "=" in values:
            return None
        for item in values.split(";"):
            key, _, value = item.partition(":")
            if key == "s":
                return _rate(value)
        return None


def _es(tracestate: str) -> str | None:
    """What the agents of Elastic's say in it; None where none does."""
    if "es=" not in tracestate:
        return None
    entries = [entry.strip(_BLANK) for entry in tracestate.split(",")]
    found = [entry[3:] for entry in entries if entry.startswith("es=")]
    return ";".join(found) if found else None


def _rate(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # float() would take other digits too
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def incoming(carrier: Mapping[str, list[str]]) -> tuple[TraceContext | None, dict[str, str]]:
    """The trace context and the baggage that came with a request or a message.

    :param carrier: every value of each header of :data:`CARRIED`, by its name in lower case.
    """
    values = carrier.get(TRACEPARENT) or carrier.get(LEGACY)
    context = parse(values, carrier.get(TRACESTATE, ())) if values else None
    found = carrier.get(BAGGAGE)
    return context, baggage(found) if found else {}


def links(carriers: Iterable[Mapping[str, list[str]]]) -> list[dict[str, str]]:
    """What an event says of the places in traces that it has to do with; of a batch the first messages (spec 16)."""
    found = []
    for carrier in islice(carriers, _MESSAGES):
        context, _ = incoming(carrier)
        if context is not None:
            found.append({"trace_id": context.trace_id, "span_id": context.parent_id})
    return found


def parse(traceparents: Iterable[str], tracestates: Iterable[str] = ()) -> TraceContext | None:
    """Read a trace context.

    :param traceparents: every value of the header; more than one makes it invalid.
    :param tracestates: every value of ``tracestate``, joined with a comma; blank ones count for nothing.
    :returns: None where there is no valid ``traceparent``.
    """
    values = list(traceparents)
    if len(values) != 1 or "," in values[0]:  # some servers join what comes several times
        return None
    parts = values[0].strip(_BLANK).split("-")
    if len(parts) < 4:
        return None
    version, trace_id, parent_id, flags = parts[:4]
    if not (_hex(version, 2) and _hex(trace_id, 32) and _hex(parent_id, 16) and _hex(flags, 2)):
        return None
    if version == "ff" or (version == "00" and len(parts) > 4):
        return None
    if trace_id == "0" * 32 or parent_id == "0" * 16:
        return None
    return TraceContext(trace_id, parent_id, int(flags, 16) & 1 == 1, _state(tracestates))


def _hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX.issuperset(text)


def _state(values: Iterable[str]) -> str:
    """The joined ``tracestate``, whose entries are not ours to judge (spec 14), as far as it fits into a header."""
    entries = [entry for value in values for entry in value.strip(_BLANK).split(",") if entry.strip(_BLANK)]
    found = ",".join(entries)
    if not (found.isascii() and found.replace("\t", " ").isprintable()):  # no client could send it
        return ""
    return found if len(found) <= _ROOM else found[: max(0, found.rfind(",", 0, _ROOM + 1))]


def traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    """Format the header for an outgoing call (version 00)."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


#: Sample rates -> that; few are ever set.
_roots: dict[float, str] = {}
_RATES = 16


def root_tracestate(sample_rate: float) -> str:
    """The ``tracestate`` that a trace's root writes (spec 13, 14)."""
    found = _roots.get(sample_rate)
    if found is None:
        if len(_roots) > _RATES:
            _roots.clear()
        found = _roots[sample_rate] = f"es=s:{sample_rate:.4g}"
    return found


def baggage(values: Iterable[str]) -> dict[str, str]:
    """Read W3C baggage: the members that are valid, their value as it came with its properties, by their key.

    :param values: every value of the header.
    """
    found: dict[str, str] = {}
    room = _ROOM + 1
    for member in ",".join(values).split(","):
        key, equals, rest = member.partition("=")
        key = key.strip(_BLANK)
        parts = [part.strip(_BLANK) for part in rest.split(";")]
        if not (equals and _token(key) and _OCTETS.issuperset(parts[0]) and all(map(_property, parts[1:]))):
            continue
        text = ";".join(parts)
        size = len(key) + len(text) + 2  # with its "=" and its comma
        if size <= room and len(found) < _MEMBERS:
            room -= size
            found[key] = text
    return found


def _token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


def _property(text: str) -> bool:
    key, _, value = text.partition("=")
    return _token(key.rstrip(_BLANK)) and _OCTETS.issuperset(value.lstrip(_BLANK))


def members(found: Mapping[str, str], own: Iterable[str] = ()) -> str:
    """Baggage as a header.

    :param own: values of the header that the program has put on the request: theirs win, and are not repeated here.
    """
    if not own:
        return ",".join([f"{key}={value}" for key, value in found.items()])
    text = ",".join(own)
    theirs = baggage([text])
    room = _ROOM - len(text)
    kept = []
    for key, member in found.items():
        size = len(key) + len(member) + 2
        if key not in theirs and size <= room:
            room -= size
            kept.append(f"{key}={member}")
    return ",".join(kept)


def value(member: str) -> str:
    """The value of a member of baggage, decoded and without its properties."""
    return unquoted(member.partition(";")[0]).decode("utf-8", "replace")


def with_member(found: Mapping[str, str], key: str, value: str | None) -> dict[str, str] | None:
    """Baggage with one member added, changed, or with None removed; None where that is not possible.

    Its key has to be a token, and all of it to fit into the header.
    """
    kept = {name: member for name, member in found.items() if name != key}
    if value is None:
        return kept
    octets = value.encode("utf-8", "replace")
    text = "".join([chr(octet) if chr(octet) in _PLAIN else f"%{octet:02X}" for octet in octets])
    more = baggage([members({**kept, key: text})])
    return more if len(more) == len(kept) + 1 and more.get(key) == text else None
