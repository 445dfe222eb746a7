"""Agent side of intake v2: ended things to ND-JSON lines (spec 2, 5-8). Called once per transaction."""

from __future__ import annotations

from apm_run.intake.context import of_event, of_span, otel, resource
from apm_run.intake.limits import MAX_EVENT_SIZE, TARGET
from apm_run.intake.plain import dumped, line, long, parsed, quoted, text
from apm_run.model import FAILURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Process = Callable[[str, dict[str, Any]], "dict[str, Any] | None"]
    Lighter = Callable[[dict[str, Any]], dict[str, Any]]

_LOG_KEYWORDS = ("param_message", "level", "logger_name")


def _line(kind: str, body: str, *lighter: Lighter, process: Process | None = None) -> bytes:
    """The line of an event that is JSON already, as :func:`_fitting` has it."""
    if process is None:
        found = f'{{"{kind}":{body}}}\n'.encode("utf-8", "replace")
        if len(found) <= MAX_EVENT_SIZE:
            return found
    return _fitting(kind, parsed(body), *lighter, process=process)


def _fitting(kind: str, event: dict[str, Any], *lighter: Lighter, process: Process | None = None) -> bytes:
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


def _without(*keys: str) -> Lighter:
    return lambda event: {key: value for key, value in event.items() if key not in keys}


def transaction_line(ended: Any, spans: list[Any], process: Process | None = None) -> bytes:
    """The line of an ended transaction; a huge one goes without its context."""
    body = _transaction(ended, ended.outcome) + _end(ended, ended.end_ns, len(spans))
    return _line("transaction", body, *_LIGHTER_TRANSACTION, process=process)


def open_line(running: Any, now: int, process: Process | None = None) -> bytes:
    """The line of a transaction that may never end, up to what :func:`open_end` says: a crash is a failure.

    :param now: of the tracer's clock.
    """

    def unended(kind: str, event: dict[str, Any]) -> dict[str, Any] | None:
        found = event if process is None else process(kind, event)
        return found and _without("duration", "span_count")(found)

    body = _transaction(running, FAILURE) + _end(running, now, 0)
    return _line("transaction", body, *_LIGHTER_TRANSACTION, process=unended).removesuffix(b"}}\n")


def open_end(running: Any, now: int) -> bytes:
    """The rest of that line, if it has ended now.

    :param now: of the tracer's clock.
    """
    return f"{_end(running, now, len(running.buffers))}}}\n".encode()


def _end(transaction: Any, end_ns: int, spans: int) -> str:
    """The end of a transaction's event; unsampled ones have no spans.

    :param spans: so many are reported besides those that were handed over before.
    """
    started = dropped = 0
    if transaction.sampled:
        started, dropped = spans + sum(transaction.handed_over), transaction.dropped()
    duration = (end_ns - transaction.start_ns) / 1e6
    return f',"duration":{duration:.3f},"span_count":{{"started":{started},"dropped":{dropped}}}}}'


def span_line(ended: Any, stacktrace: list[dict[str, Any]] | None = None, process: Process | None = None) -> bytes:
    """The line of an ended span; a huge one goes without its stack, then without its context."""
    return _line("span", _span(ended, stacktrace), *_LIGHTER_SPAN, process=process)


_LIGHTER_TRANSACTION = (_without("context", "links"),)
_LIGHTER_SPAN = (_without("stacktrace"), _without("context"))


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


def _transaction(transaction: Any, outcome: str) -> str:
    """The event of a transaction, up to its end; unsampled ones carry no context (spec 6)."""
    sampled = transaction.sampled
    found = (
        # These two come first: the outbox knows open transactions by their id, and the sender unsampled ones.
        f'{{"id":"{transaction.id}","sampled":{"true" if sampled else "false"},"trace_id":"{transaction.trace_id}"'
        f',"name":{quoted(transaction.name or "")},"type":{quoted(transaction.type or "custom")}'
        f',"timestamp":{transaction.timestamp},"outcome":"{outcome}"'
    )
    if transaction.parent_id is not None:
        found += f',"parent_id":"{transaction.parent_id}"'
    if transaction.sample_rate is not None:
        found += f',"sample_rate":{transaction.sample_rate}'
    if transaction.result is not None:
        found += f',"result":{quoted(transaction.result)}'
    if transaction.links:
        found += f',"links":{dumped(transaction.links)}'
    if sampled:
        if transaction.stats:
            found += f',"dropped_spans_stats":{dumped(_dropped(transaction.stats))}'
        context = of_event(transaction.context, "transaction", transaction.settings)
        if transaction.framework is not None:
            context["service"] = {**context.get("service", {}), "framework": _framework(*transaction.framework)}
        found += f',"context":{dumped(context)}'
        if transaction.attributes:
            found += f',"otel":{dumped(otel(transaction.attributes))}'
    return found


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


def _framework(name: str, version: str) -> dict[str, str]:
    return {"name": text(name), **({"version": text(version)} if version else {})}


def _span(span: Any, stacktrace: list[dict[str, Any]] | None) -> str:
    """The event of an ended span (spec 7)."""
    draft = span.draft
    transaction = span.transaction
    found = (
        f'{{"id":"{span.id}","trace_id":"{transaction.trace_id}","transaction_id":"{transaction.id}"'
        f',"parent_id":"{span.parent.id}","timestamp":{span.timestamp}'
        f',"duration":{(span.end_ns - span.start_ns) / 1e6:.3f},"outcome":"{span.outcome}"'
        f',"sync":{"true" if span.sync else "false"}{_drafted(draft, transaction)}'
    )
    if transaction.sample_rate is not None:
        found += f',"sample_rate":{transaction.sample_rate}'
    if span.links:
        found += f',"links":{dumped(span.links)}'
    if transaction.attributes or draft.attributes:
        found += f',"otel":{dumped(otel({**(transaction.attributes or {}), **(draft.attributes or {})}))}'
    if stacktrace:
        found += f',"stacktrace":{dumped(stacktrace)}'
    composite = span.composite
    if composite is not None:
        strategy, summed = composite.strategy, composite.sum_ns / 1e6
        found += f',"composite":{{"count":{composite.count},"sum":{summed:.3f},"compression_strategy":"{strategy}"}}'
    return found + "}"


def _drafted(draft: Any, transaction: Any) -> str:
    """The members of a span's event that follow from its draft; those of a shared one are made once."""
    settings = transaction.tracer.settings
    service = transaction.context.get("service")  # the user has said that the transaction is another service's
    shared = draft.encoded
    if shared is not None and shared[0] is settings and service is None:
        made: str = shared[1]
        return made
    found = f',"name":{quoted(draft.name or "unnamed")},"type":{quoted(draft.type or "custom")}'
    if draft.subtype is not None:
        found += f',"subtype":{quoted(draft.subtype)}'
    if draft.action is not None:
        found += f',"action":{quoted(draft.action)}'
    context = of_span(draft, settings, service)
    if context:
        found += f',"context":{{{context}}}'
    if shared is not None and service is None:
        draft.encoded = (settings, found)
    return found


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
