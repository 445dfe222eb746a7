"""A request that this process answers: a transaction of type ``request`` (spec 6, 12, 18.1).

What is the same for every protocol between server and application; :mod:`~apm_run.conventions.wsgi` and
:mod:`~apm_run.conventions.asgi` say how the application is called.
"""

from __future__ import annotations

from apm_run import propagation, sanitize
from apm_run.config.wildcard import any_match
from apm_run.guard import failed
from apm_run.intake.limits import KEYWORD, cut
from apm_run.intake.plain import Shown, text
from apm_run.model import FAILURE, SUCCESS
from apm_run.tracer import current
from apm_run.tracer.errors import single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.conventions.framework import Framework
    from apm_run.conventions.headers import Headers
    from apm_run.model import CurrentTransaction
    from apm_run.sanitize import Names
    from apm_run.tracer import Tracer, Transaction

TYPE = "request"

_get = current.get

_PORTS = {"http": 80, "https": 443}
#: The methods of RFC 9110, PATCH, QUERY, and those of WebDAV and its extensions that servers of this language meet.
_METHODS = frozenset((
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY", "PROPFIND", "PROPPATCH",
    "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "MKCALENDAR", "ACL", "PURGE",
))  # fmt: skip
#: Schemes and authorities as clients name them -> what is shown of their URLs; so many, of at most so many characters.
_origins: dict[tuple[str, str], dict[str, Any]] = {}
_ORIGINS, _ORIGIN = 256, 200
#: What a path of a URL holds only in its percent-encoded form.
_ENCODED = frozenset(' "#%<>?[\\]^`{|}') | frozenset(map(chr, range(32))) | {"\x7f"}
#: Raised where the client has gone: by Starlette where it sends or reads, and by uvicorn where it sends.
_GONE = ("ClientDisconnect", "ClientDisconnected")


def served() -> Transaction | None:
    """The transaction of the request that the calling layer belongs to; None where the layer is the outermost.

    A call in process by an HTTP client is a request of its own, and so is what follows the end of another one in
    its context.
    """
    running = _get()
    if running is None or (running.exit and not running.end_ns):
        return None
    transaction = running.transaction
    if not transaction.entry or transaction.ended or transaction.kind != TYPE:
        return None
    return transaction


def inner(framework: Framework | None) -> bool:
    """Whether a request comes from a layer that is traced already; if so, the framework is noted."""
    transaction = served()
    if transaction is None:
        return False
    note(transaction, framework)
    return True


def note(transaction: Transaction, framework: Framework | None) -> None:
    """Say which framework answers; the outermost one that is known counts."""
    if framework is not None and transaction.framework is None:
        transaction.framework = framework.facts(transaction.tracer.settings)


def begin(
    tracer: Tracer,
    framework: Framework | None,
    method: str,
    path: str,
    carrier: dict[str, list[str]],
    *,
    user_agent: str,
) -> Transaction | None:
    """Begin the transaction of a request.

    :param path: decoded, as ``transaction_ignore_urls`` sees it.
    :param carrier: every value of the headers of trace context, by their name.
    :returns: None where nothing is recorded at all.
    """
    settings = tracer.settings
    if not tracer.active:
        return None
    running = _get()
    if running is None:
        tracer.claim()
    elif propagation.TRACEPARENT not in carrier and running.exit and not running.end_ns:
        # A client that calls without any transport.
        carrier = {**{name: [value] for name, value in tracer.headers(running).items()}, **carrier}
    context, baggage = propagation.incoming(carrier) if carrier else (None, None)
    # Without what is not the path proper, a session say (RFC 3986, 3.3).
    route = path.partition(";")[0] if settings.use_path_as_transaction_name else "unknown route"
    transaction = tracer.begin_transaction(f"{verb(method)} {route}", TYPE, context, baggage=baggage)
    transaction.entry = True
    if settings.transaction_ignore_urls and any_match(settings.transaction_ignore_urls, path):
        transaction.ignore()
    if settings.transaction_ignore_user_agents and any_match(settings.transaction_ignore_user_agents, user_agent):
        transaction.ignore()
    note(transaction, framework)
    return transaction


def request(
    method: str,
    url: dict[str, Any],
    http_version: object,
    remote_address: object,
    headers: Headers | None,
) -> dict[str, Any]:
    """``context.request``.

    :param remote_address: the peer of the socket, never what a header says.
    """
    found: dict[str, Any] = Shown(method=text(method), url=url)
    if isinstance(http_version, str) and http_version:
        found["http_version"] = cut(http_version)
    if isinstance(remote_address, str) and remote_address:
        found["socket"] = {"remote_address": remote_address}
    if headers is not None:
        found["headers"] = headers
    return found


def url(scheme: str, authority: str, path: str, query: str, secret: Names) -> dict[str, Any]:
    """``context.request.url``, without user name and password and without secret parameters.

    :param authority: the ``Host`` header, or the server's own address. :param path: percent-encoded.
    :param query: without question mark.
    """
    if "=" in query:
        query = sanitize.query(query[: 2 * KEYWORD], secret)
    if ";" in path:
        path = sanitize.url(path, secret)
    found: dict[str, Any] = Shown(_origins.get((scheme, authority)) or _origin(scheme, authority))
    full = f"{found['full']}{path}"
    found["pathname"] = path
    if query:
        found["search"] = f"?{query}"
        full = f"{full}?{query}"
    found["full"] = full
    if len(full) > KEYWORD:
        for part in ("pathname", "search", "full"):
            if part in found:
                found[part] = cut(found[part])
    return found


def _origin(scheme: str, authority: str) -> dict[str, Any]:
    """What a URL says before its path; clients ask for few, again and again."""
    key = scheme, authority
    if "@" in authority:
        authority = authority.rpartition("@")[2]
    if authority.startswith("["):
        hostname, _, rest = authority.partition("]")
        hostname, port = hostname[1:], rest[1:]
    else:
        hostname, _, port = authority.partition(":")
    found: dict[str, Any] = {
        "full": f"{scheme}://{authority}", "protocol": cut(f"{scheme}:"), "hostname": cut(hostname)
    }  # fmt: skip
    if port.isascii() and port.isdecimal() and len(port) < 6:
        found["port"] = int(port)
    elif scheme in _PORTS:
        found["port"] = _PORTS[scheme]
    if len(found["full"]) <= _ORIGIN:
        if len(_origins) >= _ORIGINS:
            _origins.clear()
        _origins[key] = found
    return found


def origin_form(target: str) -> str:
    """The path of a request target: some clients send the whole URL, with whatever it holds (RFC 9112, 3.2.2)."""
    if not target.startswith("/"):
        _, absolute, rest = target.partition("://")
        if absolute:
            return f"/{rest.partition('/')[2]}"
    return target


def quote(path: str) -> str:
    """A decoded path, percent-encoded."""
    if path.isascii() and _ENCODED.isdisjoint(path):
        return path
    return "".join(
        letter if letter.isascii() and letter not in _ENCODED else "".join(f"%{byte:02X}" for byte in _bytes(letter))
        for letter in path
    )


def _bytes(letter: str) -> bytes:
    return letter.encode("utf-8", "surrogateescape")


def name(transaction: CurrentTransaction, method: str, route: str) -> None:
    """Name a request by its route, below the routes that it has been mounted on."""
    transaction.set_name(f"{verb(method)} {transaction.route_prefix}{route}")


def verb(method: str) -> str:
    """A method as names show it: clients may send any word for one."""
    return method if method in _METHODS else "OTHER"


def answer(
    transaction: Transaction,
    status: int | None,
    headers: Headers | None,
    *,
    finished: bool | None = None,
    headers_sent: bool | None = None,
) -> None:
    """Add ``context.response`` and what follows from the status: ``result`` and ``outcome``.

    :param status: None where none is known: the outcome then follows from the errors.
    """
    if transaction.sampled:
        response: dict[str, Any] = Shown()
        if status is not None:
            response["status_code"] = status
        if headers is not None:
            response["headers"] = headers
        if finished is not None:
            response["finished"] = finished
        if headers_sent is not None:
            response["headers_sent"] = headers_sent
        transaction.context["response"] = response
    if status is not None:
        if transaction.result is None:
            transaction.result = f"HTTP {status // 100}xx"
        if transaction.outcome is None:
            transaction.outcome = FAILURE if status >= 500 else SUCCESS


def die(transaction: Transaction, error: BaseException, answered: bool) -> None:
    """The application has raised: an error that nobody handled, unless the client or the server gave up.

    :param answered: the head of the response was on its way: what the client saw of it keeps its ``result``.
    """
    if isinstance(error, Exception):
        if gone(error):
            return
        transaction.capture(error, handled=False)
    elif not isinstance(error, SystemExit):  # cancelled or closed: no failure of this service
        return
    fail(transaction, answered)


def fail(transaction: Transaction, answered: bool) -> None:
    """The application has not done what it should, so that the server answers for it or breaks off.

    :param answered: as for :func:`die`.
    """
    if not answered and transaction.result is None:
        transaction.result = "HTTP 5xx"
    if transaction.outcome is None and not transaction.ended:
        transaction.outcome = FAILURE


def gone(error: BaseException) -> bool:
    """Whether an exception says that the client has disconnected."""
    return type(single(error)).__name__ in _GONE


def escape(error: BaseException) -> None:
    """An exception leaves a framework: an error even if a layer around the framework deals with it."""
    try:
        transaction = served()
        if transaction is not None and isinstance(error, Exception) and not gone(error):
            transaction.capture(error, handled=False)
    except Exception:
        failed("http_server: escape")
