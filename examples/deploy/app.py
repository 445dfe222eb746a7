"""A small shop that needs nothing but Python, as the examples of docs/how-to/deploy.md run it.

Listens on HOST:PORT (environment; 127.0.0.1:8000), says READY=1 to systemd where that waits for it, ends at SIGTERM.
"""

import os
import signal
import socket
import sqlite3
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

PRODUCTS = [("tea", 4), ("coffee", 7)]


class Quiet(WSGIRequestHandler):
    """Writes no access log."""

    def log_message(self, *_: object) -> None:
        pass


def application(environ, start_response):
    """GET /products, and GET /healthz for probes."""
    if environ["PATH_INFO"] == "/healthz":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok\n"]
    if environ["PATH_INFO"] != "/products":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found\n"]
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE products (name TEXT, price INTEGER)")
        database.executemany("INSERT INTO products VALUES (?, ?)", PRODUCTS)
        rows = database.execute("SELECT name, price FROM products").fetchall()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{name} {price}\n".encode() for name, price in rows]


def ready() -> None:
    """Tell the service manager, if there is one (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            notify.send(b"READY=1")


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # PID 1 has no default action for it
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    with make_server(host, port, application, handler_class=Quiet) as server:
        ready()
        server.serve_forever()


if __name__ == "__main__":
    main()
