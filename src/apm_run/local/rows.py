"""What the store keeps of an event beside its text: the columns the page groups, sorts and links by."""

from __future__ import annotations

import hashlib
from time import time_ns
from typing import Any, Union

from apm_run.intake.decode import Event
from apm_run.intake.validate import micros

Value = Union[str, int, float, None]
Row = dict[str, Value]

# Bounds that keep sums finite: 30 000 years of milliseconds, and what a million metric values may be.
_LONGEST = 1e15
_LARGEST = 1e300


def row(event: Event) -> tuple[str, Row]:
    """Return the table of an event and its columns, ``raw`` and the metadata excepted."""
    table, columns = _TABLES[event.kind]
    values: Row = {"service": service_name(event), **columns(event.body)}
    return table, {name: _clean(value) for name, value in values.items()}


def service_name(event: Event) -> str:
    """Return the service an event belongs to: its own override, else the one of the request's metadata."""
    body = event.body
    if event.kind == "metricset":
        own = _path(body, "service", "name")
    elif event.kind == "log":
        own = _ecs(body, "service.name")
    else:
        own = _path(body, "context", "service", "name")
    return str(own or event.metadata["service"]["name"])


def outcome(transaction: dict[str, Any]) -> str:
    """Return the outcome of a transaction, the server's assumption where the agent sent none."""
    return transaction.get("outcome") or _by_status(_path(transaction, "context", "response", "status_code"), 500)


def samples(body: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Return (name, labels, value) of each sample of a metricset; a histogram counts as its weighted mean."""
    labels = ", ".join(f"{key}={value}" for key, value in sorted((body.get("tags") or {}).items()))
    for reference in ("transaction", "span"):
        parts = [str(part) for part in (body.get(reference) or {}).values() if part]
        if parts:
            labels = ", ".join(filter(None, (labels, f"{reference}={'/'.join(parts)}")))
    found = []
    for name, sample in body["samples"].items():
        value = sample.get("value")
        if value is None:
            weights = list(zip(sample["values"], sample["counts"]))
            total = sum(count or 0 for _, count in weights)
            value = sum((each or 0) * (count or 0) for each, count in weights) / total if total else 0.0
        found.append((str(_clean(name)), str(_clean(labels)), max(-_LARGEST, min(float(value), _LARGEST))))
    return found


def _transaction(body: dict[str, Any]) -> Row:
    return {
        "trace_id": body["trace_id"],
        "event_id": body["id"],
        "parent_id": body.get("parent_id"),
        "name": body.get("name") or "unnamed",
        "type": body["type"] or "unknown",
        "result": body.get("result"),
        "outcome": outcome(body),
        "ts": _timestamp(body.get("timestamp")),
        "duration": min(body["duration"], _LONGEST),
        "sampled": int(body.get("sampled") is not False),
        "dropped": _path(body, "span_count", "dropped") or 0,
    }


def _span(body: dict[str, Any]) -> Row:
    target = _path(body, "context", "service", "target") or {}
    resource = _path(body, "context", "destination", "service", "resource")
    type_, subtype, action = body["type"], body.get("subtype"), body.get("action")
    if not subtype and not action and "." in type_:
        # The server splits a dotted type when nothing else is given (spec.md section 7).
        type_, subtype, action = (*type_.split(".", 2), None)[:3]
    return {
        "trace_id": body["trace_id"],
        "event_id": body["id"],
        "parent_id": body["parent_id"],
        "transaction_id": body.get("transaction_id"),
        "name": body["name"] or "unnamed",
        "type": type_ or "custom",
        "subtype": subtype,
        "action": action,
        "outcome": body.get("outcome") or _by_status(_path(body, "context", "http", "status_code"), 400),
        "ts": _timestamp(body["timestamp"]) if body.get("timestamp") is not None else None,
        "start": None if body.get("start") is None else max(-_LONGEST, min(body["start"], _LONGEST)),
        "duration": min(body["duration"], _LONGEST),
        "sync": None if body.get("sync") is None else int(body["sync"]),
        "calls": _path(body, "composite", "count") or 1,
        "target": _target(target.get("type"), target.get("name")) or resource,
    }


def _error(body: dict[str, Any]) -> Row:
    exception, log = body.get("exception") or {}, body.get("log") or {}
    return {
        "trace_id": body.get("trace_id"),
        "event_id": body["id"],
        "parent_id": body.get("parent_id"),
        "transaction_id": body.get("transaction_id"),
        "transaction_name": _path(body, "transaction", "name"),
        "ts": _timestamp(body.get("timestamp")),
        "type": exception.get("type"),
        "message": exception.get("message") or log.get("message"),
        "culprit": body.get("culprit"),
        "handled": None if exception.get("handled") is None else int(exception["handled"]),
        "grouping": grouping_key(exception, log),
    }


def _metricset(body: dict[str, Any]) -> Row:
    return {"trace_id": None, "ts": _timestamp(body.get("timestamp"))}


def _log(body: dict[str, Any]) -> Row:
    return {
        "trace_id": _ecs(body, "trace.id"),
        "transaction_id": _ecs(body, "transaction.id"),
        "span_id": _ecs(body, "span.id"),
        "ts": _timestamp(body.get("@timestamp")),
        "level": _ecs(body, "log.level"),
        "logger": _ecs(body, "log.logger"),
        "message": body.get("message"),
    }


_TABLES = {
    "transaction": ("transactions", _transaction),
    "span": ("spans", _span),
    "error": ("errors", _error),
    "metricset": ("metricsets", _metricset),
    "log": ("logs", _log),
}


def grouping_key(exception: dict[str, Any], log: dict[str, Any]) -> str:
    """Return the key that errors of one kind share, by the server's rules (spec.md section 8)."""
    parts: list[str] = []
    frames: list[dict[str, Any]] = []
    pending = [exception] if exception else []
    while pending:
        current = pending.pop(0)
        parts.append(current.get("type") or "")
        frames.extend(current.get("stacktrace") or ())
        pending.extend(current.get("cause") or ())
    parts.append(log.get("param_message") or "")
    frames.extend(log.get("stacktrace") or ())
    for frame in frames:
        place = frame.get("module") or frame.get("filename") or frame.get("classname") or ""
        parts.append(f"{place}:{frame.get('function') or ''}")
    if not any(parts):
        parts.append(exception.get("message") or log.get("message") or "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _target(type_: str | None, name: str | None) -> str | None:
    return "/".join(part for part in (type_, name) if part) or None


def _by_status(status: int | None, failing: int) -> str:
    """Return the outcome the server assumes when an agent sends none (spec.md section 12)."""
    if status is None:
        return "unknown"
    return "failure" if status >= failing else "success"


def _timestamp(value: object) -> int:
    known = micros(value)
    return time_ns() // 1000 if known is None else known


def _path(body: dict[str, Any], *keys: str) -> Any:
    value: Any = body
    for key in keys:
        value = (value or {}).get(key)
    return value


def _ecs(body: dict[str, Any], name: str) -> str | None:
    """Return a field of an ECS log record, nested or dotted; the nested form wins."""
    value: Any = body
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    found = value if isinstance(value, str) else body.get(name)
    return found if isinstance(found, str) else None


def _clean(value: Value) -> Value:
    """Replace lone surrogates, which JSON may carry and SQLite cannot store."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
