"""Outgoing HTTP requests: their spans, and trace context headers put beside the caller's (spec 14, 18.1, 19).

Everything here may meet what a program passes by mistake. What is no request that could be sent is no span; no
function raises.
"""

from __future__ import annotations

from apm_run.intake.limits import LONG, cut
from apm_run.model import FAILURE, SUCCESS, SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_PORTS = {"http": 80, "https": 443}

#: Packages whose header collections have a ``copy`` that may be relied on.
_KNOWN = frozenset(("urllib3", "requests", "httpx", "collections", "multidict"))


def request(method: Any, url: Any) -> SpanDraft | None:
    """The span of a request: ``METHOD host``, its service target ``host:port``.

    :param url: absolute; its userinfo is left out.
    :returns: None unless both are text, the method is a token and the URL has ``http`` or ``https`` and a host.
    """
    method, url = _text(method), _text(url)
    if not method or not url or not method.isprintable() or " " in method or len(method) > 40:
        return None
    parts = _split(url)
    if parts is None:
        return None
    url, host, port = parts
    method = method.upper()
    return SpanDraft(
        f"{method} {host}",
        "external",
        "http",
        http={"url": cut(url, LONG), "method": method, "host": f"{host}:{port}"},
        address=host[1:-1] if host[0] == "[" else host,
        port=port,
    )


def response(draft: SpanDraft, status: object) -> None:
    """Add the status of a response; 400 and above is a failure of the client (spec 12)."""
    if isinstance(status, int) and 100 <= status <= 999 and draft.http is not None:
        draft.http["status_code"] = int(status)
        draft.outcome = FAILURE if status >= 400 else SUCCESS


def absolute(scheme: str, host: Any, port: Any, target: Any) -> str | None:
    """The URL of a request that a connection is asked for.

    :param host: a name or an address; an IPv6 address with or without its brackets.
    :param target: the request target (RFC 9112, 3.2); the absolute form, as sent to a proxy, is the URL itself.
    """
    name, path = _text(host), _text(target)
    if not name or path is None:
        return None
    if path[:8].lower().startswith(("http://", "https://")):
        return path
    if ":" in name and name[0] != "[":
        name = f"[{name}]"
    if port is not None and port != _PORTS.get(scheme):
        name = f"{name}:{port}"
    if path == "*":
        return f"{scheme}://{name}"
    return f"{scheme}://{name}{path}" if path[:1] in ("/", "?", "#") else f"{scheme}://{name}/{path}"


def with_headers(headers: Any, add: Mapping[str, str]) -> Any | None:
    """A caller's headers with trace context headers, as an object of the same type; the caller's stay untouched.

    :param headers: a dictionary, a list or tuple of pairs, a collection of a known library, or None.
    :param add: as the tracer gives them.
    :returns: None where nothing is to be changed: there is a ``traceparent``, or they are of an unknown type.
    """
    if headers is None:
        return dict(add)
    kind = type(headers)
    if kind is dict:
        return None if _traced(headers) else {**headers, **add}
    if kind is list or kind is tuple:
        if _traced(pair[0] for pair in headers if type(pair) in (tuple, list) and pair):
            return None
        return kind((*headers, *add.items()))
    if kind.__module__.partition(".")[0] not in _KNOWN or not hasattr(kind, "copy") or _traced(headers):
        return None
    found = headers.copy()
    for name, value in add.items():
        found[name] = value
    return found


def _traced(names: Iterable[Any]) -> bool:
    """Whether one of the header names, text or bytes of any case, is ``traceparent``."""
    for name in names:
        if isinstance(name, str):
            if len(name) == 11 and str.lower(name) == "traceparent":
                return True
        elif isinstance(name, bytes) and bytes.lower(name) == b"traceparent":
            return True
    return False


def _text(value: Any) -> str | None:
    """An exact ``str``, or None: a subclass may behave as it likes."""
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else None


def _split(url: str) -> tuple[str, str, int] | None:
    """A URL without its userinfo, its host (an IPv6 address in brackets) and its port."""
    scheme, separator, rest = url.partition("://")
    default = _PORTS.get(scheme.lower())
    if default is None or not separator:
        return None
    end = len(rest)
    for mark in "/?#":
        found = rest.find(mark, 0, end)
        if found >= 0:
            end = found
    authority = rest[:end]
    if "@" in authority:
        authority = authority.rpartition("@")[2]
        url = f"{scheme}://{authority}{rest[end:]}"
    if authority[:1] == "[":
        host, bracket, port = authority.partition("]")
        host += bracket
        if len(host) < 4 or not bracket or (port and port[0] != ":"):
            return None
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    number = _port(port, default)
    if number is None or not _sound(host):
        return None
    return url, host.lower(), number


def _port(text: str, default: int) -> int | None:
    if not text:
        return default
    if len(text) > 5 or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= 65535 else None


def _sound(host: str) -> bool:
    """Whether it could be a host: an international name may hold almost any letter."""
    if host.isalnum():
        return len(host) <= 255
    return bool(host) and len(host) <= 255 and host.isprintable() and not any(char in host for char in ' \\"<>^`{|}')
