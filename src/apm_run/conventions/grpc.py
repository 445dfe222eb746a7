"""gRPC calls, asked for and answered: their names, where they lead, their status, and trace context in metadata.

(spec 12, 14, 18.4)
"""

from __future__ import annotations

from apm_run.conventions.framework import version
from apm_run.model import FAILURE, SUCCESS, SpanDraft, TransactionDraft
from apm_run.propagation import BAGGAGE, CARRIED, LEGACY, TRACEPARENT, TRACESTATE, baggage, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    #: Name of the service target, and address and port where one is known.
    Endpoint = tuple["str | None", "str | None", "int | None"]

OK, CANCELLED, UNKNOWN = "OK", "CANCELLED", "UNKNOWN"
#: The names of the status codes, by their numbers.
CODES = (
    OK, CANCELLED, UNKNOWN, "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
#: Those by which a server has failed; the others are the client's affair.
_FAILED = frozenset((
    UNKNOWN, "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS",
))  # fmt: skip

#: Schemes whose rest is the address of a host, or a list of such.
_NETWORK = ("dns", "ipv4", "ipv6")
#: Others that need no slashes behind the colon.
_LOCAL = ("unix", "unix-abstract", "vsock")
#: Where a target names none.
_PORT = 443
_NOWHERE: Endpoint = (None, None, None)


def call(method: object, endpoint: Endpoint | None) -> SpanDraft:
    """The span of a call.

    :param method: its full name. :param endpoint: where the channel leads; None: that is not known.
    """
    target, address, port = endpoint or _NOWHERE
    draft = SpanDraft(_text(method), "external", "grpc", address=address, port=port)
    draft.target_name = target
    return draft


def request(method: object, metadata: Iterable[tuple[str, Any]]) -> TransactionDraft:
    """The transaction of a call that this process answers."""
    carrier: dict[str, list[str]] = {}
    for key, value in metadata:
        if key in CARRIED:
            carrier.setdefault(key, []).append(_text(value))
    return TransactionDraft(_text(method), "request", carrier=carrier, framework=("grpc", version("grpc")))


def status(code: object) -> str:
    """The name of a status code as programs set them: one of the library's, or its number; None: none was set."""
    if code is None:
        return OK
    if isinstance(code, int):
        return CODES[code] if 0 <= code < len(CODES) else UNKNOWN
    name = getattr(code, "name", None)
    return name if name in CODES else UNKNOWN


def answer(draft: TransactionDraft, name: str) -> None:
    """Say by its status how a call was answered."""
    draft.result = name
    draft.outcome = FAILURE if name in _FAILED else SUCCESS


def endpoint(target: object) -> Endpoint:
    """Where a channel leads that was made for a target (gRPC's naming: ``dns:///host:port`` and many others)."""
    text = _text(target)
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _NETWORK:
        if rest.startswith("//"):  # the authority is the name server's
            rest = rest[2:].partition("/")[2]
        text = rest.lstrip("/")
    elif scheme in _LOCAL or "://" in text:
        return text, None, None
    if "," in text:  # one of several
        return text, None, None
    host, port = _split(text.replace("%5B", "[").replace("%5D", "]"))
    if port is None or not host:
        return text or None, host or None, None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host, port


def _split(text: str) -> tuple[str, int | None]:
    """The host without brackets, and the port; None where it is no number."""
    host, bracket, port = text.partition("]")
    if bracket and host[:1] == "[":
        host, port = host[1:], port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not port:
        return host, _PORT
    return host, int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else None


def with_metadata(metadata: Any, add: Mapping[str, str]) -> Any | None:
    """The metadata of a call with trace context, as an object of the same type; the program's stays untouched.

    :param metadata: None, a tuple or list of pairs, or a ``grpc.aio.Metadata``.
    :param add: as the tracer gives it.
    :returns: None where nothing is to be changed: all is there, or it is of another type.
    """
    if metadata is None:
        return (*add.items(), (LEGACY, add[TRACEPARENT]))
    kind = type(metadata)
    ours = kind.__module__ == "grpc.aio._metadata"
    if not ours and not isinstance(metadata, (tuple, list)):
        return None
    lack = _lack(metadata, add)
    if not lack:
        return None
    if ours:
        return kind(*metadata, *lack)
    return [*metadata, *lack] if isinstance(metadata, list) else (*metadata, *lack)


def _lack(metadata: Iterable[Any], add: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs to add: what the program has put there itself stays, and with another parent our state is not its."""
    found = {**add, LEGACY: add[TRACEPARENT]}
    own = []
    for pair in metadata:
        key = pair[0] if isinstance(pair, (tuple, list)) and len(pair) == 2 else None
        if key in (TRACEPARENT, LEGACY):
            for name in (TRACEPARENT, TRACESTATE, LEGACY):
                found.pop(name, None)
        elif key == TRACESTATE:
            found.pop(TRACESTATE, None)
        elif key == BAGGAGE:
            own.append(_text(pair[1]))
    if own and BAGGAGE in found:
        found[BAGGAGE] = members(baggage([found[BAGGAGE]]), own)
    return [(name, value) for name, value in found.items() if value]


def _text(value: object) -> str:
    """A text, given as one or as bytes; "" for what is neither."""
    if isinstance(value, bytes):
        return bytes.decode(value, "utf-8", "replace")
    return str.__str__(value) if isinstance(value, str) else ""
