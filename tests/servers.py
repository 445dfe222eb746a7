"""Real APM Servers of every temper, on loopback: what they do is said by a :class:`Behaviour`."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property


@dataclass
class Request:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    at: float

    @cached_property
    def lines(self) -> list[dict]:
        body = gzip.decompress(self.raw) if self.headers.get("content-encoding") == "gzip" else self.raw
        return [json.loads(line) for line in body.splitlines()]

    @property
    def events(self) -> list[dict]:
        return self.lines[1:]


@dataclass
class Server:
    """``answers`` are given in turn, the last one for ever: a status, (status, body), or the name of a misdeed:

    ``hang`` (reads, never answers), ``deaf`` (accepts, never reads), ``drip`` (one byte each 50 ms), ``reset``
    (reads, then resets), ``close`` (answers 202, then closes without saying so), ``early`` (413 before it has read).

    ``info`` is the answer to ``GET /``, in the same words; who asks that is in ``questions``. None: as any request.
    """

    answers: list = field(default_factory=lambda: [202])
    tls: ssl.SSLContext | None = None
    info: object = (200, {"version": "8.17.0"})
    questions: list[Request] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __enter__(self) -> Server:  # noqa: PYI034
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        self.ended = threading.Event()
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for sock in [self.listener, *self.open]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(5)
        for sock in [self.listener, *self.open]:
            sock.close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def events(self) -> list[dict]:
        return [event for request in list(self.requests) for event in request.events]

    def wait_for(self, condition, timeout: float = 10) -> bool:
        """Until the condition, called with the server, holds."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self), timeout)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(sock)
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.answers[0] == "deaf":
                self.ended.wait()
                return
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self.open.append(sock)
            stream = sock.makefile("rb")
            while self._one(sock, stream, number):
                pass
        except (OSError, ValueError):
            pass

    def _one(self, sock: socket.socket, stream, number: int) -> bool:
        line = stream.readline().decode().strip()
        if not line:
            return False
        headers = {}
        for raw in iter(stream.readline, b"\r\n"):
            name, _, value = raw.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if self.info is not None and line.startswith("GET / "):
            with self.changed:
                self.questions.append(Request(line, headers, b"", number, time.monotonic()))
                self.changed.notify_all()
            return self._answer(sock, self.info)
        with self.changed:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "early":
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
            return False
        body = stream.read(int(headers.get("content-length", "0")))
        with self.changed:
            self.keep(Request(line, headers, body, number, time.monotonic()), answer)
            self.changed.notify_all()
        return self._answer(sock, answer)

    def keep(self, request: Request, answer) -> None:
        """A request was read and is about to be answered so."""
        self.requests.append(request)

    def _answer(self, sock: socket.socket, answer) -> bool:
        if answer == "hang":
            self.ended.wait()
            return False
        if answer == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            return False
        if answer == "drip":
            for letter in b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"x" * 10_000:
                if self.ended.wait(0.05):
                    break
                sock.sendall(bytes([letter]))
            return False
        if isinstance(answer, bytes):
            sock.sendall(answer)
            return True
        status, text = (202, "") if answer == "close" else answer if isinstance(answer, tuple) else (answer, "")
        body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
        close = "Connection: Close\r\n" if status >= 400 else ""
        head = f"HTTP/1.1 {status} X\r\n{close}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        if answer == "close" or close:
            sock.shutdown(socket.SHUT_RDWR)
            return False
        return True


def refused_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
