"""Agent side of intake v2: ended things to ND-JSON lines (spec 2, 5-8). Called once per transaction."""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder

from apm_run.intake.limits import KEYWORD, LONG, MAX_EVENT_SIZE, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_json: Callable[[Any, int], tuple[str, ...]] = make_encoder(
    None, str, encode_basestring_ascii, None, ":", ",", False, True, False
)


def line(kind: str, event: dict[str, Any]) -> bytes:
    """One ND-JSON line.

    :param kind: the root key: ``transaction``, ``span``, ``error``, ``metricset``, ``log``, ``metadata``.
    :raises ValueError: where the event holds NaN or an infinity, which JSON has no word for.
    """
    return f'{{"{kind}":{"".join(_json(event, 0))}}}\n'.encode("ascii")


def transaction(transaction: Any, spans: list[Any]) -> dict[str, Any]:
    """The event of an ended transaction; unsampled ones carry neither context nor spans (spec 6)."""
    event: dict[str, Any] = {
        "id": transaction.id,
        "trace_id": transaction.trace_id,
        "name": cut(transaction.name),
        "type": cut(transaction.type) or "custom",
        "timestamp": transaction.timestamp,
        "duration": _milliseconds(transaction),
        "outcome": transaction.outcome,
        "sampled": transaction.sampled,
        "span_count": {"started": len(spans), "dropped": transaction.dropped()},
    }
    if transaction.parent_id is not None:
        event["parent_id"] = transaction.parent_id
    if transaction.sample_rate is not None:
        event["sample_rate"] = transaction.sample_rate
    if transaction.result is not None:
        event["result"] = cut(transaction.result)
    if transaction.links:
        event["links"] = transaction.links
    if transaction.sampled:
        event["context"] = _service(transaction, transaction.context)
    else:
        event["span_count"] = {"started": 0, "dropped": 0}
    return event


def span(span: Any, stacktrace: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The event of an ended span, its service target inferred (spec 7, 19)."""
    draft = span.draft
    transaction = span.transaction
    event: dict[str, Any] = {
        "id": span.id,
        "trace_id": transaction.trace_id,
        "transaction_id": transaction.id,
        "parent_id": span.parent_id,
        "name": cut(draft.name) or "unnamed",
        "type": cut(draft.type) or "custom",
        "timestamp": span.timestamp,
        "duration": _milliseconds(span),
        "outcome": span.outcome,
        "sync": span.sync,
    }
    if transaction.sample_rate is not None:
        event["sample_rate"] = transaction.sample_rate
    if draft.subtype is not None:
        event["subtype"] = cut(draft.subtype)
    if draft.action is not None:
        event["action"] = cut(draft.action)
    context = _span_context(draft)
    if context:
        event["context"] = context
    if stacktrace:
        event["stacktrace"] = stacktrace
    return event


def _span_context(draft: Any) -> dict[str, Any]:
    context: dict[str, Any] = dict(draft.context) if draft.context else {}
    if draft.db is not None:
        context["db"] = {key: _db_value(key, value) for key, value in draft.db.items() if value is not None}
    if draft.http is not None:
        context["http"] = _http(draft.http)
    destination: dict[str, Any] = {}
    if draft.address:
        destination["address"] = cut(draft.address)
        if isinstance(draft.port, int) and draft.port > 0:
            destination["port"] = draft.port
    if draft.exit:
        kind, name = target(draft)
        context["service"] = {"target": {"type": kind, **({"name": cut(name)} if name else {})}}
        destination["service"] = {"resource": cut(resource(draft.type, kind, name)), "name": "", "type": ""}
    if destination:
        context["destination"] = destination
    return context


def target(draft: Any) -> tuple[str, str | None]:
    """Type and name of the service target of an exit span (spec 19); what was set explicitly wins."""
    kind = draft.target_type or draft.subtype or draft.type
    if draft.target_name is not None:
        return kind, draft.target_name
    if draft.db is not None:
        return kind, draft.db.get("instance")
    message = (draft.context or {}).get("message")
    if message is not None:
        return kind, (message.get("queue") or {}).get("name")
    if draft.http is not None:
        return kind, draft.http.get("host")
    return kind, None


def resource(span_type: str, kind: str, name: str | None) -> str:
    """``destination.service.resource``, deprecated and still read by older servers (spec 19)."""
    if not name:
        return kind
    return name if span_type == "external" else f"{kind}/{name}"


def _http(http: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if http.get("url"):
        found["url"] = http["url"]
    if http.get("method"):
        found["method"] = cut(http["method"])
    status = http.get("status_code")
    if isinstance(status, int):
        # Both: the server's fallback for the outcome and Kibana still read the deprecated one (spec 31.15).
        found["status_code"] = int(status)
        found["response"] = {"status_code": int(status)}
    return found


def _db_value(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return cut(value, LONG if key == "statement" else KEYWORD)


def error(error: dict[str, Any]) -> dict[str, Any]:
    """The event of a captured error, its strings cut."""
    event = {key: value for key, value in error.items() if value is not None}
    if "culprit" in event:
        event["culprit"] = cut(event["culprit"])
    if "transaction" in event:
        named = event["transaction"]
        event["transaction"] = {**named, "name": cut(named["name"]), "type": cut(named["type"])}
    if "exception" in event:
        event["exception"] = _exception(event["exception"])
    return event


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    event = {
        **found,
        "type": cut(found["type"]),
        "module": cut(found["module"]),
        "message": cut(found["message"], LONG),
    }
    if "cause" in found:
        event["cause"] = [_exception(cause) for cause in found["cause"]]
    return event


def error_line(facts: dict[str, Any]) -> bytes:
    """The line of an error; over the server's limit it goes without its source lines, then without its causes."""
    event = error(facts)
    found = line("error", event)
    if len(found) <= MAX_EVENT_SIZE:
        return found
    exception = {key: value for key, value in event["exception"].items() if key not in ("cause", "stacktrace")}
    exception["stacktrace"] = [
        {key: value for key, value in frame.items() if not key.endswith(("context", "_line"))}
        for frame in event["exception"].get("stacktrace", ())[:50]
    ]
    return line("error", {**event, "exception": exception})


def _milliseconds(timed: Any) -> float:
    duration: float = round((timed.end_ns - timed.start_ns) / 1e6, 3)
    return duration


def _service(transaction: Any, context: dict[str, Any]) -> dict[str, Any]:
    if transaction.framework is None:
        return context
    name, version = transaction.framework
    framework = {"name": cut(name), **({"version": cut(version)} if version else {})}
    return {**context, "service": {**context.get("service", {}), "framework": framework}}
