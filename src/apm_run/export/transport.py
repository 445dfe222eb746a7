"""Requests to APM Server: headers, TLS, proxy, the pooled connection, and what the answers mean (spec 1, 1.1)."""

from __future__ import annotations

from apm_run.config.percent import unquoted
from apm_run.export.address import Address, proxy_for
from apm_run.export.connection import Connection, Limit, Response, Unsent
from apm_run.export.private import load
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apm_run.config import Settings

#: Seconds after which APM Server closes an idle connection.
IDLE = 45.0
PATH = "/intake/v2/events"


class Answer:
    """What became of one request.

    ``status`` is 0 where there was no answer, then ``kind`` says why (:class:`Unsent`); ``reason`` is for people;
    ``accepted`` is None when the server did not say.
    """

    __slots__ = ("accepted", "errors", "kind", "reason", "status")

    def __init__(self, status: int, kind: str = "", reason: str = "") -> None:
        self.status = status
        self.kind = kind
        self.reason = reason
        self.accepted: int | None = None
        self.errors: list[str] = []


class Transport:
    """The way to one server, for one process."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Opens nothing.

        :raises ValueError: the URL, or the proxy, cannot be used; says why.
        """
        self._settings = settings
        self._environ = environ
        self.address = Address(settings.server_url or "")
        self._proxy = proxy_for(self.address, environ)
        self._connection: Connection | None = None
        self._context: object = None
        self._pinned: bytes | None = None
        #: Whether the last request went out twice: its pooled connection broke before there was an answer.
        self.repeated = False
        #: As :class:`Connection` has it.
        self.undisturbed = False
        self.compress = not self.address.is_loopback
        self._authorization = _authorization(settings, self.address)
        self.user_agent = ""
        self.user_agent_of("", "")

    @property
    def credentials(self) -> bytes:
        """What authorises us; the outbox keeps a keyed digest of it."""
        return self._authorization.encode()

    def user_agent_of(self, name: str, version: str) -> None:
        """Name the service, and its version if it has one, in the User-Agent from now on."""
        service = _comment(f"{name} {version}".strip())
        self.user_agent = f"apm-agent-python/{__version__} ({service})"

    def post(self, body: Sequence[bytes], limit: Limit) -> Answer:
        """Send one stream of events; never raises.

        :param body: compressed with gzip if :attr:`compress`.
        """
        self.repeated = False
        lines = f"Content-Type: application/x-ndjson\r\nContent-Length: {sum(map(len, body))}\r\n"
        if self.compress:
            lines += "Content-Encoding: gzip\r\n"
        try:
            return _understand(self._exchange(self._head("POST", PATH, lines), body, limit))
        except Unsent as error:
            return Answer(0, error.kind, str(error))
        except (OSError, ValueError) as error:
            return Answer(0, "tls", f"{type(error).__name__}: {error}")

    def connect(self, limit: Limit) -> None:
        """Open the connection that the next request goes over, unless there is one; where that fails, it will tell."""
        if self._connection is None:
            try:
                self._connection = self._open(limit)
            except (Unsent, OSError, ValueError):
                pass

    def version(self, limit: Limit) -> tuple[int, ...] | None:
        """The server's version (spec 1.3); empty where it does not tell, None where there is no answer."""
        try:
            response = self._exchange(self._head("GET", "/", ""), (), limit)
        except (Unsent, OSError, ValueError):
            return None
        return _version(response.body) if response.status == 200 else ()

    def close(self) -> None:
        """Close the connection, if one is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _exchange(self, head: bytes, body: Sequence[bytes], limit: Limit) -> Response:
        connection, self._connection = self._connection, None
        if connection is not None:
            response = self._reuse(connection, head, body, limit)
            if response is not None:
                return response
        return self._use(self._open(limit), head, body, limit)

    def _reuse(self, connection: Connection, head: bytes, body: Sequence[bytes], limit: Limit) -> Response | None:
        """The answer over the pooled connection; None when it turned out dead, which is nobody's failure."""
        if not connection.is_usable(IDLE):
            connection.close()
            return None
        try:
            return self._use(connection, head, body, limit)
        except Unsent as error:
            if error.kind == "reset" and not connection.begun:
                self.repeated = True
                return None
            raise

    def _use(self, connection: Connection, head: bytes, body: Sequence[bytes], limit: Limit) -> Response:
        try:
            response = connection.exchange(head, body, limit)
        except BaseException:
            connection.close()
            raise
        if response.keep:
            self._connection = connection
        else:
            connection.close()
        return response

    def _open(self, limit: Limit) -> Connection:
        try:
            connection = Connection(self._proxy or self.address, limit, self.undisturbed)
        except Unsent as error:
            if self._proxy is None:
                raise
            raise Unsent("proxy", f"the proxy {self._proxy}: {error}") from None
        if self.address.scheme == "https":
            try:
                self._secure(connection, limit)
            except BaseException:
                connection.close()
                raise
        return connection

    def _secure(self, connection: Connection, limit: Limit) -> None:
        if self._proxy is not None:
            self._tunnel(connection, self._proxy, limit)
        if self._context is None:
            from apm_run.export import trust

            self._context, self._pinned = trust.context(self._settings, self._environ)
        try:
            certificate = connection.secure(self._context, self.address.host, limit)
            if self._pinned is not None and certificate != self._pinned:
                raise Unsent("tls", "TLS: its certificate is not the one in server_cert")
        except Unsent:
            # Whoever renews the server's certificate may have renewed our files as well.
            self._context = None
            raise

    def _tunnel(self, connection: Connection, proxy: Address, limit: Limit) -> None:
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        target = f"{host}:{self.address.port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_proxy_authorization(proxy)}\r\n"
        status = connection.tunnel(head.encode("latin-1"), limit)
        if not 200 <= status < 300:
            raise Unsent("proxy", f"the proxy {proxy} answered {status}")

    def _head(self, method: str, path: str, lines: str) -> bytes:
        address = self.address
        target = address.path + path
        proxied = ""
        if self._proxy is not None and address.scheme == "http":
            target = f"http://{address.authority}{target}"
            proxied = _proxy_authorization(self._proxy)
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: {self.user_agent}\r\n"
            f"Accept: application/json\r\n{lines}{self._authorization}{proxied}\r\n"
        )
        return head.encode("latin-1")


def _authorization(settings: Settings, address: Address) -> str:
    if settings.api_key:
        return f"Authorization: ApiKey {settings.api_key}\r\n"
    if settings.secret_token:
        return f"Authorization: Bearer {settings.secret_token}\r\n"
    return _basic("Authorization", address)


def _proxy_authorization(proxy: Address) -> str:
    return _basic("Proxy-Authorization", proxy)


def _basic(name: str, address: Address) -> str:
    if not address.userinfo:
        return ""
    encoded: bytes = load("binascii").b2a_base64(unquoted(address.userinfo), newline=False)
    return f"{name}: Basic {encoded.decode()}\r\n"


def _comment(text: str) -> str:
    """The text as an HTTP comment may hold it (user_agent.feature)."""
    return "".join(letter if " " <= letter <= "~" and letter not in "()\\" else "_" for letter in text)


def _understand(response: Response) -> Answer:
    answer = Answer(response.status)
    if response.status >= 300:
        answer.reason = f"it answered {response.status}"
        _read_errors(answer, response.body)
        if answer.errors:
            answer.reason += f": {answer.errors[0]}"
        elif response.status < 400:
            answer.reason += ", a redirect, which is not followed"
    elif is_page(response.body):
        answer.reason = f"it answered {response.status} with a web page: it is no APM Server"
    return answer


def is_page(body: bytes) -> bool:
    """Whether a good answer is that of a portal or another server, which has taken no events."""
    return body.lstrip().startswith(b"<")


def _version(body: bytes) -> tuple[int, ...]:
    """The numbers of the version in the answer to ``GET /``: ``8.12.2-SNAPSHOT`` is 8, 12, 2."""
    found = parse_json(body.decode("utf-8", "replace"))
    if isinstance(found, dict) and isinstance(found.get("ok"), dict):  # as 6.x has it
        found = found["ok"]
    text = found.get("version") if isinstance(found, dict) else None
    numbers = text.partition("-")[0].split(".") if isinstance(text, str) else []
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in numbers):
        return ()
    return tuple(map(int, numbers))


def _read_errors(answer: Answer, body: bytes) -> None:
    found = parse_json(body.decode("utf-8", "replace"))
    if not isinstance(found, dict):
        return
    accepted = found.get("accepted")
    if isinstance(accepted, int) and accepted >= 0:
        answer.accepted = accepted
    errors = found.get("errors")
    for error in errors if isinstance(errors, list) else [found.get("error")]:
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            # The document beside it is an event and may hold anything: it is never kept.
            answer.errors.append(message[:300])


class _Json:
    """What the C scanner asks about; the ``json`` package itself would bring ``re``."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def parse_json(text: str) -> object:
    """The JSON value the text begins with, None when it is none."""
    from _json import make_scanner

    try:
        return make_scanner(_Json)(text.lstrip(), 0)[0]  # type: ignore[arg-type]
    except (StopIteration, ValueError, RecursionError):
        return None
