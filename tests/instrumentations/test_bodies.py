"""Bodies are shown as the program has read them, and reading them is as without us (spec 22, capture_body)."""

from __future__ import annotations

import socket

import pytest
from tests.instrumentations import test_more_servers
from tests.instrumentations.served import Served, compare
from tests.receiver import Sink

SERVERS = {
    "gunicorn": ("-m", "gunicorn", "-b", "127.0.0.1:0", "--threads", "4", "secrets_flask:app"),
    "gunicorn-sync": ("-m", "gunicorn", "-b", "127.0.0.1:0", "secrets_flask:app"),
    "waitress": ("-m", "waitress", "--listen=127.0.0.1:0", "secrets_flask:app"),
    "werkzeug": ("-m", "flask", "--app", "secrets_flask:app", "run", "--port", "0"),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "secrets_starlette:app"),
    "hypercorn": ("-m", "hypercorn", "-b", "127.0.0.1:0", "secrets_starlette:app"),
}
OTHERS = ("hypercorn wsgi", "daphne asgi", "granian asgi", "granian wsgi", "gevent", "eventlet", "uwsgi")
TRUSTING = ("--trusted-proxy=127.0.0.1", "--trusted-proxy-headers=x-forwarded-for")
OPTIONS = {"ELASTIC_APM_CAPTURE_BODY": "all"}
TEXT = ("Content-Type", "text/plain")
MEGABYTE = 1 << 20


@pytest.fixture(scope="module", params=SERVERS)
def served(request):
    with Sink() as sink, Served(*SERVERS[request.param], sink=sink, env=OPTIONS) as served:
        yield served


def body(trace):
    return trace.transaction["context"]["request"].get("body")


def test_what_is_not_read_is_not_shown(served):
    answer, trace = served.trace("POST", "/ignore", [TEXT], b"abc" * 1000)
    assert answer.body == b"not read"
    assert body(trace) is None


def test_what_is_read_in_part_is_shown_in_part(served):
    answer, trace = served.trace("POST", "/part", [TEXT], b"abcdefgh" * 10)
    assert answer.body == b"abcde"
    # An ASGI server gives pieces as they come; a WSGI application reads as far as it likes.
    assert body(trace).startswith("abcde")
    if "wsgi" in str(served.command) or "flask" in str(served.command):
        assert len(body(trace)) <= len(b"abcdefgh" * 10)


def test_what_streams_through_streams_through(served):
    data = bytes(range(48, 90)) * 50_000
    answer, trace = served.trace("POST", "/pass", [TEXT], data)
    assert answer.body == data
    assert body(trace) == data[:9_999].decode() + "\u2026"


def test_a_chunked_body(served):
    trace, header = served.new_trace()
    head = f"POST /pass HTTP/1.1\r\nHost: x\r\n{header[0]}: {header[1]}\r\nContent-Type: text/plain\r\n"
    chunks = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    raw = served.raw((head + chunks).encode())
    served.wait(lambda: trace.transactions)
    if b"abc" in raw:
        assert body(trace) == "abcdefg"
    else:  # a program that does not know where it ends does not read it
        assert body(trace) in (None, "[REDACTED]")


def test_a_client_that_leaves_in_the_middle_of_its_body(served):
    trace, header = served.new_trace()
    head = f"POST /memory HTTP/1.1\r\nHost: x\r\n{header[0]}: {header[1]}\r\nContent-Type: text/plain\r\n"
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\nabcdef".encode())
    # waitress calls no application for half a body, and is asked again to see that it lives.
    if "waitress" not in str(served.command):
        served.wait(lambda: trace.transactions)
        assert trace.transaction["context"]["request"].get("body") in (None, "abcdef")
        assert not [error for error in trace.errors if "apm_run" in str(error)]
    assert served.ask("POST", "/part", [TEXT], b"abcdefgh").body == b"abcde"


def test_a_huge_upload_leaves_the_memory_flat(served):
    """Issue 4: never consume or buffer."""
    if "waitress" in str(served.command):
        pytest.skip("waitress itself keeps uploads, in a file")
    small = int(served.ask("POST", "/memory", [TEXT], b"x" * MEGABYTE).body)
    large = int(served.ask("POST", "/memory", [TEXT], b"x" * (100 * MEGABYTE)).body)
    assert large - small < 30 * MEGABYTE


@pytest.mark.parametrize(
    "command",
    [
        (*SERVERS["waitress"][:2], *TRUSTING, *SERVERS["waitress"][2:]),
        (*SERVERS["uvicorn"], "--proxy-headers"),
    ],
    ids=["waitress", "uvicorn"],
)
def test_the_address_is_that_of_the_socket(command):
    """Spec 6: socket.remote_address must come from the socket, not from Forwarded headers."""
    with Sink() as sink, Served(*command, sink=sink) as served:
        answer, trace = served.trace("GET", "/who", [("X-Forwarded-For", "203.0.113.9")])
        assert answer.body == b"203.0.113.9"
        request = trace.transaction["context"]["request"]
        assert request["socket"] == {"remote_address": "127.0.0.1"}
        assert request["headers"]["x-forwarded-for"] == "203.0.113.9"


@pytest.mark.parametrize("server", OTHERS)
def test_other_servers(server):
    """Their inputs are objects of their own, some of them implemented in C."""
    if server not in test_more_servers.SERVERS:
        pytest.skip("this release of granian does not always end")
    words, more = test_more_servers.options(server, f"secrets_{'starlette' if 'asgi' in server else 'flask'}:app")
    data = b"line\n" * 5_000
    with Served(*words, **more) as served:
        expected = [served.ask("POST", path, [TEXT], data).body for path in ("/part", "/pass")]
    with Sink() as sink, Served(*words, sink=sink, env=OPTIONS, **more) as served:
        part, seen_part = served.trace("POST", "/part", [TEXT], data)
        whole, seen_whole = served.trace("POST", "/pass", [TEXT], data)
        assert [part.body, whole.body] == expected == [data[:5], data]
        assert body(seen_part).startswith("line\n")
        assert body(seen_whole) == data[:9_999].decode() + "\u2026"


@pytest.mark.parametrize("name", SERVERS)
def test_bare_and_traced_are_the_same(name):
    data = b"line\n" * 1000
    route = "{kind}" if "starlette" in str(SERVERS[name]) else "<kind>"
    requests = {
        ("POST", "/part", (TEXT,), data): "POST /part | HTTP 2xx | success",
        ("POST", "/pass", (TEXT,), data): "POST /pass | HTTP 2xx | success",
        ("POST", "/ignore", (TEXT,), data): "POST /ignore | HTTP 2xx | success",
        ("POST", "/take/form", (("Content-Type", "application/x-www-form-urlencoded"),), b"a=1&password=2"): (
            f"POST /take/{route} | HTTP 2xx | success"
        ),
    }
    assert compare(SERVERS[name], requests, env=OPTIONS) == requests
