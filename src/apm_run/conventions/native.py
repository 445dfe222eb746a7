"""A server that calls its own handlers, with neither WSGI nor ASGI between: one coroutine per request (spec 18.1).

Its library file says how a request and a response are read: :class:`Incoming` and :class:`Outgoing`.
"""

from __future__ import annotations

from apm_run import sanitize
from apm_run.conventions import body, cookies, headers, http_server
from apm_run.conventions.framework import Framework
from apm_run.guard import failed
from apm_run.instrument.wrap import dressed, hide_frame
from apm_run.model import Call
from apm_run.propagation import CARRIED
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from apm_run.config import Settings
    from apm_run.model import CurrentTransaction
    from apm_run.tracer import Tracer, Transaction

_get = current.get
_set = current.set
_NONE = ("",)
#: The headers that are read, beside those of trace context.
_READ = frozenset((b"host", b"user-agent", b"cookie", b"content-type", b"content-encoding"))
_CARRIED = {name.encode(): name for name in CARRIED}


class Incoming:
    """A request. Headers are pairs of bytes in the order they came in, their names in any case."""

    __slots__ = ("headers", "method", "path", "peer", "scheme", "server", "source", "target", "version")

    def __init__(
        self,
        method: str,
        path: str,
        target: str,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        scheme: str,
        version: str,
        peer: object,
        server: object = None,
        source: object = None,
    ) -> None:
        """Say what has come in.

        :param path: decoded. :param target: the request's, as it came. :param peer: of the socket: address and port.
        :param server: the same of this side. :param source: what the body is read from; None where there is none.
        """
        self.method = method
        self.path = path
        self.target = target
        self.headers = headers
        self.scheme = scheme
        self.version = version
        self.peer = peer
        self.server = server
        self.source = source


class Outgoing:
    """A response whose head is known."""

    __slots__ = ("finished", "headers", "status")

    def __init__(self, status: int, headers: Iterable[tuple[Any, Any]], *, finished: bool = True) -> None:
        """:param headers: pairs of text or bytes. :param finished: the client has got all of it."""
        self.status = status
        self.headers = headers
        self.finished = finished


class Server:
    """The protocol of a ``Serve`` whose function is a coroutine that answers one request."""

    def __init__(self, incoming: Callable[[Call], Incoming | None], outgoing: Callable[[Any], Outgoing | None]) -> None:
        """Say how it is read.

        :param incoming: of the call; None: it is no request of the program's.
        :param outgoing: of what the call returns.
        """
        self._incoming = incoming
        self._outgoing = outgoing

    def application(self, tracer: Tracer, app: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
        """The same for a function that a server is given."""
        return dressed(self.method(tracer, app, framework), app)

    def method(self, tracer: Tracer, original: Callable[..., Any], framework: str | None) -> Callable[..., Any]:
        """The function to put in the place of the one that answers a request."""
        known = None if framework is None else Framework(framework)
        begin, end = self._begin, self._end

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            transaction = begin(tracer, known, Call(original, args, kwargs)) if tracer.active else None
            if transaction is None:
                try:
                    return await original(*args, **kwargs)
                except BaseException as error:
                    hide_frame(error)
                    raise
            previous = _get()
            _set(transaction)
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                _leave(transaction, previous)
                _die(transaction, error)
                hide_frame(error)
                raise
            _leave(transaction, previous)
            end(transaction, result)
            return result

        return wrapper

    def _begin(self, tracer: Tracer, framework: Framework | None, call: Call) -> Transaction | None:
        transaction = None
        try:
            asked = self._incoming(call)
            if asked is not None:
                sent: dict[bytes, list[str]] = {}
                carrier: dict[str, list[str]] = {}
                for key, value in asked.headers:
                    name = key.lower()
                    if name in _READ:
                        sent.setdefault(name, []).append(value.decode("latin-1"))
                    elif name in _CARRIED:
                        carrier.setdefault(_CARRIED[name], []).append(value.decode("latin-1"))
                agent = _first(sent, b"user-agent")
                path = http_server.origin_form(asked.path)
                transaction = http_server.begin(tracer, framework, asked.method, path, carrier, user_agent=agent)
                if transaction is not None and transaction.sampled:
                    transaction.context["request"] = _request(asked, sent, tracer.settings)
        except Exception:
            failed("native: begin")
        return transaction

    def _end(self, transaction: Transaction, result: object) -> None:
        try:
            answer = self._outgoing(result)
            if answer is not None and not transaction.ended:
                before = transaction.context.get("response")  # the same, as its head has gone out
                shown = _shown(transaction, answer.headers) if before is None else before.get("headers")
                http_server.answer(transaction, answer.status, shown, finished=answer.finished, headers_sent=True)
        except Exception:
            failed("native: end")
        _close(transaction)


def _leave(transaction: Transaction, previous: Any) -> None:
    running = _get()
    if running is not None and running.transaction is transaction:
        _set(previous)


def _die(transaction: Transaction, error: BaseException) -> None:
    answered = transaction.result is not None
    try:
        if not isinstance(error, ConnectionError):
            http_server.die(transaction, error, answered)
        elif transaction.failed:  # it gives up an answer that it can not complete; why it has told before
            http_server.fail(transaction, answered)
    except Exception:
        failed("native: error")
    _close(transaction)


def _close(transaction: Transaction) -> None:
    try:
        transaction.tracer.end_transaction(transaction)
    except Exception:
        failed("native: end")


def _request(asked: Incoming, sent: dict[bytes, list[str]], settings: Settings) -> dict[str, Any]:
    secret = sanitize.names(settings.sanitize_field_names)
    path, _, query = asked.target.partition("?")
    host = sent.get(b"host", _NONE)[-1] or _address(asked.server)
    url = http_server.url(asked.scheme, host, http_server.origin_form(path), query.partition("#")[0], secret)
    shown = headers.of_pairs(asked.headers, settings.sanitize_field_names) if settings.capture_headers else None
    peer = asked.peer
    address = peer[0] if isinstance(peer, (tuple, list)) and peer else None
    found = http_server.request(asked.method, url, asked.version, address, shown)
    if shown and b"cookie" in sent:
        found["cookies"] = cookies.parsed(";".join(sent[b"cookie"]), secret)
    if asked.source is not None:
        kind, encoding = _first(sent, b"content-type"), _first(sent, b"content-encoding")
        found["body"] = body.of_request(kind, encoding, settings)
        if isinstance(found["body"], body.Body):
            found["body"].source = asked.source
    return found


def _address(name: object) -> str:
    """What the socket of this side is called, where the client does not say whom it asks."""
    if not isinstance(name, (tuple, list)) or len(name) < 2:
        return ""
    return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"


def _first(sent: dict[bytes, list[str]], name: bytes) -> str:
    return sent.get(name, _NONE)[0]


def _shown(transaction: Transaction, pairs: Iterable[tuple[Any, Any]]) -> headers.Headers | None:
    settings = transaction.tracer.settings
    if not settings.capture_headers or not transaction.sampled:
        return None
    return headers.of_pairs(pairs, settings.sanitize_field_names)


# What a library file tells of while a request is answered; ``transaction`` is what runs, which may be no request.


def head(transaction: CurrentTransaction, answer: Outgoing) -> None:
    """The head of the response goes out: its status counts also where the rest does not follow."""
    request: Any = transaction
    if request.kind != http_server.TYPE or request.ended:
        return
    if answer.status == 101:  # what follows is no HTTP: no request that ends with a response
        request.ignore()
        request.tracer.end_transaction(request)
        _set(None)
    elif answer.status >= 200:
        shown = _shown(request, answer.headers)
        outcome = request.outcome
        http_server.answer(request, answer.status, shown, finished=False, headers_sent=True)
        request.outcome = outcome  # that is known when it has ended


def read(transaction: CurrentTransaction, source: object, data: bytes, end: int) -> None:
    """The program has read from a stream, that of the request's body perhaps.

    :param end: where in the stream that has ended: what was put back is read again.
    """
    seen = transaction.context["request"].get("body") if "request" in transaction.context else None
    if isinstance(seen, body.Body) and seen.source is source:
        new = end - seen.length
        if new > 0:
            seen.add(data[-new:])


def unhandled(transaction: CurrentTransaction, error: BaseException | None, connected: bool) -> None:
    """A handler has raised what nobody handles.

    :param connected: the client is still there; otherwise an error of the connection is none of this service.
    """
    if error is None:
        return
    if isinstance(error, ConnectionError) and not connected:
        transaction.dismiss(error)
        _close(transaction)  # type: ignore[arg-type]  # what the server says now, nobody hears
    else:
        transaction.capture(error, handled=False)
