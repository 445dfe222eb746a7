"""One HTTP/1.1 connection: plain on the C socket, TLS on private copies of ``ssl`` and ``socket``.

Python's own ``http.client`` would do as well, at the price of ``email`` and thirty modules more; what we say to one
server with one kind of request is this page (docs/decisions/0002).
"""

from __future__ import annotations

import _socket
from _struct import Struct
from time import monotonic as _monotonic

from apm_run.export import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apm_run.export.address import Address

_CHUNK = 65536
#: Bytes that are sent at once. During a system call Python lets go of the interpreter; a busy program then keeps it for
#: 5 ms, or, where it makes many short ones of its own, for ever longer, and pays for waking us in vain at each of them.
_SENT = 1 << 20
#: So that the timeouts of a plain connection are the system's (``struct timeval``): setting them keeps the interpreter,
#: and what they are for is one system call, where Python's own take three.
_timeval = Struct("@ll")
#: What tells one socket from all others, on Linux.
_COOKIE = 57
_MAX_HEAD = 65536
_MAX_BODY = 1 << 20


class Unsent(Exception):
    """No answer. ``kind`` is refused, timeout (of a request that was begun), reset, tls, proxy or
    protocol; the text is for people."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Limit:
    """How long an exchange may take: in all, and from one sign of life of the server to the next.

    ``total`` and ``stage`` are seconds. Single bytes are no sign of life: a server that drips holds nobody.
    """

    __slots__ = ("deadline", "seen", "stage")

    # A class attribute: freezegun and the like replace the names of modules.
    clock: Callable[[], float] = staticmethod(_monotonic)

    def __init__(self, total: float, stage: float | None = None) -> None:
        self.stage = stage
        #: When the server was last seen to do something.
        self.seen = self.clock()
        self.deadline = self.seen + total

    def alive(self) -> None:
        """The server did something."""
        self.seen = self.clock()

    def left(self) -> float:
        """Seconds left; raises :class:`Unsent` when there are none."""
        now = self.clock()
        left = self.deadline - now
        if self.stage is not None:
            left = min(left, self.seen + self.stage - now)
        if left <= 0:
            raise Unsent("timeout", "it did not answer in time")
        return left


class Response:
    """What the server said."""

    __slots__ = ("body", "keep", "status")

    def __init__(self, status: int, body: bytes, keep: bool) -> None:
        self.status = status
        self.body = body
        self.keep = keep


class Connection:
    """A connection that requests are sent over one after another."""

    def __init__(self, address: Address, limit: Limit, undisturbed: bool = False) -> None:
        """Connect to the address, or to the proxy it is.

        :param undisturbed: no signal comes to the threads that use it: each one would begin the system's time anew.
        :raises Unsent: when that fails.
        """
        self._socket = _connect(address, limit)
        #: Whether the system keeps the time that its calls may take; TLS leaves that to Python.
        self._timed = undisturbed and _times(self._socket)
        self._identity = _identity(self._socket)
        self._buffer = b""
        self.used = limit.clock()
        self.begun = False
        limit.alive()

    def secure(self, context: object, host: str, limit: Limit) -> bytes | None:
        """Do the TLS handshake; returns the server's certificate (DER)."""
        self._timed = False
        raw = self._within(limit, 0)
        try:
            # Bytes, since a str would import the idna codec.
            self._socket = context.wrap_socket(raw, server_hostname=host.encode("ascii"))  # type: ignore[attr-defined]
        except _socket.timeout:
            raise Unsent("timeout", "its TLS handshake was not done in time") from None
        except OSError as error:
            raise Unsent("tls", f"TLS: {_reason(error)}") from None
        limit.alive()
        certificate: bytes | None = self._socket.getpeercert(True)  # type: ignore[attr-defined]
        return certificate

    def is_usable(self, idle: float) -> bool:
        """Whether a request may go over it: idle for no longer than that, still ours, not closed by the server."""
        if Limit.clock() - self.used > idle or not self._is_ours():
            return False
        if not self._timed:
            self._socket.settimeout(0)
        try:
            # The C method, since an SSL socket refuses flags. There may be a session ticket to read; anything that a
            # plain connection has to say between two requests is wrong.
            data = _socket.socket.recv(self._socket, 1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
            return bool(data) and type(self._socket) is not _socket.socket
        except BlockingIOError:
            return True
        except OSError:
            return False

    def exchange(self, head: bytes, body: Sequence[bytes], limit: Limit) -> Response:
        """Send one request, read its answer.

        :raises Unsent: there is none.
        """
        self.begun = False
        try:
            self._send(head, limit)
            for part in body:
                self._send(part, limit)
        except Unsent as error:
            # A server that will not have the body answers before it ends, and closes.
            if error.kind != "reset" or not body:
                raise
        limit.alive()
        response = self._read_response(limit)
        self.used = limit.clock()
        return response

    def tunnel(self, head: bytes, limit: Limit) -> int:
        """Ask the proxy for a way through; returns its status."""
        self._send(head, limit)
        status = _parse_head(self._until(b"\r\n\r\n", limit))[0]
        self.begun = False
        limit.alive()
        return status

    def close(self) -> None:
        """Close it, unless the number stands for something else by now."""
        if not self._is_ours():
            # So that freeing the object closes nothing.
            _socket.socket.detach(self._socket)
            return
        try:
            self._socket.close()
        except OSError:
            pass

    def _is_ours(self) -> bool:
        return self._socket.fileno() >= 0 and _identity(self._socket) == self._identity

    def _ours(self) -> _socket.socket:
        if not self._is_ours():
            raise Unsent("reset", "the program closed our connection")
        return self._socket

    def _within(self, limit: Limit, option: int) -> _socket.socket:
        """Our socket, whose next call may take as long as is left.

        :param option: the kind of call.
        """
        sock, left = self._ours(), limit.left()
        if self._timed:
            sock.setsockopt(_socket.SOL_SOCKET, option, _timeval.pack(int(left), max(1, int(left % 1 * 1e6))))
        else:
            sock.settimeout(left)
        return sock

    def _send(self, data: bytes, limit: Limit) -> None:
        view = memoryview(data)
        while view:
            sock = self._within(limit, _socket.SO_SNDTIMEO)
            try:
                view = view[sock.send(view[:_SENT]) :]
            except (BlockingIOError, _socket.timeout):
                raise Unsent("timeout", "it stopped reading") from None
            except OSError as error:
                raise Unsent("reset", _reason(error)) from None

    def _receive(self, limit: Limit) -> bytes:
        sock = self._within(limit, _socket.SO_RCVTIMEO)
        try:
            data = sock.recv(_CHUNK)
        except (BlockingIOError, _socket.timeout):
            raise Unsent("timeout", "it did not answer in time") from None
        except OSError as error:
            raise Unsent("reset", _reason(error)) from None
        if data and not self.begun:
            self.begun = True
            limit.alive()
        return data

    def _read_response(self, limit: Limit) -> Response:
        while True:
            head = self._until(b"\r\n\r\n", limit)
            status, version, headers = _parse_head(head)
            if status >= 200:
                break
        body, whole = self._read_body(status, headers, limit)
        connection = headers.get("connection", "").lower()
        keep = whole and "close" not in connection and (version >= "HTTP/1.1" or "keep-alive" in connection)
        return Response(status, body, keep and not self._buffer)

    def _read_body(self, status: int, headers: dict[str, str], limit: Limit) -> tuple[bytes, bool]:
        """The body, and whether the connection can be used again."""
        if status in (204, 304):
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._read_chunks(limit)
        length = headers.get("content-length", "")
        if length.isdigit():
            size = min(int(length), _MAX_BODY)
            return self._exactly(size, limit), size == int(length)
        data = b""
        while len(data) < _MAX_BODY:
            more = self._buffer or self._receive(limit)
            self._buffer = b""
            if not more:
                break
            data += more
        return data, False

    def _read_chunks(self, limit: Limit) -> tuple[bytes, bool]:
        data = b""
        while len(data) < _MAX_BODY:
            size = _parse_size(self._until(b"\r\n", limit))
            if not size:
                while self._until(b"\r\n", limit) != b"\r\n":
                    pass
                return data, True
            data += self._exactly(size, limit)
            self._until(b"\r\n", limit)
        return data, False

    def _exactly(self, size: int, limit: Limit) -> bytes:
        while len(self._buffer) < size:
            self._buffer += self._more(limit)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _until(self, mark: bytes, limit: Limit) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > _MAX_HEAD:
                raise Unsent("protocol", "its answer is not HTTP")
            self._buffer += self._more(limit)
        end = self._buffer.index(mark) + len(mark)
        data, self._buffer = self._buffer[:end], self._buffer[end:]
        return data

    def _more(self, limit: Limit) -> bytes:
        data = self._receive(limit)
        if not data:
            raise Unsent("reset", "it closed the connection without an answer")
        return data


def _connect(address: Address, limit: Limit) -> _socket.socket:
    try:
        # Bytes, since a str would import the idna codec.
        found = _socket.getaddrinfo(address.host.encode("ascii"), address.port, 0, _socket.SOCK_STREAM)
    except OSError as error:
        raise Unsent("refused", f"{address.host}: {_reason(error)}") from None
    failure = Unsent("refused", f"{address.host} has no address")
    for tried, (family, kind, protocol, _, where) in enumerate(found):
        sock = _new_socket(family, kind, protocol)
        sock.settimeout(limit.left() / (len(found) - tried))
        try:
            sock.connect(where)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return sock
        except _socket.timeout:
            failure = Unsent("refused", "it could not be connected to in time")
        except OSError as error:
            failure = Unsent("refused", _reason(error))
        sock.close()
    raise failure


def _times(sock: _socket.socket) -> bool:
    """Leave it to the system how long calls may take, if it knows of that."""
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, _timeval.pack(1, 0))
    except OSError:
        return False
    sock.settimeout(None)
    return True


def _identity(sock: _socket.socket) -> object:
    """What its number stands for now. The socket's cookie, where there is one, is told without a system call's cost."""
    try:
        return sock.getsockopt(_socket.SOL_SOCKET, _COOKIE, 8)
    except OSError:
        return descriptors.identity(sock.fileno())


def _new_socket(family: int, kind: int, protocol: int) -> _socket.socket:
    try:
        sock = _socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unsent("refused", _reason(error)) from None
    if sock.fileno() > 2:
        return sock
    return _socket.socket(family, kind, protocol, descriptors.lift(sock.detach()))


def _parse_head(head: bytes) -> tuple[int, str, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/") or not status.isdigit():
        raise Unsent("protocol", "its answer is not HTTP")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status), version, headers


def _parse_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0].strip(), 16)
    except ValueError:
        raise Unsent("protocol", "its answer is not HTTP") from None


def _reason(error: OSError) -> str:
    return str(error.strerror or error)
