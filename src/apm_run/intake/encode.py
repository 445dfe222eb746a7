"""Agent side of intake v2: ended things to ND-JSON lines (spec 2, 5-8). Called once per transaction."""

from __future__ import annotations

from apm_run.intake.context import of_event, of_span, otel, resource
from apm_run.intake.limits import MAX_EVENT_SIZE, TARGET
from apm_run.intake.plain import line, long, text
from apm_run.model import FAILURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Process = Callable[[str, dict[str, Any]], "dict[str, Any] | None"]

_LOG_KEYWORDS = ("param_message", "level", "logger_name")


def _fitting(
    kind: str,
    event: dict[str, Any],
    *lighter: Callable[[dict[str, Any]], dict[str, Any]],
    process: Process | None = None,
) -> bytes:
    """The line of an event, over the server's limit (spec 2) with one thing after the other left out.

    :param process: makes another event of it, or none at all: then there is no line.
    """
    if process is not None:
        processed = process(kind, event)
        if processed is None:
            return b""
        event = processed
    found = line(kind, event)
    for lighten in lighter:
        if len(found) <= MAX_EVENT_SIZE:
            break
        event = lighten(event)
        found = line(kind, event)
    return found


def _without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda event: {key: value for key, value in event.items() if key not in keys}


def transaction_line(ended: Any, spans: list[Any], process: Process | None = None) -> bytes:
    """The line of an ended transaction; a huge one goes without its context."""
    return _fitting("transaction", transaction(ended, spans), _without("context", "links"), process=process)


def open_line(running: Any, now: int, process: Process | None = None) -> bytes:
    """The line of a transaction that may never end, up to what :func:`open_end` says: a crash is a failure.

    :param now: of the tracer's clock.
    """
    event = transaction(running, [])
    event.update(outcome=FAILURE, duration=(now - running.start_ns) / 1e6)

    def unended(kind: str, event: dict[str, Any]) -> dict[str, Any] | None:
        found = event if process is None else process(kind, event)
        return found and _without("duration", "span_count")(found)

    return _fitting("transaction", event, _without("context", "links"), process=unended).removesuffix(b"}}\n")


def open_end(running: Any, now: int) -> bytes:
    """The rest of that line, if it has ended now.

    :param now: of the tracer's clock.
    """
    started = dropped = 0
    if running.sampled:
        started, dropped = sum(running.handed_over) + len(running.buffers), running.dropped()
    duration = (now - running.start_ns) / 1e6
    return b',"duration":%.3f,"span_count":{"started":%d,"dropped":%d}}}\n' % (duration, started, dropped)


def span_line(ended: Any, stacktrace: list[dict[str, Any]] | None = None, process: Process | None = None) -> bytes:
    """The line of an ended span; a huge one goes without its stack, then without its context."""
    return _fitting("span", span(ended, stacktrace), _without("stacktrace"), _without("context"), process=process)


def error_line(facts: dict[str, Any], process: Process | None = None) -> bytes:
    """The line of an error.

    A huge one goes without local variables, source lines, causes and context, at last without its stack.
    """
    lighter = (_varless, _sourceless, _causeless, _without("context"), _stackless)
    return _fitting("error", error(facts), *lighter, process=process)


def _frameless(event: dict[str, Any], *keys: str) -> dict[str, Any]:
    """An error whose frames, those of its causes included, go without some keys."""

    def bare(found: dict[str, Any]) -> dict[str, Any]:
        frames = [
            {key: value for key, value in frame.items() if key not in keys} for frame in found.get("stacktrace", ())
        ]
        return {**found, "stacktrace": frames, "cause": [bare(cause) for cause in found.get("cause", ())]}

    found = {**event}
    if "exception" in event:
        found["exception"] = bare(event["exception"])
    if "log" in event:
        found["log"] = {key: value for key, value in bare(event["log"]).items() if key != "cause"}
    return found


def _varless(event: dict[str, Any]) -> dict[str, Any]:
    return _frameless(event, "vars")


def _sourceless(event: dict[str, Any]) -> dict[str, Any]:
    return _frameless(event, "pre_context", "context_line", "post_context")


def _causeless(event: dict[str, Any]) -> dict[str, Any]:
    return _short(event, 50)


def _stackless(event: dict[str, Any]) -> dict[str, Any]:
    return _short(event, 0)


def _short(event: dict[str, Any], frames: int) -> dict[str, Any]:
    """An error of so many frames, without causes."""
    found = {**event}
    for key in ("exception", "log"):
        if key in event:
            stack = event[key].get("stacktrace", ())[:frames]
            found[key] = {name: value for name, value in event[key].items() if name != "cause"}
            found[key]["stacktrace"] = list(stack)
    return found


def transaction(transaction: Any, spans: list[Any]) -> dict[str, Any]:
    """The event of an ended transaction; unsampled ones carry neither context nor spans (spec 6)."""
    event: dict[str, Any] = {
        # These two come first: the outbox knows open transactions by their id, and the sender unsampled ones.
        "id": transaction.id,
        "sampled": transaction.sampled,
        "trace_id": transaction.trace_id,
        "name": text(transaction.name or ""),
        "type": text(transaction.type or "custom"),
        "timestamp": transaction.timestamp,
        "duration": _milliseconds(transaction),
        "outcome": transaction.outcome,
        "span_count": {"started": len(spans) + sum(transaction.handed_over), "dropped": transaction.dropped()},
    }
    if transaction.parent_id is not None:
        event["parent_id"] = transaction.parent_id
    if transaction.sample_rate is not None:
        event["sample_rate"] = transaction.sample_rate
    if transaction.result is not None:
        event["result"] = text(transaction.result)
    if transaction.links:
        event["links"] = transaction.links
    if transaction.sampled:
        if transaction.stats:
            event["dropped_spans_stats"] = _dropped(transaction.stats)
        event["context"] = _service(transaction, of_event(transaction.context, "transaction", transaction.settings))
        if transaction.attributes:
            event["otel"] = otel(transaction.attributes)
    else:
        event["span_count"] = {"started": 0, "dropped": 0}
    return event


def _dropped(stats: dict[tuple[str, str, str, str], list[int]]) -> list[dict[str, Any]]:
    """What is said of the exit spans that were not reported; nested, whatever the spec's example shows (spec 31.1)."""
    return [
        {
            "destination_service_resource": text(resource(span_type, kind, name)),
            "service_target_type": text(kind, TARGET),
            **({"service_target_name": text(name, TARGET)} if name else {}),
            "outcome": outcome,
            "duration": {"count": count, "sum": {"us": sum_ns // 1000}},
        }
        for (span_type, kind, name, outcome), (count, sum_ns) in list(stats.items())
    ]


def metricset_line(event: dict[str, Any], process: Process | None = None) -> bytes:
    """The line of a metricset, its names cut."""
    found = {**event}
    for key in ("transaction", "span"):
        if key in found:
            found[key] = {name: text(value) for name, value in found[key].items()}
    return _fitting("metricset", found, process=process)


def _service(transaction: Any, context: dict[str, Any]) -> dict[str, Any]:
    if transaction.framework is None:
        return context
    name, version = transaction.framework
    framework = {"name": text(name), **({"version": text(version)} if version else {})}
    return {**context, "service": {**context.get("service", {}), "framework": framework}}


def span(span: Any, stacktrace: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The event of an ended span, its service target inferred (spec 7, 19)."""
    draft = span.draft
    transaction = span.transaction
    event: dict[str, Any] = {
        "id": span.id,
        "trace_id": transaction.trace_id,
        "transaction_id": transaction.id,
        "parent_id": span.parent_id,
        "name": text(draft.name or "unnamed"),
        "type": text(draft.type or "custom"),
        "timestamp": span.timestamp,
        "duration": _milliseconds(span),
        "outcome": span.outcome,
        "sync": span.sync,
    }
    if transaction.sample_rate is not None:
        event["sample_rate"] = transaction.sample_rate
    if draft.subtype is not None:
        event["subtype"] = text(draft.subtype)
    if draft.action is not None:
        event["action"] = text(draft.action)
    context = of_span(draft, transaction.tracer.settings)
    service = transaction.context.get("service")
    if service:  # the user has said that the transaction is another service's
        context["service"] = {**service, **context.get("service", {})}
    if span.links:
        event["links"] = span.links
    if context:
        event["context"] = context
    if transaction.attributes or draft.attributes:
        event["otel"] = otel({**(transaction.attributes or {}), **(draft.attributes or {})})
    if stacktrace:
        event["stacktrace"] = stacktrace
    composite = span.composite
    if composite is not None:
        summed = round(composite.sum_ns / 1e6, 3)
        event["composite"] = {"count": composite.count, "sum": summed, "compression_strategy": composite.strategy}
    return event


def error(error: dict[str, Any]) -> dict[str, Any]:
    """The event of a captured error, its strings cut."""
    event = {key: value for key, value in error.items() if value is not None}
    attached = event.pop("attached", None)
    if attached:
        event["context"] = {**event["context"], "tags": {**attached, **event["context"].get("tags", {})}}
    if "culprit" in event:
        event["culprit"] = text(event["culprit"])
    if "transaction" in event:
        named = event["transaction"]
        event["transaction"] = {**named, "name": text(named["name"] or ""), "type": text(named["type"] or "custom")}
    if "context" in event:
        event["context"] = of_event(event["context"], "error")
    if "exception" in event:
        event["exception"] = _exception(event["exception"])
    if "log" in event:
        event["log"] = _log(event["log"])
    return event


def _log(found: dict[str, Any]) -> dict[str, Any]:
    event = {key: text(value) if key in _LOG_KEYWORDS else value for key, value in found.items()}
    event["message"] = long(found["message"])
    return event


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    event = {
        **found,
        "type": text(found["type"]),
        "module": text(found["module"]),
        "message": long(found["message"]),
    }
    if "cause" in found:
        event["cause"] = [_exception(cause) for cause in found["cause"]]
    return event


def _milliseconds(timed: Any) -> float:
    duration: float = round((timed.end_ns - timed.start_ns) / 1e6, 3)
    return duration
