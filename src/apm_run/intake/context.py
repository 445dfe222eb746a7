"""The contexts of events (spec 6, 7), made of plain data as the server takes it."""

from __future__ import annotations

from apm_run import sanitize
from apm_run.intake.limits import KEYWORD, LONG
from apm_run.intake.plain import Shown, dumped, labels, long, quoted, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Of a whole number, whatever its own type has to say of it.
_digits = int.__repr__


def otel(attributes: dict[str, str]) -> dict[str, Any]:
    """``otel``: attributes by flat names with dots."""
    return {"attributes": {text(name): text(value) for name, value in attributes.items()}}


def of_event(context: dict[str, Any], kind: str, settings: Any = None) -> dict[str, Any]:
    """The context of a transaction or an error.

    :param kind: which of both: the request's body may be shown by one and not by the other.
    :param settings: of the transaction; without them nothing is shown of a message that its options decide about.
    """
    found = dict(context)
    if "tags" in found:
        found["tags"] = labels(found["tags"])
    if "request" in found and (found["request"].__class__ is not Shown or "body" in found["request"]):
        found["request"] = request = dict(found["request"])
        request["method"] = text(request.get("method", ""))
        if "url" in request:
            request["url"] = _url(request["url"])
        if "headers" in request:
            request["headers"] = _headers(request["headers"])
        if "body" in request:
            _show_body(request, kind)
    if "response" in found and found["response"].__class__ is not Shown:
        found["response"] = response = dict(found["response"])
        if not whole(response.get("status_code", 0)):
            del response["status_code"]
        if "headers" in response:
            response["headers"] = _headers(response["headers"])
    if "message" in found:
        found["message"] = _message(found["message"], settings)
    return found


def _message(message: dict[str, Any], settings: Any = None) -> dict[str, Any]:
    """``context.message``; its headers and body, as conventions.messaging keeps them, are made readable only now."""
    found: dict[str, Any] = {}
    queue, age, body, headers = [message.get(key) for key in ("queue", "age", "body", "headers")]
    if callable(body):
        body = settings and body(settings)
    if callable(headers):
        headers = settings and headers(settings)
    if queue:
        found["queue"] = {"name": text(queue.get("name") or "")}
    if age is not None and whole(age.get("ms")):
        found["age"] = {"ms": max(0, age["ms"])}
    if "routing_key" in message:
        found["routing_key"] = text(message["routing_key"])
    if body is not None:
        found["body"] = long(body)
    if headers:
        found["headers"] = _headers(headers)
    return found


def _show_body(request: dict[str, Any], kind: str) -> None:
    """A body as conventions.body keeps it is made readable only now; one that nobody has read is none."""
    body = request["body"]
    request["body"] = body = body(kind) if callable(body) else body
    if body is None:
        del request["body"]


def _url(parts: dict[str, Any]) -> dict[str, Any]:
    if parts.__class__ is Shown:
        return parts
    found: dict[str, Any] = {}
    for part, value in parts.items():
        if part == "port":
            if whole(value):
                found[part] = value
        else:
            found[part] = text(value)
    return found


def _headers(headers: dict[Any, Any]) -> dict[str, Any]:
    if headers.__class__ is Shown:
        return headers
    found: dict[str, Any] = {}
    for name, value in headers.items():
        if isinstance(value, (list, tuple)):
            found[text(name)] = [long(item) for item in value]
        elif value is not None:
            found[text(name)] = long(value)
    return found


def of_span(draft: Any, settings: Any, service: dict[str, Any] | None) -> str:
    """The members of the context of a span, its service target and destination inferred (spec 19).

    :param service: ``context.service``, where it is another than this one.
    """
    found: list[str] = []
    members = dict(service) if service else {}
    if draft.context:
        found += _told(dict(draft.context), members)
    if draft.db is not None:
        found.append(f'"db":{_db(draft.db, settings.long_field_max_length)}')
    if draft.http is not None:
        found.append(f'"http":{_http(draft.http, settings)}')
    known = None if members else draft.reached
    if not known:
        reached = _reached(draft, members)
        if known is None:
            known = reached
        else:
            known[:] = reached  # at once: another thread may be here as well
    found += known
    return ",".join(found)


def _reached(draft: Any, members: dict[str, Any]) -> list[str]:
    """The service target and the destination of a span.

    :param members: of ``context.service``.
    """
    found: list[str] = []
    reached: list[str] = []
    if draft.address:
        address = text(draft.address)
        reached.append(f'"address":{quoted(sanitize.without_userinfo(address) if "@" in address else address)}')
        if whole(draft.port) and draft.port > 0:
            reached.append(f'"port":{_digits(draft.port)}')
    target = ""
    if draft.exit:
        kind, name = draft.target()
        if kind or name:
            named = f',"name":{quoted(name)}' if name else ""
            target = f'"target":{{"type":{quoted(kind)}{named}}}'
        where = resource(draft.type, kind, name) if draft.resource is None else draft.resource
        if where:
            reached.append(f'"service":{{"resource":{quoted(where)},"name":"","type":""}}')
    if members:
        members.pop("target", None)
        ours = dumped(members)[1:-1]
        target = f"{ours},{target}" if ours and target else ours or target
    if target:
        found.append(f'"service":{{{target}}}')
    if reached:
        found.append(f'"destination":{{{",".join(reached)}}}')
    return found


def _told(context: dict[str, Any], service: dict[str, Any]) -> list[str]:
    """The members of a context that an instrumentation or the user has made.

    :param service: takes what is said of the service.
    """
    service.update(context.pop("service", {}))
    if "tags" in context:
        context["tags"] = labels(context["tags"])
    if "message" in context:
        context["message"] = _message(context["message"])
    return [f"{quoted(name)}:{dumped(value)}" for name, value in context.items()]


def resource(span_type: str, kind: str, name: str) -> str:
    """``destination.service.resource``, deprecated and still read by older servers (spec 19)."""
    if not name or not kind:
        return name or kind
    return name if span_type == "external" else f"{kind}/{name}"


def _http(http: dict[str, Any], settings: Any) -> str:
    found: list[str] = []
    if http.get("url"):
        url = text(http["url"], LONG)
        if "=" in url or "@" in url:
            url = sanitize.url(url, sanitize.names(settings.sanitize_field_names))
        found.append(f'"url":{quoted(url, LONG)}')
    if http.get("method"):
        found.append(f'"method":{quoted(http["method"])}')
    status = http.get("status_code")
    if whole(status):
        # Both: the server's fallback for the outcome and Kibana still read the deprecated one (spec 31.15).
        code = _digits(status)
        found.append(f'"status_code":{code},"response":{{"status_code":{code}}}')
    return f"{{{','.join(found)}}}"


def _db(db: dict[str, Any], limit: int) -> str:
    found: list[str] = []
    for key, value in db.items():
        if key == "rows_affected":
            if whole(value):
                found.append(f'"{key}":{_digits(value)}')
        elif value is not None:
            long = key == "statement"
            length = limit if long else KEYWORD
            shown = text(value, length)
            if "@" in shown or "=" in shown:
                shown = sanitize.connection(shown, long)
            found.append(f'"{key}":{quoted(shown, length)}')
    return f"{{{','.join(found)}}}"
