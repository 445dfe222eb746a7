"""How a WSGI application is called, traced (PEP 3333; spec 18.1).

The application is called once, with the environment it would get, outside every guard. A response that is a list is
handed on as it is; any other is iterated through a :class:`Body`, since what a lazy one does belongs to the request.
"""

from __future__ import annotations

from apm_run import sanitize
from apm_run.conventions import body, cookies, headers, http_server
from apm_run.conventions.framework import Framework
from apm_run.guard import failed
from apm_run.instrument.wrap import hide_frame, unseen
from apm_run.intake.limits import cut
from apm_run.propagation import CARRIED
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from apm_run.config import Settings
    from apm_run.tracer import Span, Tracer, Transaction

_get = current.get
_set = current.set

#: The headers of trace context, as the environment names them.
_NAMED = tuple([(f"HTTP_{name.upper().replace('-', '_')}", name) for name in CARRIED])
_CARRIED = frozenset([key for key, _ in _NAMED])

#: Responses that hold everything they have to say already.
_READY = frozenset((list, tuple, bytes, str))


def method(tracer: Tracer, original: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
    """The function to put in the place of an application class's ``__call__``.

    Its parameters are those of the protocol: servers call an application without any, to see what it says to that.

    :param framework: its name, for ``service.framework``.
    """
    serve = _serving(tracer, framework)

    def wrapper(self: Any, environ: Any, start_response: Any) -> Any:
        try:
            return serve(original.__get__(self), environ, start_response)
        except BaseException as error:
            hide_frame(error)
            raise

    return wrapper


def application(tracer: Tracer, app: Callable[..., Any], framework: str | None) -> Application:
    """The object that a server gets in the place of an application."""
    return Application(app, _serving(tracer, framework))


class Application:
    """An application as its server calls it; its attributes are those of the original."""

    __slots__ = ("__wrapped__", "_serve")

    def __init__(self, app: Callable[..., Any], serve: Callable[..., Any]) -> None:
        """:param serve: calls an application, traced."""
        self.__wrapped__ = app
        self._serve = serve

    @unseen
    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request."""
        try:
            return self._serve(self.__wrapped__, environ, start_response)
        except BaseException as error:
            hide_frame(error)
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of an object that is not made yet: copy, pickle
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)


def _serving(tracer: Tracer, name: str | None) -> Callable[..., Any]:
    framework = None if name is None else Framework(name)

    @unseen
    def serve(app: Any, environ: Any, start_response: Any) -> Any:
        exchange: Exchange | None = None
        try:
            if not http_server.inner(framework):
                transaction = _begin(tracer, framework, environ)
                if transaction is not None:
                    exchange = Exchange(transaction, start_response)
        except Exception:
            failed("wsgi: begin")
        if exchange is None:
            try:
                return app(environ, start_response)
            except BaseException as error:
                if framework is not None:
                    http_server.escape(error)
                hide_frame(error)
                raise
        previous = _get()
        _set(exchange.transaction)
        try:
            result = app(environ, exchange.start_response)
        except BaseException as error:
            _set(previous)
            exchange.die(error)
            hide_frame(error)
            raise
        running = _get()
        _set(previous)
        return exchange.response(result, environ, running)

    return serve


def _begin(tracer: Tracer, framework: Framework | None, environ: dict[str, Any]) -> Transaction | None:
    verb = environ.get("REQUEST_METHOD")
    if verb is None:  # no request of any server's: a program that calls its application by hand
        return None
    path = http_server.origin_form(_text(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")))
    carrier: dict[str, list[str]] = {}
    if not _CARRIED.isdisjoint(environ):
        carrier = {name: [environ[key]] for key, name in _NAMED if environ.get(key)}
    agent = environ.get("HTTP_USER_AGENT", "")
    transaction = http_server.begin(tracer, framework, verb, path, carrier, user_agent=agent)
    if transaction is not None and transaction.sampled:
        try:
            transaction.context["request"] = _request(environ, verb, path, tracer.settings)
            if environ.get("REMOTE_USER"):  # as the server has authenticated them
                transaction.context["user"] = {"username": cut(_text(environ["REMOTE_USER"]))}
            if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
                _body(environ, transaction, tracer.settings)
        except Exception:
            failed("wsgi: request")
    return transaction


def _body(environ: dict[str, Any], transaction: Transaction, settings: Settings) -> None:
    """What the application reads of the body is kept; the server's own object stays in place where nothing is."""
    encoding = environ.get("HTTP_CONTENT_ENCODING", "")
    seen = transaction.context["request"]["body"] = body.of_request(environ.get("CONTENT_TYPE", ""), encoding, settings)
    if isinstance(seen, body.Body):
        from apm_run.conventions.wsgi_input import Input

        environ["wsgi.input"] = Input(environ["wsgi.input"], seen)


def _request(environ: dict[str, Any], verb: str, path: str, settings: Settings) -> dict[str, Any]:
    url = http_server.url(
        environ.get("wsgi.url_scheme", "http"),
        environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}",
        http_server.quote(path),
        environ.get("QUERY_STRING", ""),
        sanitize.names(settings.sanitize_field_names),
    )
    shown = headers.of_environ(environ, settings.sanitize_field_names) if settings.capture_headers else None
    version = environ.get("SERVER_PROTOCOL", "").partition("/")[2]
    found = http_server.request(verb, url, version, environ.get("REMOTE_ADDR"), shown)
    if shown and "HTTP_COOKIE" in environ:
        found["cookies"] = cookies.parsed(environ["HTTP_COOKIE"], sanitize.names(settings.sanitize_field_names))
    return found


def _text(latin: str) -> str:
    """What a string of the environment means: its characters are bytes (PEP 3333, "Unicode Issues")."""
    if latin.isascii():
        return latin
    return latin.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _length(pairs: Any) -> int:
    """The length that headers announce, or -1."""
    for name, value in pairs if isinstance(pairs, list) else ():
        if name.lower() == "content-length" and value.isdecimal():
            return int(value)
    return -1


class Exchange:
    """A request and what is known of its response."""

    __slots__ = ("_announced", "_gone", "_headers", "_start", "_status", "_write", "sent", "transaction")

    def __init__(self, transaction: Transaction, start: Callable[..., Any]) -> None:
        """:param start: the server's ``start_response``."""
        self.transaction = transaction
        #: Something of the response has gone out, and with it the status.
        self.sent = False
        #: The server has raised where the application wrote to it: the client is not there any more.
        self._gone = False
        #: Bytes that the client still waits for, or what else is known of that (:meth:`hand`).
        self._announced: int | None = None
        self._start = start
        self._status: Any = None
        self._headers: Any = None
        self._write: Any = None

    @unseen
    def start_response(self, *args: Any, **kwargs: Any) -> Callable[[bytes], object]:
        """The server's, its status and headers noted; the last call of several counts, as for the server."""
        try:
            self._write = self._start(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        self._status = args[0] if args else kwargs.get("status")
        self._headers = args[1] if len(args) > 1 else kwargs.get("headers")
        return self.write

    @unseen
    def write(self, *args: Any, **kwargs: Any) -> Any:
        """The server's ``write``."""
        self.hand(args[0] if args else None)
        try:
            result = self._write(*args, **kwargs)
        except BaseException as error:
            self._gone = isinstance(error, OSError)
            hide_frame(error)
            raise
        self.sent = True
        return result

    def hand(self, piece: Any, pieces: int | None = None) -> None:
        """A piece of the response goes to the server next; the request ends before the client has all of it.

        For a client that has everything it was told of may end this very process.

        :param pieces: how many there are, where that is known.
        """
        try:
            if self.transaction.ended or not piece:
                return
            left = self._announced
            if left is None:
                left = _length(self._headers)
                if left < 0 and pieces == 1:  # servers announce the length of a single piece themselves
                    left = len(piece)
            if left >= 0:
                left -= len(piece)
                if left <= 0:
                    self.end(True)
            self._announced = left
        except Exception:
            failed("wsgi: hand")

    def response(self, result: Any, environ: dict[str, Any], running: Span | Transaction | None) -> Any:
        """What the server gets: the response itself where it is ready, else a body that it is iterated through.

        :param running: what the application left as the current span.
        """
        try:
            if result.__class__ in _READY:
                self.end(True)
                return result
            wrapper = environ.get("wsgi.file_wrapper")
            if isinstance(wrapper, type) and isinstance(result, wrapper):
                # The server hands it to the system in its own way, which only this very type has.
                self.end(True)
            elif hasattr(result, "__iter__") or hasattr(result, "__getitem__"):
                return (SizedBody if hasattr(result, "__len__") else Body)(self, result, running)
            else:  # no response at all: the server will raise
                http_server.fail(self.transaction, self.sent)
                self.end(False, died=True)
        except Exception:
            failed("wsgi: response")
        return result

    def die(self, error: BaseException) -> None:
        """The application has raised."""
        gone = self._gone and isinstance(error, OSError)
        try:
            if not gone:
                http_server.die(self.transaction, error, self.sent)
        except Exception:
            failed("wsgi: error")
        self.end(False, died=not self.sent and not gone)

    def end(self, finished: bool, *, died: bool = False) -> None:
        """End the request; a second call does nothing.

        :param finished: the application has given everything. :param died: what it announced never went out.
        """
        transaction = self.transaction
        if transaction.ended:
            return
        try:
            status, shown = None, None
            if not died and isinstance(self._status, str):
                status = int(self._status[:3])
                settings = transaction.tracer.settings
                if settings.capture_headers and transaction.sampled and isinstance(self._headers, list):
                    shown = headers.of_pairs(self._headers, settings.sanitize_field_names)
            http_server.answer(transaction, status, shown, finished=finished)
        except Exception:
            failed("wsgi: end")
        try:
            transaction.tracer.end_transaction(transaction)
        except Exception:
            failed("wsgi: end")


class Body:
    """A response that is iterated: the request is current while it works, and ends with it."""

    __slots__ = ("_exchange", "_inner", "_iterator", "_running")

    def __init__(self, exchange: Exchange, inner: Any, running: Span | Transaction | None) -> None:
        """:param inner: the application's response. :param running: what is current when it goes on."""
        self._exchange = exchange
        self._inner = inner
        self._iterator: Iterator[bytes] | None = None
        self._running = running

    @unseen
    def __iter__(self) -> Body:
        try:
            self._iterator = self._step(iter, self._inner)
        except BaseException as error:
            hide_frame(error)
            raise
        return self

    @unseen
    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = self._step(iter, self._inner)
            chunk: bytes = self._step(next, self._iterator)
        except BaseException as error:
            hide_frame(error)
            raise
        if chunk:
            self._exchange.hand(chunk, self._pieces())
            self._exchange.sent = True
        return chunk

    def _pieces(self) -> int | None:
        return None

    @unseen
    def _step(self, work: Callable[..., Any], *args: Any) -> Any:
        previous = _get()
        _set(self._running)
        try:
            result = work(*args)
        except BaseException as error:
            _set(previous)
            if isinstance(error, StopIteration):
                self._exchange.end(True)
            else:
                self._exchange.die(error)
            hide_frame(error)
            raise
        self._running = _get()
        _set(previous)
        return result

    @unseen
    def close(self) -> None:
        """Close the response, as the server does whatever has happened."""
        try:
            close = getattr(self._inner, "close", None)
            if close is not None:
                self._step(close)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            self._exchange.end(False)

    def __del__(self) -> None:
        if not self._exchange.transaction.ended:
            self._exchange.end(False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._inner, name)


class SizedBody(Body):
    """A response that knows how many pieces it has: servers announce the length of a single one."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._inner)

    _pieces = __len__
