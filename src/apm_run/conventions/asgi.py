"""How an ASGI application is called, traced (ASGI 3; spec 18.1).

Only ``http`` connections are requests; ``websocket`` and ``lifespan`` pass untouched. A request ends with the last
message of its response: what the application does afterwards, background tasks say, does not lengthen it.
"""

from __future__ import annotations

from apm_run.conventions import headers, http_server
from apm_run.conventions.framework import Framework
from apm_run.guard import failed
from apm_run.instrument.wrap import hide_frame
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.config import Settings
    from apm_run.tracer import Tracer, Transaction

_get = current.get
_set = current.set


def method(tracer: Tracer, original: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
    """The function to put in the place of an application class's ``__call__``.

    :param framework: its name, for ``service.framework``.
    """
    return _traced(tracer, original, framework, 1)


def application(tracer: Tracer, app: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
    """The function that a server gets in the place of an application."""
    return _traced(tracer, app, framework, 0)


def _traced(tracer: Tracer, original: Callable[..., Any], name: str | None, first: int) -> Callable[..., Any]:
    """:param first: position of the scope among the arguments."""
    framework = None if name is None else Framework(name)

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        exchange: Exchange | None = None
        try:
            scope = args[first] if len(args) > first else kwargs["scope"]
            if scope["type"] == "http" and not http_server.inner(framework):
                transaction = _begin(tracer, framework, scope)
                if transaction is not None:
                    exchange = Exchange(transaction, args[first + 2] if len(args) > first + 2 else kwargs["send"])
                    if len(args) > first + 2:
                        args = (*args[: first + 2], exchange.send, *args[first + 3 :])
                    else:
                        kwargs = {**kwargs, "send": exchange.send}
        except Exception:
            failed("asgi: begin")
        if exchange is None:
            try:
                return await original(*args, **kwargs)
            except BaseException as error:
                if framework is not None:
                    http_server.escape(error)
                hide_frame(error)
                raise
        previous = _get()
        _set(exchange.transaction)
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            exchange.leave(previous)
            exchange.die(error)
            hide_frame(error)
            raise
        exchange.leave(previous)
        exchange.end()
        return result

    return wrapper


def _begin(tracer: Tracer, framework: Framework | None, scope: dict[str, Any]) -> Transaction | None:
    parents, states = [], []
    host = b""
    for key, value in scope["headers"]:
        if key == b"host":
            host = value
        elif key == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif key == b"tracestate":
            states.append(value.decode("latin-1"))
    path = http_server.origin_form(scope["path"])
    transaction = http_server.begin(tracer, framework, scope["method"], path, traceparents=parents, tracestates=states)
    if transaction is not None and transaction.sampled:
        try:
            transaction.context["request"] = _request(scope, host.decode("latin-1"), path, tracer.settings)
        except Exception:
            failed("asgi: request")
    return transaction


def _request(scope: dict[str, Any], host: str, path: str, settings: Settings) -> dict[str, Any]:
    if not host:
        server = scope.get("server")
        host = f"{server[0]}:{server[1]}" if server else ""
    raw = scope.get("raw_path")
    if raw:
        path = http_server.origin_form(raw.decode("latin-1").partition("?")[0])
    url = http_server.url(
        scope.get("scheme", "http"), host, http_server.quote(path), scope.get("query_string", b"").decode("latin-1")
    )
    shown = headers.of_pairs(scope["headers"], settings.sanitize_field_names) if settings.capture_headers else None
    client = scope.get("client")
    return http_server.request(scope["method"], url, scope.get("http_version"), client[0] if client else None, shown)


class Exchange:
    """A request and what is known of its response."""

    __slots__ = ("_finished", "_gone", "_headers", "_send", "_status", "_trailers", "transaction")

    def __init__(self, transaction: Transaction, send: Callable[..., Any]) -> None:
        """:param send: the server's."""
        self.transaction = transaction
        self._send = send
        self._status: int | None = None
        self._headers: Any = None
        self._trailers = False
        self._finished = False
        #: What the server raised where the application sent to it.
        self._gone: BaseException | None = None

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
            if isinstance(error, OSError):
                self._gone = error
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
            if error is not self._gone:
                http_server.die(self.transaction, error, self._status is not None)
        except Exception:
            failed("asgi: error")
        self.end()

    def end(self) -> None:
        """End the request; a second call does nothing."""
        transaction = self.transaction
        if transaction.ended:
            return
        try:
            status, shown = self._status, None
            settings = transaction.tracer.settings
            if settings.capture_headers and transaction.sampled and isinstance(self._headers, (list, tuple)):
                shown = headers.of_pairs(self._headers, settings.sanitize_field_names)
            http_server.answer(transaction, status, shown, finished=self._finished, headers_sent=status is not None)
        except Exception:
            failed("asgi: end")
        try:
            transaction.tracer.end_transaction(transaction)
        except Exception:
            failed("asgi: end")
