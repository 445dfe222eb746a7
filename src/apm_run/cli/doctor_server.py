"""``apm-run doctor``: the way to the server, step by step, as the agent goes it."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import time
from email.utils import parsedate_to_datetime

from apm_run.cli.doctor_findings import Finding
from apm_run.export import trust
from apm_run.export.address import Address, proxy_for
from apm_run.export.connection import Unsent
from apm_run.export.transport import PATH, Transport, _proxy_authorization, is_page
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.config import Settings

#: Seconds between the clocks that timelines show.
_SKEW = 10.0

#: Part of a reason, OpenSSL's or ours -> what to do.
_FIXES = (
    ("expired", "renew the server's certificate, or correct this machine's clock"),
    ("not yet valid", "correct this machine's clock"),
    ("mismatch", "write in server_url a name that the certificate is made out to"),
    ("not valid for", "write in server_url a name that the certificate is made out to"),
    ("the proxy answered 407", "write user and password into the proxy's variable: http://USER:PASSWORD@HOST:PORT"),
    ("the proxy answered", "see whether the proxy may reach the server, or name the server's host in no_proxy"),
    ("wrong version number", "the server speaks plain HTTP here: write http:// in server_url"),
    ("record layer failure", "the server speaks plain HTTP here: write http:// in server_url"),
    ("certificate", "name the file of its authority in server_ca_cert_file, or its own certificate in server_cert"),
)


#: What servers say to plain HTTP where they want TLS: Go's (APM Server), nginx, Apache.
_WANTS_TLS = (b"HTTP request to an HTTPS server", b"HTTP request was sent to HTTPS port", b"HTTP to an SSL-enabled")

_NO_APM_SERVER = "is it an APM Server? correct host and path of server_url"


#: What a system says that lets nobody out.
_CLOSED = (errno.ENETUNREACH, errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT)


class Stop(Exception):
    """A step has failed: those behind it make no sense."""


class Server:
    """The checks of one server; :attr:`findings` are their results.

    :ivar facts: what the server says of itself: ``url``, ``proxy``, ``version``, ``skew_s``.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.findings: list[Finding] = []
        self.facts: dict[str, Any] = {"url": None, "proxy": None, "version": None, "skew_s": None}
        self._settings = settings
        self._environ = environ
        self._is_default = settings.origin("server_url") == "default"
        self._address: Address
        self._proxy: Address | None = None
        self._credentials = ""

    def check(self) -> None:
        """Go through all steps, as far as they lead."""
        try:
            self._resolve()
            reach = self._proxy or self._address
            self._dns(reach)
            connection = self._secure(self._connect(reach))
            self._hello(connection)
            self._authorised()
        except Stop:
            return

    def _ok(self, name: str, text: str) -> None:
        self.findings.append(Finding("server", name, "ok", text))

    def _note(self, name: str, state: str, text: str, fix: str) -> None:
        self.findings.append(Finding("server", name, state, text, fix))

    def _stop(self, name: str, text: str, fix: str) -> Stop:
        self._note(name, "problem", text, fix)
        return Stop()

    def _resolve(self) -> None:
        try:
            transport = Transport(self._settings, self._environ)
            self._address = transport.address
            self._credentials = transport.credentials.decode("latin-1").rstrip()
            self._proxy = proxy_for(self._address, self._environ)
        except ValueError as error:
            what = str(error) if "_proxy" in str(error) else f"server_url can not be used: {error}"
            raise self._stop("url", what, f"correct {what.partition(' ')[0]}, where it is set") from None
        through = f", through the proxy {self._proxy}" if self._proxy else ""
        origin = self._settings.origin("server_url")
        self.facts.update(url=str(self._address), proxy=str(self._proxy) if self._proxy else None)
        self._ok("url", f"{self._address} ({origin}){through}")

    def _dns(self, reach: Address) -> None:
        try:
            found = socket.getaddrinfo(reach.host, reach.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            fix = "correct the host name in server_url, or this machine's name resolution"
            raise self._stop("dns", f"{reach.host} has no address: {reason}", fix) from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._ok("dns", f"{reach.host} is {', '.join(addresses)}" if addresses != [reach.host] else "not needed")

    def _connect(self, reach: Address, name: str = "tcp") -> socket.socket:
        try:
            sock = socket.create_connection((reach.host, reach.port), self._settings.server_timeout)
        except OSError as error:
            slow = isinstance(error, TimeoutError) or not error.errno
            reason = f"no connection in {self._settings.server_timeout:g} s" if slow else str(error.strerror).lower()
            text = f"{reach.host} port {reach.port}: {reason}"
            fix = "start the server, correct the port in server_url, or open the firewall"
            if error.errno in _CLOSED:
                fix = "this user, unit or container may not go there: see its network, IPAddressDeny=, PrivateNetwork="
            if self._proxy is not None:
                text = f"the proxy, {text}"
                fix = f"correct {self._address.scheme}_proxy in the environment, or name the server's host in no_proxy"
            elif self._is_default:
                text += "; no server was named, this is the default"
                fix = "name your server in ELASTIC_APM_SERVER_URL, or see the data here with apm-run --local COMMAND"
            raise self._stop(name, text, fix) from None
        if name == "tcp":
            self._ok("tcp", f"connected to port {reach.port}")
        return sock

    def _secure(self, sock: socket.socket, name: str = "tls") -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._address.host, self._address.port)
        connection.sock = sock
        if self._address.scheme == "http":
            return connection
        try:
            if self._proxy is not None:
                self._tunnel(sock, self._proxy)
            context, pinned = trust.context(self._settings, self._environ)
            secured = context.wrap_socket(sock, server_hostname=self._address.host)  # type: ignore[attr-defined]
            connection.sock = secured
            if pinned is not None and secured.getpeercert(True) != pinned:
                raise Unsent("tls", "its certificate is not the one in server_cert")
        except (OSError, Unsent, ValueError) as error:
            sock.close()
            reason = _tls_reason(error)
            low = reason.lower()
            fix = next((fix for part, fix in _FIXES if part in low), "see whether it is this server that answers")
            raise self._stop(name, reason, fix) from None
        if name == "tls":
            verified = "certificate verified" if self._settings.verify_server_cert else "certificate NOT verified"
            self._ok("tls", f"{secured.version()}, {'certificate pinned' if pinned else verified}")
        return connection

    def _tunnel(self, sock: socket.socket, proxy: Address) -> None:
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        target = f"{host}:{self._address.port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{_proxy_authorization(proxy)}\r\n"
        sock.sendall(head.encode("latin-1"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < 65536:
            more = sock.recv(4096)
            if not more:
                break
            answer += more
        status = answer.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise Unsent("proxy", f"the proxy answered {b''.join(status).decode('latin-1') or 'nothing'}")

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, name: str) -> Answer:
        headers = {"User-Agent": f"apm-agent-python/{__version__} (apm-run doctor)", "Accept": "application/json"}
        if self._credentials:
            header, _, value = self._credentials.partition(": ")
            headers[header] = value
        if body:
            headers["Content-Type"] = "application/x-ndjson"
        target = self._address.path + path
        if self._proxy is not None and self._address.scheme == "http":
            target = f"http://{self._address.authority}{target}"
            header, _, value = _proxy_authorization(self._proxy).rstrip().partition(": ")
            if value:
                headers[header] = value
        try:
            connection.sock.settimeout(self._settings.server_timeout)
            connection.request(method, target, body or None, headers)
            with connection.getresponse() as response:
                return Answer(response.status, response.headers.get("Date"), response.read(65536))
        except TimeoutError:
            text = f"it is connected, but does not answer within {self._settings.server_timeout:g} s"
            raise self._stop(name, text, "see the server's own log; is it an APM Server?") from None
        except (OSError, http.client.HTTPException) as error:
            text = f"it broke off: {_broken(error)}"
            fix = "is it an APM Server? and does it want https in server_url?"
            raise self._stop(name, text, fix) from None
        finally:
            connection.close()

    def _hello(self, connection: http.client.HTTPConnection) -> None:
        answer = self._ask(connection, "GET", "/", b"", "http")
        self._clock(answer.date)
        self._of_proxy(answer, "http")
        if answer.status == 429 or answer.status >= 500:
            fix = "see the server's own log, and whether Elasticsearch behind it takes data"
            raise self._stop("http", f"GET / answered {answer.status}", fix)
        if any(mark in answer.body for mark in _WANTS_TLS):
            raise self._stop("http", "the server wants TLS", "write https:// in server_url")
        version = answer.json.get("version")
        if answer.status < 300 and is_page(answer.body):
            self._note("http", "note", f"GET / answered {answer.status} with a web page", "")
        elif isinstance(version, str):
            self.facts["version"] = version[:64]
            self._ok("http", f"APM Server {version[:64]}")
        elif answer.status < 300:
            self._ok("http", f"GET / answered {answer.status}, without a version")
        else:
            self._note("http", "note", f"GET / answered {answer.status}", "")
        if answer.json.get("publish_ready") is False:
            text = "the server is not ready to publish: it holds events back"
            self._note("ready", "warning", text, "see whether Elasticsearch is up and the integration installed")

    def _clock(self, date: str | None) -> None:
        try:
            skew = time.time() - parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError, IndexError):
            return
        self.facts["skew_s"] = round(skew)
        if abs(skew) <= _SKEW:
            self._ok("clock", "as the server's")
        else:
            way = "ahead of" if skew > 0 else "behind"
            text = f"this machine's clock is {abs(skew):.0f} s {way} the server's: data shows at the wrong time"
            self._note("clock", "warning", text, "synchronise the clocks (NTP)")

    def _authorised(self) -> None:
        reach = self._proxy or self._address
        connection = self._secure(self._connect(reach, "authorised"), "authorised")
        service = {"name": "apm-run-doctor", "agent": {"name": "python", "version": __version__}}
        body = json.dumps({"metadata": {"service": service}}).encode() + b"\n"
        answer = self._ask(connection, "POST", PATH, body, "authorised")
        status = answer.status
        self._of_proxy(answer, "authorised")
        if 200 <= status < 300 and is_page(answer.body):
            text = f"it answered {status} with a web page to POST {self._address.path}{PATH}: it takes no events"
            raise self._stop("authorised", text, _NO_APM_SERVER)
        if 200 <= status < 300:
            self._ok("authorised", f"{self._used()}: it takes events")
        elif status in (401, 403):
            text = f"it answered {status} with {self._used()}"
            fix = "set secret_token or api_key to what the server (or Kibana, for a key) was given"
            raise self._stop("authorised", text, fix)
        elif status == 404 or 300 <= status < 400:
            text = f"it answered {status} to POST {self._address.path}{PATH}"
            raise self._stop("authorised", text, _NO_APM_SERVER)
        elif status == 429 or status >= 500:
            text = f"it answered {status} to an empty request: it takes nothing just now"
            raise self._stop("authorised", text, "see the server's own log; events wait in the outbox meanwhile")
        else:
            fix = "is it an APM Server of version 7 or newer?"
            raise self._stop("authorised", f"it answered {status}{answer.reason}", fix)

    def _of_proxy(self, answer: Answer, name: str) -> None:
        """Stop where it is the proxy that refuses, and not the server behind it."""
        if self._proxy is not None and answer.status in (407, 502, 504):
            text = f"the proxy answered {answer.status}"
            raise self._stop(name, text, next(fix for part, fix in _FIXES if part in text))

    def _used(self) -> str:
        for name in ("api_key", "secret_token"):
            if getattr(self._settings, name):
                return f"the {name} ({self._settings.origin(name)})"
        return "user name and password of server_url" if self._address.userinfo else "no credentials"


class Answer:
    """What the server said."""

    def __init__(self, status: int, date: str | None, body: bytes) -> None:
        self.status = status
        self.date = date
        self.body = body
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        self.json: dict[str, Any] = found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """The server's own words behind its status, if it has any."""
        errors = self.json.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else self.json.get("error")
        message = first.get("message") if isinstance(first, dict) else first
        return f": {str(message)[:200]}" if message else ", without a reason"


def _broken(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, http.client.BadStatusLine):
        return "what it says is no HTTP"
    return getattr(error, "strerror", None) or type(error).__name__


def _tls_reason(error: Exception) -> str:
    verify = getattr(error, "verify_message", None)
    if verify:
        return f"the certificate was refused: {verify}"
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return str(getattr(error, "strerror", None) or error)
