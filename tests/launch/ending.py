"""What the programs that end in many ways do before: requests to an application, each with a database span."""

from __future__ import annotations

import os
import sqlite3
from wsgiref.handlers import SimpleHandler


def application(environ, start_response):
    connection = sqlite3.connect(":memory:")
    connection.execute("select 1")
    connection.close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


class Nowhere:
    """The client's end of a connection that nobody reads."""

    def write(self, data):
        return len(data)

    def read(self, *_):
        return b""

    readline = read

    def flush(self):
        pass


def request(number, served=None, query=""):
    """Serve one request, as a server would; traced as a transaction of type ``request``."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/{os.getpid()}/{number}",
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.0",
    }
    nowhere = Nowhere()
    SimpleHandler(nowhere, nowhere, nowhere, environ, multithread=True).run(served or application)


def requests(first=0, count=10):
    """Serve so many of them."""
    for number in range(first, first + count):
        request(number)
