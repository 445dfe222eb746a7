"""Background jobs: what is sent to a queue, and the trace context on its way to the worker (spec 14, 17, 18.3)."""

from __future__ import annotations

from apm_run.model import FAILURE, SUCCESS, SpanDraft
from apm_run.propagation import BAGGAGE, TRACEPARENT, TRACESTATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.model import Carrier

_CARRIED = (TRACEPARENT, TRACESTATE, BAGGAGE)
#: The header of Elastic's own agent, which its workers read; by it we know what we have added ourselves.
_OFFICIAL, _PARENT, _ADDED = "elasticapm", "trace_parent_string", "added"

#: How a library calls its broker -> type and subtype of a span. A broker that is a database is one: no other type of
#: subtype ``messaging`` is known (spec 17).
_BROKERS = {
    "amqp": ("messaging", "rabbitmq"),
    "amqps": ("messaging", "rabbitmq"),
    "pyamqp": ("messaging", "rabbitmq"),
    "librabbitmq": ("messaging", "rabbitmq"),
    "kafka": ("messaging", "kafka"),
    "confluentkafka": ("messaging", "kafka"),
    "sqs": ("messaging", "sqs"),
    "azureservicebus": ("messaging", "azureservicebus"),
    "azurestoragequeues": ("messaging", "azurequeue"),
    "redis": ("db", "redis"),
    "rediss": ("db", "redis"),
    "sentinel": ("db", "redis"),
    "mongodb": ("db", "mongodb"),
}
_PORTS = {"rabbitmq": 5672, "redis": 6379, "mongodb": 27017}


def send(framework: str, queue: str, broker: object, address: object, port: object) -> SpanDraft:
    """The span of a job that is sent.

    :param broker: its kind, as the library calls it.
    """
    kind, subtype = _BROKERS.get(broker.lower(), ("custom", None)) if isinstance(broker, str) else ("custom", None)
    message = {"queue": {"name": queue}} if queue else {}
    draft = SpanDraft(f"{framework} SEND to {queue or '<default>'}", kind, subtype, "send", message=message)
    if isinstance(address, str) and address and subtype is not None:
        draft.address = address
        draft.port = port if type(port) is int else _PORTS.get(subtype)
    return draft


def run(name: str) -> SpanDraft:
    """The span of a job that is not sent, but run in the place of that."""
    return SpanDraft(name, "app", None, "task", exit=False)


def outcome(succeeded: bool) -> str:
    """That of a job by what its worker says of it: like a protocol's status, it counts before reported errors."""
    return SUCCESS if succeeded else FAILURE


def packed(headers: Mapping[str, Any] | None, add: Mapping[str, str]) -> dict[str, Any] | None:
    """A copy of a message's headers with the trace context; None where the program has put one in."""
    found = {} if headers is None else dict(headers)
    if TRACEPARENT in found or _OFFICIAL in found:
        return None
    added = {name: value for name, value in add.items() if name not in found}
    return {**found, **added, _OFFICIAL: {_PARENT: add[TRACEPARENT], _ADDED: list(added)}}


def unpacked(headers: Mapping[str, Any]) -> dict[str, Any] | None:
    """A copy of a received message's headers without what :func:`packed` has added; None where it has nothing."""
    official = headers.get(_OFFICIAL)
    if type(official) is not dict or official.get(_PARENT) != headers.get(TRACEPARENT) or _ADDED not in official:
        return None
    ours = {_OFFICIAL, *official[_ADDED]}
    return {name: value for name, value in headers.items() if name not in ours}


def carrier(headers: Mapping[Any, Any]) -> Carrier | None:
    """The trace context of a received message."""
    found = {name: [value] for name in _CARRIED if isinstance(value := headers.get(name), str)}
    if TRACEPARENT not in found:
        official = headers.get(_OFFICIAL)
        parent = official.get(_PARENT) if type(official) is dict else None
        if isinstance(parent, str):
            found[TRACEPARENT] = [parent]
    return found or None


def stored(fields: Mapping[Any, Any]) -> dict[str, str]:
    """The trace context that a job's record in a database has, whose fields may be bytes."""
    raw = {name: fields.get(name.encode(), fields.get(name)) for name in _CARRIED}
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in raw.items()
        if isinstance(value, (bytes, str))
    }
