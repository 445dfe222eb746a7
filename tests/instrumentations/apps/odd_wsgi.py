"""WSGI applications that keep to PEP 3333 in ways of their own, chosen by the path; a callable instance."""

import sqlite3
import sys
from wsgiref.util import FileWrapper


def query(value):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"SELECT {value} FROM sqlite_master")
    connection.close()


HEADERS = [("Content-Type", "text/plain")]


def generator(environ, start_response):
    """It runs only when it is iterated, its start_response too."""
    query(1)
    start_response("201 Created", HEADERS)
    yield b"late "
    query(2)
    yield b"start"


def writer(environ, start_response):
    write = start_response("200 OK", HEADERS)
    write(b"written ")
    query(1)
    write(b"before ")
    return [b"returned"]


def keywords(environ, start_response):
    start_response(status="202 Accepted", headers=[*HEADERS], exc_info=None)
    return (b"keywords",)


def replaced(environ, start_response):
    """An error after start_response, before anything was sent: another answer takes its place."""
    start_response("200 OK", HEADERS)
    try:
        raise LookupError("replaced")
    except LookupError:
        start_response("503 Service Unavailable", HEADERS, sys.exc_info())
    return [b"replaced"]


def too_late(environ, start_response):
    """The same after the head was sent: the server raises the exception again."""
    write = start_response("200 OK", HEADERS)
    write(b"sent;")
    try:
        raise LookupError("too late")
    except LookupError:
        start_response("500 Internal Server Error", HEADERS, sys.exc_info())
    return [b"never"]


def twice(environ, start_response):
    start_response("200 OK", HEADERS)
    start_response("200 OK", HEADERS)
    return [b"never"]


def raising(environ, start_response):
    raise ArithmeticError("raised")


def started(environ, start_response):
    start_response("200 OK", HEADERS)
    raise ArithmeticError("raised after start_response")


def nothing(environ, start_response):
    start_response("200 OK", HEADERS)


def never_started(environ, start_response):
    return [b"no status"]


class Pieces:
    """Iterable, not an iterator, with a length and attributes."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def __iter__(self):
        query(1)
        return iter(self.pieces)

    def __len__(self):
        return len(self.pieces)

    def close(self):
        query(2)


def sized(environ, start_response):
    start_response("200 OK", [*HEADERS])
    return Pieces(b"only one piece")


def file(environ, start_response):
    start_response("200 OK", HEADERS)
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)  # a server need not have one
    return wrapper(open(__file__, "rb"))


def early(environ, start_response):
    start_response("204 No Content", [])
    return ()


class Odd:
    """Chooses by the last part of the path."""

    def __call__(self, environ, start_response):
        name = environ["PATH_INFO"].rpartition("/")[2]
        return globals()[name](environ, start_response)


app = Odd()
