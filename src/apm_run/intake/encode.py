"""Agent side of intake v2: ended things to ND-JSON lines (spec 2, 5-8). Called once per transaction.

What a library or the program has put into an event may be of any type: it is made to be what the server takes, since
one wrong value would cost the whole event.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder

from apm_run import sanitize
from apm_run.intake.limits import KEYWORD, LONG, MAX_EVENT_SIZE, TARGET, cut
from apm_run.model import FAILURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Process = Callable[[str, dict[str, Any]], "dict[str, Any] | None"]

_INT64 = 1 << 63
_LOG_KEYWORDS = ("param_message", "level", "logger_name")
#: How deep a value of the program's is followed, where it is no JSON as it stands.
_DEPTH = 20


def line(kind: str, event: dict[str, Any]) -> bytes:
    """One ND-JSON line.

    :param kind: the root key: ``transaction``, ``span``, ``error``, ``metricset``, ``log``, ``metadata``.
    """
    try:
        body = "".join(_json(event, 0))
    except Exception:  # NaN, an endless structure, a key of another type: rare, so that it may take its time
        body = "".join(_json(mended(event, 0), 0))
    # Half a surrogate pair, as in an undecodable file name, becomes a question mark.
    return f'{{"{kind}":{body}}}\n'.encode("utf-8", "replace")


def text(value: Any, limit: int = KEYWORD) -> str:
    """A value as a string of at most ``limit`` code points."""
    if value.__class__ is not str:
        value = _text(value)
    return value if len(value) <= limit else cut(value, limit)


def _text(value: Any) -> str:
    try:
        return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
    except Exception:  # a type of the program's
        return f"<unprintable {type(value).__name__} object>"


def _long(value: Any) -> str:
    return text(value, LONG)


_json: Callable[[Any, int], tuple[str, ...]] = make_encoder(
    None, _long, encode_basestring, None, ":", ",", False, True, False
)


def mended(value: Any, depth: int = 0) -> Any:
    """A value as JSON can say it."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return value if -_INT64 <= value < _INT64 else _long(value)
    if depth < _DEPTH and isinstance(value, dict):
        return {text(key): mended(item, depth + 1) for key, item in value.items()}
    if depth < _DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [mended(item, depth + 1) for item in value]
    return _long(value)


def labels(tags: dict[Any, Any]) -> dict[str, Any]:
    """Labels: strings, booleans and numbers (spec 2)."""
    return {text(key): value if value is None else _label(value) for key, value in dict(tags).items()}


def _label(value: Any) -> Any:
    number = value.__class__ in (bool, int, float) and -_INT64 <= value < _INT64  # NaN compares as neither
    return value if number else text(value)


def whole(value: Any) -> bool:
    """Whether a value is an integer that the server can take."""
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


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
        event["context"] = _service(transaction, _context(transaction.context, "transaction"))
        if transaction.attributes:
            event["otel"] = _otel(transaction.attributes)
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


def _otel(attributes: dict[str, str]) -> dict[str, Any]:
    return {"attributes": {text(name): text(value) for name, value in attributes.items()}}


def _service(transaction: Any, context: dict[str, Any]) -> dict[str, Any]:
    if transaction.framework is None:
        return context
    name, version = transaction.framework
    framework = {"name": text(name), **({"version": text(version)} if version else {})}
    return {**context, "service": {**context.get("service", {}), "framework": framework}}


def _context(context: dict[str, Any], kind: str) -> dict[str, Any]:
    """The context of a transaction or an error.

    :param kind: which of both: the request's body may be shown by one and not by the other.
    """
    found = dict(context)
    if "tags" in found:
        found["tags"] = labels(found["tags"])
    if "request" in found:
        found["request"] = request = dict(found["request"])
        request["method"] = text(request.get("method", ""))
        if "url" in request:
            request["url"] = _url(request["url"])
        if "headers" in request:
            request["headers"] = _headers(request["headers"])
        if "body" in request:
            _show_body(request, kind)
    if "response" in found:
        found["response"] = response = dict(found["response"])
        if not whole(response.get("status_code", 0)):
            del response["status_code"]
        if "headers" in response:
            response["headers"] = _headers(response["headers"])
    return found


def _show_body(request: dict[str, Any], kind: str) -> None:
    """A body as conventions.body keeps it is made readable only now; one that nobody has read is none."""
    body = request["body"]
    request["body"] = body = body(kind) if callable(body) else body
    if body is None:
        del request["body"]


def _url(parts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {part: text(value) for part, value in parts.items() if part != "port"}
    if whole(parts.get("port")):
        found["port"] = parts["port"]
    return found


def _headers(headers: dict[Any, Any]) -> dict[str, Any]:
    return {
        text(name): [_long(item) for item in value] if isinstance(value, (list, tuple)) else _long(value)
        for name, value in headers.items()
        if value is not None
    }


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
    context = _span_context(draft, transaction.tracer.settings)
    service = transaction.context.get("service")
    if service:  # the user has said that the transaction is another service's
        context["service"] = {**service, **context.get("service", {})}
    if span.links:
        event["links"] = span.links
    if context:
        event["context"] = context
    if transaction.attributes:
        event["otel"] = _otel(transaction.attributes)
    if stacktrace:
        event["stacktrace"] = stacktrace
    composite = span.composite
    if composite is not None:
        summed = round(composite.sum_ns / 1e6, 3)
        event["composite"] = {"count": composite.count, "sum": summed, "compression_strategy": composite.strategy}
    return event


def _span_context(draft: Any, settings: Any) -> dict[str, Any]:
    context: dict[str, Any] = dict(draft.context) if draft.context else {}
    if "tags" in context:
        context["tags"] = labels(context["tags"])
    if draft.db is not None:
        context["db"] = _db(draft.db, settings.long_field_max_length)
    if draft.http is not None:
        context["http"] = _http(draft.http, sanitize.names(settings.sanitize_field_names))
    destination: dict[str, Any] = {}
    if draft.address:
        destination["address"] = sanitize.without_userinfo(text(draft.address))
        if whole(draft.port) and draft.port > 0:
            destination["port"] = draft.port
    if draft.exit:
        kind, name = draft.target()
        if kind or name:
            named = {"name": text(name)} if name else {}
            context["service"] = {"target": {"type": text(kind), **named}}
        found = resource(draft.type, kind, name) if draft.resource is None else draft.resource
        if found:
            destination["service"] = {"resource": text(found), "name": "", "type": ""}
    if destination:
        context["destination"] = destination
    return context


def resource(span_type: str, kind: str, name: str) -> str:
    """``destination.service.resource``, deprecated and still read by older servers (spec 19)."""
    if not name or not kind:
        return name or kind
    return name if span_type == "external" else f"{kind}/{name}"


def _http(http: dict[str, Any], secret: sanitize.Names) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if http.get("url"):
        found["url"] = _long(sanitize.url(text(http["url"], LONG), secret))
    if http.get("method"):
        found["method"] = text(http["method"])
    status = http.get("status_code")
    if whole(status):
        # Both: the server's fallback for the outcome and Kibana still read the deprecated one (spec 31.15).
        found["status_code"] = status
        found["response"] = {"status_code": status}
    return found


def _db(db: dict[str, Any], limit: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in db.items():
        if key == "rows_affected":
            if whole(value):
                found[key] = value
        elif value is not None:
            long = key == "statement"
            shown = text(value, limit if long else KEYWORD)
            found[key] = sanitize.connection(shown, long) if "@" in shown or "=" in shown else shown
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
        event["context"] = _context(event["context"], "error")
    if "exception" in event:
        event["exception"] = _exception(event["exception"])
    if "log" in event:
        event["log"] = _log(event["log"])
    return event


def _log(found: dict[str, Any]) -> dict[str, Any]:
    event = {key: text(value) if key in _LOG_KEYWORDS else value for key, value in found.items()}
    event["message"] = _long(found["message"])
    return event


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    event = {
        **found,
        "type": text(found["type"]),
        "module": text(found["module"]),
        "message": _long(found["message"]),
    }
    if "cause" in found:
        event["cause"] = [_exception(cause) for cause in found["cause"]]
    return event


def _milliseconds(timed: Any) -> float:
    duration: float = round((timed.end_ns - timed.start_ns) / 1e6, 3)
    return duration
