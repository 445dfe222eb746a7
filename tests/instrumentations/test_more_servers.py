"""Other servers: twenty requests are twenty transactions, whatever ends the server."""

from __future__ import annotations

import re
import socket
import sys
from difflib import unified_diff
from typing import Any

import pytest
from tests.instrumentations.served import Ended, Served, compare
from tests.receiver import Sink

WAITRESS = ("-m", "waitress", "--listen", "127.0.0.1:0")
HYPERCORN = ("-m", "hypercorn", "-b", "127.0.0.1:0", "--access-logfile", "-")
DAPHNE = ("-m", "daphne", "-b", "127.0.0.1", "-p", "0", "--access-log", "-")
GRANIAN = ("-m", "granian", "--host", "127.0.0.1", "--port", "{port}", "--access-log")
UWSGI = (
    *("-c", "import sys, pyuwsgi; sys.exit(pyuwsgi.run())", "--http-socket", "127.0.0.1:0", "--die-on-term"),
    *("--need-app", "--log-format", "%(method) %(uri) %(status)"),
)
UWSGI_WORKERS = (*UWSGI, "--master", "--processes", "2")
#: Name -> command, and the text that each worker writes once it serves, with how many there are.
SERVERS: dict[str, tuple[tuple[str, ...], tuple[str, int]]] = {
    "waitress": (WAITRESS, ("", 0)),
    "hypercorn asgi": ((*HYPERCORN, "-w", "0"), ("Running on", 1)),
    "hypercorn wsgi": ((*HYPERCORN, "-w", "0"), ("Running on", 1)),
    "hypercorn asgi workers": ((*HYPERCORN, "-w", "2"), ("Running on", 2)),
    "hypercorn wsgi workers": ((*HYPERCORN, "-w", "2"), ("Running on", 2)),
    "daphne asgi": (DAPHNE, ("Listening on TCP", 1)),
    "granian asgi": ((*GRANIAN, "--interface", "asgi"), ("Started worker", 1)),
    "granian asgi workers": ((*GRANIAN, "--interface", "asginl", "--workers", "2"), ("Started worker", 2)),
    "granian wsgi": ((*GRANIAN, "--interface", "wsgi"), ("Started worker", 1)),
    "granian wsgi workers": ((*GRANIAN, "--interface", "wsgi", "--workers", "2"), ("Started worker", 2)),
    "gevent": (("-m", "serve_green", "gevent"), ("", 0)),
    "eventlet": (("-m", "serve_green", "eventlet"), ("", 0)),
    "uwsgi": ((*UWSGI, "--module"), ("WSGI app 0", 1)),
    "uwsgi workers": ((*UWSGI_WORKERS, "--module"), ("spawned uWSGI worker", 2)),
    "uwsgi workers lazy": ((*UWSGI_WORKERS, "--lazy-apps", "--module"), ("WSGI app 0", 2)),
    "uwsgi workers threads": (
        (*UWSGI_WORKERS, "--enable-threads", "--threads", "2", "--module"),
        ("spawned uWSGI worker", 2),
    ),
}
# The last granian for Python 3.9 (2.5.7) does not always end when it is told to, with ASGI; bare neither.
if sys.version_info < (3, 10):
    SERVERS = {name: server for name, server in SERVERS.items() if "granian asgi" not in name}
#: Servers whose first process answers requests.
ALONE = ("waitress", "hypercorn asgi", "hypercorn wsgi", "daphne asgi", "uwsgi", "gevent", "eventlet")
#: Servers that end by the signal itself, or end their workers so, in the middle of whatever they do.
KILLED = ("waitress", "gevent", "eventlet", *(name for name in SERVERS if "uwsgi" in name))
ALL = pytest.mark.parametrize("server", SERVERS)
COUNT = 20


def options(server: str, app: str) -> tuple[list[str], dict[str, Any]]:
    """The command, and what else it takes to know that it serves."""
    words, ready = SERVERS[server]
    with socket.socket() as free:  # for a server that does not tell which port it has been given
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [word.format(port=port) for word in words] + [app], {"ready": ready}


def framework(server: str) -> str:
    return "starlette_shop:app" if "asgi" in server else "flask_shop:app"


@pytest.mark.parametrize("app", ["framework", "plain"])
@ALL
def test_twenty_requests(server, app):
    """The same answers, output, log and exit status as bare; one transaction per request, from who answered it."""
    plain = "plain_asgi:app" if "asgi" in server else "plain_wsgi:app"
    words, more = options(server, framework(server) if app == "framework" else plain)
    with Ended(*words, **more) as served:
        expected = [repr(served.ask("GET", f"/items/{number}")) for number in range(COUNT)]
        served.settle()
        status, log = served.end(), served.log
    with Sink() as sink, Ended(*words, sink=sink, **more) as served:
        traces = [served.new_trace() for _ in range(COUNT)]
        answers = [repr(served.ask("GET", f"/items/{number}", [traces[number][1]])) for number in range(COUNT)]
        assert answers == expected
        served.settle()
        pids = served.processes()
        served.wait(lambda: all(trace.transactions for trace, _ in traces))
        assert served.end() == status
        assert served.log == log, "\n".join(unified_diff(log, served.log, "bare", "traced"))
        sink.wait_idle()
        routes = {"flask": "/items/<int:id>", "starl": "/items/{id}"}
        name = f"GET {routes[framework(server)[:5]]}" if app == "framework" else "GET unknown route"
        assert [trace.transaction["name"] for trace, _ in traces] == [name] * COUNT
        # Neither the processes that only watch nor the program itself is a unit of work.
        assert [transaction["type"] for transaction in sink.transactions] == ["request"] * COUNT
        # Nor do two processes draw the same ids, however the one has been forked from the other.
        assert len({event["id"] for event in (*sink.transactions, *sink.spans)}) == COUNT * (1 + (app == "framework"))
        reporting = {metadata["process"]["pid"] for metadata, _ in sink.metadata}
        assert reporting <= pids
        assert (served._process.pid in reporting) == (server in ALONE)


@ALL
def test_ended_right_after_the_answers(server):
    """SIGTERM loses nothing: it is sent by the end, or by who comes after where the server is killed by it."""
    words, more = options(server, framework(server))
    with Sink() as sink, Ended(*words, sink=sink, **more) as served:
        traces = [served.new_trace() for _ in range(COUNT)]
        for number, (_, header) in enumerate(traces):
            served.ask("GET", f"/items/{number}", [header])
        served.end()
        if server in KILLED:
            served.flush()
        sink.wait_idle()
        assert [len(trace.transactions) for trace, _ in traces] == [1] * COUNT
        assert len(sink.transactions) == COUNT
        assert [len(trace.spans) for trace, _ in traces] == [1] * COUNT


FLASK = {
    ("GET", "/items/3?x=1"): "GET /items/<int:id> | HTTP 2xx | success",
    ("GET", "/nothing/here"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/boom/1"): "GET /boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/stream/3"): "GET /stream/<int:count> | HTTP 2xx | success",
    ("GET", "/file"): "GET /file | HTTP 2xx | success",
    ("POST", "/upload", (), b"x" * 300_000): "POST /upload | HTTP 2xx | success",
}
STARLETTE = {
    ("GET", "/items/3?x=1"): "GET /items/{id} | HTTP 2xx | success",
    ("GET", "/nothing"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/boom"): "GET /boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/stream/3"): "GET /stream/{count} | HTTP 2xx | success",
    ("POST", "/upload", (), b"x" * 300_000): "POST /upload | HTTP 2xx | success",
}


@pytest.mark.parametrize("server", [name for name in SERVERS if "granian" not in name])
def test_requests_of_every_kind(server):
    requests = STARLETTE if "asgi" in server else FLASK
    words, more = options(server, framework(server))
    assert compare(words, requests, kind=Ended, **more) == requests


def test_no_request_waits_for_modules_of_ours():
    """They are loaded when the application is handed to the server, and not before."""
    words = """import sys, waitress.server
ours = lambda: [name for name in sys.modules if name.startswith("apm_run.")]
idle = ours()
server = waitress.server.create_server(lambda environ, start: start("200 OK", []) and [], listen="127.0.0.1:0")
before = ours()
assert "apm_run.export.worker" in before and "apm_run.export.worker" not in idle
server.application({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "127.0.0.1"}, print)
assert ours() == before, set(ours()) - set(before)
"""
    with Sink() as sink:
        assert Served("-c", words, sink=sink).run() == "200 OK []\n"
        assert len(sink.wait(lambda sink: sink.transactions)) == 1


def test_waitress_on_two_sockets():
    """One application behind several servers: a request is still one transaction."""
    with Sink() as sink, Served(*WAITRESS, "--listen", "127.0.0.1:0", "flask_shop:app", sink=sink) as served:
        ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", served.output)}
        assert len(ports) == 2
        for served.port in sorted(ports):
            assert served.trace("GET", "/items/3")[1].line() == "GET /items/<int:id> | HTTP 2xx | success"
        sink.wait_idle()
        assert len(sink.transactions) == 2
