"""Outgoing HTTP requests: their spans, and trace context headers put beside the caller's (spec 14, 18.1, 19).

Everything here may meet what a program passes by mistake. What is no request that could be sent is no span; no
function raises.
"""

from __future__ import annotations

from apm_run.intake.limits import LONG, cut
from apm_run.model import FAILURE, SUCCESS, SpanDraft
from apm_run.propagation import BAGGAGE, TRACEPARENT, TRACESTATE, baggage, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_PORTS = {"http": 80, "https": 443}
#: Where the path of a URL may begin.
_SHORTEST = len("http://") + 1

_SIZED = frozenset((str, bytes))
_LENGTHS = frozenset(map(len, (TRACEPARENT, TRACESTATE, BAGGAGE)))
_TRACEPARENT, _TRACESTATE, _BAGGAGE = (name.encode() for name in (TRACEPARENT, TRACESTATE, BAGGAGE))

#: URLs up to their path, without userinfo -> where they lead, as many as are remembered: programs call few, again and
#: again.
_places: dict[str, Place] = {}
_PLACES = 256

#: Packages whose header collections have a ``copy`` that may be relied on.
_KNOWN = frozenset(("urllib3", "requests", "httpx", "collections", "multidict", "elastic_transport"))


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
    url, place = parts
    method = method.upper()
    if len(url) > LONG:
        url = cut(url, LONG)
    facts = {"url": url, "method": method, "host": place.target}
    draft = SpanDraft(f"{method} {place.host}", "external", "http", http=facts, address=place.address, port=place.port)
    draft.reached = place.reached
    return draft


class Place:
    """Where requests go.

    :ivar host: an IPv6 address in brackets. :ivar address: without them. :ivar target: name of the service target.
    :ivar reached: as :attr:`SpanDraft.reached`, for all of their spans.
    """

    __slots__ = ("address", "host", "port", "reached", "target")

    def __init__(self, host: str, port: int) -> None:
        """:param host: in lower case."""
        self.host = host
        self.port = port
        self.address = host[1:-1] if host[0] == "[" else host
        self.target = f"{host}:{port}"
        self.reached: list[str] = []


def location(url: Any) -> tuple[str, str, int] | None:
    """A URL without its userinfo, its host (an IPv6 address in brackets) and its port; None where it has none."""
    text = _text(url)
    parts = None if text is None else _split(text)
    return None if parts is None else (parts[0], parts[1].host, parts[1].port)


def response(draft: SpanDraft, status: object) -> None:
    """Add the status of a response; 400 and above is a failure of the client (spec 12)."""
    if isinstance(status, int) and 100 <= status <= 999 and draft.http is not None:
        draft.http["status_code"] = int(status)
        draft.outcome = FAILURE if status >= 400 else SUCCESS


def located(draft: SpanDraft, url: str) -> None:
    """The URL that was asked for in the end is known: with all parameters."""
    parts = _split(url)
    if parts is not None and draft.http is not None:
        draft.http["url"] = cut(parts[0], LONG)


def joined(base: str, target: Any) -> Any:
    """The URL of a target relative to another URL, its dots left as they are; what is absolute, or no text, is itself.

    :param base: absolute.
    """
    path = _text(target)
    if path is None or "://" in path.partition("?")[0]:
        return target
    scheme, separator, rest = base.partition("://")
    if path[:2] == "//":
        return f"{scheme}:{path}"
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, folder = rest.partition("/")
    if path[:1] in ("/", ""):
        return f"{scheme}{separator}{host}{path or slash + folder}"
    return f"{scheme}{separator}{host}/{folder.rpartition('/')[0]}{'/' if '/' in folder else ''}{path}"


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
    :returns: None where nothing is to be changed: all is there, or they are of an unknown type.
    """
    if headers is None:
        return dict(add)
    kind = type(headers)
    if kind is list or kind is tuple:
        return _with_pairs(headers, add)
    known = kind.__module__.partition(".")[0] in _KNOWN and hasattr(kind, "copy") and hasattr(kind, "items")
    if kind is not dict and not known:
        return None
    # httpx would put its headers together anew to show them as text.
    raw = getattr(headers, "raw", None)
    lack = Lack(headers.items() if raw is None else raw, add)
    if not lack.headers:
        return None
    found = headers.copy()
    for name, value in lack.headers.items():
        if name == BAGGAGE and lack.own:
            key, own = lack.own[-1]
            if len(lack.own) > 1 and not isinstance(headers, dict):  # it ignores case, and gives all of them one name
                own = ",".join([_decoded(value) for _, value in lack.own])
            if raw is not None:
                key, own = _decoded(key), _decoded(own)
            found[key] = _appended(own, value)
        else:
            found[name] = value
    return found


def _with_pairs(headers: Any, add: Mapping[str, str]) -> Any | None:
    pairs = {at: pair for at, pair in enumerate(headers) if type(pair) in (tuple, list) and len(pair) == 2}
    lack = Lack(pairs.values(), add)
    if not lack.headers:
        return None
    found = list(headers)
    if lack.own and BAGGAGE in lack.headers:
        key, value = lack.own[-1]
        at = max(at for at, pair in pairs.items() if pair[0] is key and pair[1] is value)
        found[at] = type(found[at])((key, _appended(value, lack.headers.pop(BAGGAGE))))
    return type(headers)((*found, *lack.headers.items()))


def add_lines(lines: list[bytes], add: Mapping[str, str]) -> None:
    """Put the trace context behind the lines of a request's head; ``baggage`` is appended to where it stands.

    :param add: as the tracer gives them: ASCII, in one line.
    """
    present = b"\n".join(lines).lower()
    if _TRACEPARENT in present or _TRACESTATE in present or _BAGGAGE in present:
        if f"{TRACEPARENT}: {add[TRACEPARENT]}".encode() in lines:  # a layer above has put in all of them
            return
        lack = Lack([line.partition(b":")[::2] for line in lines], add)
        if lack.own and BAGGAGE in lack.headers:
            at = max(at for at, line in enumerate(lines) if line[:8].lower() == b"baggage:")
            name, _, value = lines[at].partition(b":")
            lines[at] = name + b": " + _appended(value.strip(), lack.headers.pop(BAGGAGE))
        add = lack.headers
    lines.extend([f"{name}: {value}".encode() for name, value in add.items()])


class Lack:
    """What the headers of a request lack of the trace context: what the program has put there itself stays (spec 14).

    :ivar headers: names and values to add; of ``baggage`` the members to append where there is one already.
    :ivar own: names and values of the program's own ``baggage``.
    """

    __slots__ = ("headers", "own")

    def __init__(self, pairs: Iterable[tuple[Any, Any]], add: Mapping[str, str]) -> None:
        """:param pairs: the request's own headers, text or bytes. :param add: as the tracer gives them."""
        self.own: list[tuple[Any, Any]] = []
        self.headers = dict(add)
        for key, value in pairs:
            if key.__class__ in _SIZED and len(key) not in _LENGTHS:
                continue
            name = _decoded(key).lower()
            if name == TRACEPARENT:  # with another parent, our state is not its
                self.headers.pop(TRACEPARENT, None)
                self.headers.pop(TRACESTATE, None)
            elif name == TRACESTATE:
                self.headers.pop(TRACESTATE, None)
            elif name == BAGGAGE and isinstance(value, (str, bytes)):
                self.own.append((key, value))
            elif name == BAGGAGE:
                self.headers.pop(BAGGAGE, None)
        if self.own and BAGGAGE in self.headers:
            self._merge([_decoded(value) for _, value in self.own])

    def _merge(self, own: list[str]) -> None:
        more = members(baggage([self.headers.pop(BAGGAGE)]), own)
        if more:
            self.headers[BAGGAGE] = more


def _appended(own: Any, more: str) -> Any:
    """The program's own ``baggage``, text or bytes, with more members behind it."""
    if isinstance(own, bytes):
        return own + (b"," if own.strip() else b"") + more.encode()
    return f"{own},{more}" if own.strip() else more


def _decoded(value: Any) -> str:
    """The text of a header's name or value; ``""`` where it is none."""
    if isinstance(value, bytes):
        return bytes.decode(value, "latin-1")
    return _text(value) or ""


def _text(value: Any) -> str | None:
    """An exact ``str``, or None: a subclass may behave as it likes."""
    if type(value) is str:
        return value
    return str.__str__(value) if isinstance(value, str) else None


def _split(url: str) -> tuple[str, Place] | None:
    """A URL without its userinfo, and where it leads."""
    end = url.find("/", _SHORTEST)
    place = _places.get(url[:end]) if end > 0 else None
    if place is not None:
        return url, place
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
    place = _place(f"{scheme}://{authority}", authority, default)
    return None if place is None else (url, place)


def _place(base: str, authority: str, default: int) -> Place | None:
    """Where an authority leads.

    :param base: the URL up to its path.
    """
    found = _places.get(base)
    if found is not None:
        return found
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
    if len(_places) >= _PLACES:
        _places.clear()
    found = _places[base] = Place(host.lower(), number)
    return found


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
