"""A real HTTP server in a thread, for the clients' tests: it answers by its path and keeps what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """``/status/N``, ``/redirect/PATH``, ``/slow`` (until the peer closes), ``/reset``, ``/garbage``, ``/echo``."""

    protocol_version = "HTTP/1.1"
    server: Peer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, list(self.headers.items()), body))
        _, kind, *rest = self.path.partition("?")[0].split("/")
        if kind == "status":
            self._send(int(rest[0]))
        elif kind == "redirect":
            self._send(302, ("Location", f"/{'/'.join(rest)}"))
        elif kind == "elsewhere":
            self._send(302, ("Location", f"http://localhost:{self.server.port}/{'/'.join(rest)}"))
        elif kind == "slow":
            self.server.asked.set()
            self.server.release.wait(30)
            self.close_connection = True
        elif kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif kind == "garbage":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
            self.close_connection = True
        elif kind == "continue":
            self.send_response_only(100)
            self.end_headers()
            self._send(200)
        elif kind == "close":
            self._send(200, ("Connection", "close"))
        else:
            self._send(200)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = answer

    def do_CONNECT(self) -> None:
        self.server.requests.append((self.command, self.path, list(self.headers.items()), b""))
        self.send_response_only(200)
        self.end_headers()
        self.close_connection = False

    def _send(self, status: int, *headers: tuple[str, str]) -> None:
        body = b"" if self.command == "HEAD" or status in (204, 304) else json.dumps({"status": status}).encode()
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Peer(ThreadingHTTPServer):
    """The server. ``requests``: (method, path, header pairs, body) of each request, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.asked = threading.Event()
        self.release = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what is tested."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sent(self, name: str) -> list[list[str]]:
        """The values of a header, per request."""
        return [[value for key, value in headers if key.lower() == name.lower()] for _, _, headers, _ in self.requests]


@contextmanager
def peer() -> Iterator[Peer]:
    """Run a server for the length of a ``with``."""
    server = Peer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def refusing() -> int:
    """A port of this host that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
