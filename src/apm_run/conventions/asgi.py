"""How an ASGI application is called, traced (ASGI 3; spec 18.1).

Only ``http`` connections are requests; ``websocket`` and ``lifespan`` pass untouched. A request ends with the last
message of its response: what the application does afterwards, background tasks say, does not lengthen it.
"""

from __future__ import annotations

from apm_run import sanitize
from apm_run.conventions import body, cookies, headers, http_server, user
from apm_run.conventions.framework import Framework
from apm_run.guard import failed
from apm_run.instrument.wrap import hide_frame, unseen
from apm_run.propagation import CARRIED
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.config import Settings
    from apm_run.tracer import Tracer, Transaction

_get = current.get
_set = current.set

#: The headers that are read, beside those of trace context.
_READ = frozenset((
    b"host", b"user-agent", b"cookie", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
))  # fmt: skip
_NONE = (b"",)
#: One of them comes with a body.
_BODY = frozenset((b"content-length", b"transfer-encoding", b"content-type"))
#: The headers of trace context, as the scope names them.
_CARRIED = {name.encode(): name for name in CARRIED}


def method(tracer: Tracer, original: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
    """The function to put in the place of an application class's ``__call__``.

    Its parameters are those of the protocol: servers call an application without any, to see what it says to that.

    :param framework: its name, for ``service.framework``.
    """
    serve = _serving(tracer, framework)

    async def wrapper(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        try:
            return await serve(original.__get__(self), scope, receive, send)
        except BaseException as error:
            hide_frame(error)
            raise

    return wrapper


def application(tracer: Tracer, app: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
    """The function that a server gets in the place of an application."""
    serve = _serving(tracer, framework)

    @unseen
    async def wrapper(scope: Any, receive: Any, send: Any) -> Any:
        try:
            return await serve(app, scope, receive, send)
        except BaseException as error:
            hide_frame(error)
            raise

    return wrapper


def _serving(tracer: Tracer, name: str | None) -> Callable[..., Any]:
    framework = None if name is None else Framework(name)

    @unseen
    async def serve(app: Any, scope: Any, receive: Any, send: Any) -> Any:
        exchange: Exchange | None = None
        try:
            if scope["type"] == "http" and not http_server.inner(framework):
                transaction = _begin(tracer, framework, scope)
                if transaction is not None:
                    exchange = Exchange(transaction, scope, send)
                    request = transaction.context.get("request")
                    if request is not None and isinstance(request.get("body"), body.Body):
                        receive = _receiver(receive, request["body"])
        except Exception:
            failed("asgi: begin")
        if exchange is None:
            try:
                return await app(scope, receive, send)
            except BaseException as error:
                if framework is not None:
                    http_server.escape(error)
                hide_frame(error)
                raise
        previous = _get()
        _set(exchange.transaction)
        try:
            result = await app(scope, receive, exchange.send)
        except BaseException as error:
            exchange.leave(previous)
            exchange.die(error)
            hide_frame(error)
            raise
        exchange.leave(previous)
        exchange.end()
        return result

    return serve


def _receiver(receive: Callable[..., Any], seen: body.Body) -> Callable[..., Any]:
    """The server's ``receive``; what the application gets by it of the request's body is kept."""

    @unseen
    async def receiver(*args: Any, **kwargs: Any) -> Any:
        try:
            message = await receive(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        try:
            if message["type"] == "http.request":
                seen.add(message.get("body", b""))
        except Exception:
            failed("asgi: receive")
        return message

    return receiver


def _begin(tracer: Tracer, framework: Framework | None, scope: dict[str, Any]) -> Transaction | None:
    sent: dict[bytes, list[bytes]] = {}
    carrier: dict[str, list[str]] = {}
    for key, value in scope["headers"]:
        if key in _READ:
            sent.setdefault(key, []).append(value)
        elif key in _CARRIED:
            carrier.setdefault(_CARRIED[key], []).append(value.decode("latin-1"))
    path = http_server.origin_form(scope["path"])
    agent = sent.get(b"user-agent", _NONE)[0].decode("latin-1")
    transaction = http_server.begin(tracer, framework, scope["method"], path, carrier, user_agent=agent)
    if transaction is not None and transaction.sampled:
        try:
            transaction.context["request"] = _request(scope, sent, path, tracer.settings)
        except Exception:
            failed("asgi: request")
    return transaction


def _request(scope: dict[str, Any], sent: dict[bytes, list[bytes]], path: str, settings: Settings) -> dict[str, Any]:
    host = sent.get(b"host", _NONE)[-1].decode("latin-1")
    if not host:
        server = scope.get("server")
        host = f"{server[0]}:{server[1]}" if server else ""
    raw = scope.get("raw_path")
    path = http_server.origin_form(raw.decode("latin-1").partition("?")[0]) if raw else http_server.quote(path)
    secret = sanitize.names(settings.sanitize_field_names)
    query = scope.get("query_string", b"").decode("latin-1")
    url = http_server.url(scope.get("scheme", "http"), host, path, query, secret)
    shown = headers.of_pairs(scope["headers"], settings.sanitize_field_names) if settings.capture_headers else None
    client = scope.get("client")
    address = client[0] if client else None
    found = http_server.request(scope["method"], url, scope.get("http_version"), address, shown)
    if shown and b"cookie" in sent:  # HTTP/2 may send them one by one
        found["cookies"] = cookies.parsed(b";".join(sent[b"cookie"]).decode("latin-1"), secret)
    if not _BODY.isdisjoint(sent) and _has_body(scope, sent):
        kind, encoding = (sent.get(key, _NONE)[0].decode("latin-1") for key in (b"content-type", b"content-encoding"))
        found["body"] = body.of_request(kind, encoding, settings)
    return found


def _has_body(scope: dict[str, Any], sent: dict[bytes, list[bytes]]) -> bool:
    """Whether a request has a body; from HTTP/2 on no header need say where it ends."""
    if b"content-length" in sent:
        return sent[b"content-length"][0] not in (b"", b"0")
    return b"transfer-encoding" in sent or scope.get("http_version", "1")[:1] not in ("0", "1")


class Exchange:
    """A request and what is known of its response."""

    __slots__ = ("_finished", "_gone", "_headers", "_scope", "_send", "_status", "_trailers", "transaction")

    def __init__(self, transaction: Transaction, scope: dict[str, Any], send: Callable[..., Any]) -> None:
        """:param send: the server's."""
        self.transaction = transaction
        self._scope = scope
        self._send = send
        self._status: int | None = None
        self._headers: Any = None
        self._trailers = False
        self._finished = False
        #: The server has raised where the application sent to it: the client is not there any more.
        self._gone = False

    @unseen
    async def send(self, message: dict[str, Any]) -> None:
        """The server's; what it is about is noted."""
        try:
            if not self._last(message):
                await self._send(message)
                return
            # The server may begin the connection's next request in here, in a copy of this context.
            running = _get()
            _set(None)
            try:
                await self._send(message)
            finally:
                _set(running)
        except BaseException as error:
            self._gone = isinstance(error, OSError)
            hide_frame(error)
            raise
        self._finished = True
        self.end()

    def _last(self, message: dict[str, Any]) -> bool:
        """Whether a message is the last one of the response; status and headers are kept."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                return not message.get("more_body", False) and not self._trailers
            if kind == "http.response.start":
                self._status = int(message["status"])
                self._headers = message.get("headers")
                self._trailers = message.get("trailers", False)
                return False
            return kind == "http.response.pathsend" or (
                kind == "http.response.trailers" and not message.get("more_trailers", False)
            )
        except Exception:  # a message that the server will refuse
            return False

    def leave(self, previous: Any) -> None:
        """Make what was current before current again, unless this context never saw the request."""
        running = _get()
        if running is not None and running.transaction is self.transaction:
            _set(previous)

    def die(self, error: BaseException) -> None:
        """The application has raised."""
        try:
            if not (self._gone and isinstance(error, OSError)):
                http_server.die(self.transaction, error, self._status is not None)
        except Exception:
            failed("asgi: error")
        self.end()

    def end(self) -> None:
        """End the request; a second call does nothing.

        An application that returns without a whole answer may have been told that the client has gone: no failure.
        """
        transaction = self.transaction
        if transaction.ended:
            return
        try:
            status, shown = self._status, None
            settings = transaction.tracer.settings
            if settings.capture_headers and transaction.sampled and isinstance(self._headers, (list, tuple)):
                shown = headers.of_pairs(self._headers, settings.sanitize_field_names)
            if transaction.sampled and "user" in self._scope:
                user.note(transaction, user.found(self._scope["user"]))
            http_server.answer(transaction, status, shown, finished=self._finished, headers_sent=status is not None)
        except Exception:
            failed("asgi: end")
        try:
            transaction.tracer.end_transaction(transaction)
        except Exception:
            failed("asgi: end")
