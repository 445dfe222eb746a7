"""WSGI servers of every kind: the same answers and the same log as bare, and one transaction per request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.instrumentations.served import APPS, Served, compare
from tests.receiver import Sink

GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:0", "--access-logfile", "-")
SERVERS = {
    "wsgiref": (APPS / "serve_wsgiref.py", "{}"),
    "wsgiref threads": (APPS / "serve_wsgiref.py", "{}", "threads"),
    "werkzeug": (APPS / "serve_werkzeug.py", "{}"),
    "gunicorn sync": (*GUNICORN, "{}"),
    "gunicorn gthread": (*GUNICORN, "--threads", "4", "{}"),
    "gunicorn gevent": (*GUNICORN, "-k", "gevent", "{}"),
    "gunicorn preload": (*GUNICORN, "--preload", "{}"),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "--interface", "wsgi", "{}"),
}
ALL = pytest.mark.parametrize("server", SERVERS)


def command(server: str, app: str) -> list[str]:
    return [str(word).format(app) for word in SERVERS[server]]


FLASK = {
    ("GET", "/items/3?x=1"): "GET /items/<int:id> | HTTP 2xx | success",
    ("HEAD", "/items/3"): "HEAD /items/<int:id> | HTTP 2xx | success",
    ("OPTIONS", "/items/3"): "OPTIONS /items/<int:id> | HTTP 2xx | success",
    ("PUT", "/items/3", (), b"{}"): "PUT /items/<int:id> | HTTP 2xx | success",
    ("GET", "/admin/users/bob"): "GET /admin/users/<name> | HTTP 2xx | success",
    ("GET", "/nothing/here"): "GET unknown route | HTTP 4xx | success",
    ("POST", "/items/3", (), b""): "POST unknown route | HTTP 4xx | success",
    ("GET", "/forbidden"): "GET /forbidden | HTTP 4xx | success",
    ("GET", "/handled"): "GET /handled | HTTP 4xx | success",
    ("GET", "/boom/1"): "GET /boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/moved"): "GET /moved | HTTP 3xx | success",
    ("GET", "/stream/3"): "GET /stream/<int:count> | HTTP 2xx | success",
    ("GET", "/file"): "GET /file | HTTP 2xx | success",
    ("POST", "/upload", (), b"x" * 300_000): "POST /upload | HTTP 2xx | success",
    ("GET", "/static/flask_shop.py"): "GET /static/<path:filename> | HTTP 4xx | success",
}


@ALL
def test_flask(server):
    assert compare(command(server, "flask_shop:app"), FLASK) == FLASK


ODD = {
    "generator": "HTTP 2xx | success",
    "writer": "HTTP 2xx | success",
    "keywords": "HTTP 2xx | success",
    "replaced": "HTTP 5xx | failure",
    "sized": "HTTP 2xx | success",
    "file": "HTTP 2xx | success",
    "early": "HTTP 2xx | success",
    "raising": "HTTP 5xx | failure | ArithmeticError(False)",
    "started": "HTTP 5xx | failure | ArithmeticError(False)",
    "too_late": "HTTP 2xx | failure | LookupError(False)",
    "twice": "HTTP 5xx | failure | AssertionError(False)",
    "nothing": "HTTP 5xx | failure",
}


@pytest.mark.parametrize("server", ["wsgiref", "werkzeug", "gunicorn sync", "gunicorn gthread"])
def test_odd_applications(server):
    requests = {("GET", f"/{name}"): f"GET unknown route | {line}" for name, line in ODD.items()}
    assert compare(command(server, "odd_wsgi:app"), requests) == requests


def test_spans_of_odd_applications():
    with Sink() as sink, Served(*command("gunicorn sync", "odd_wsgi:app"), sink=sink) as served:
        traces = {name: served.trace("GET", f"/{name}")[1] for name in ("generator", "writer", "sized")}
        statements = {
            name: sorted(span["context"]["db"]["statement"] for span in trace.spans) for name, trace in traces.items()
        }
    assert statements == {
        "generator": ["SELECT 1 FROM sqlite_master", "SELECT 2 FROM sqlite_master"],
        "writer": ["SELECT 1 FROM sqlite_master"],
        # What close() does comes after the end of the request, and still belongs to it.
        "sized": ["SELECT 1 FROM sqlite_master", "SELECT 2 FROM sqlite_master"],
    }


@pytest.mark.parametrize("app", ["flask_shop:app", "odd_wsgi:app"])
def test_development_server_with_reloader_and_debugger(app):
    requests = {
        "flask_shop:app": {
            ("GET", "/items/3"): "GET /items/<int:id> | HTTP 2xx | success",
            ("GET", "/nothing"): "GET unknown route | HTTP 4xx | success",
            ("GET", "/moved"): "GET /moved | HTTP 3xx | success",
        },
        "odd_wsgi:app": {
            ("GET", "/generator"): "GET unknown route | HTTP 2xx | success",
            ("GET", "/writer"): "GET unknown route | HTTP 2xx | success",
        },
    }[app]
    pin = {"WERKZEUG_DEBUG_PIN": "off"}
    assert compare((APPS / "serve_werkzeug.py", app, "debug"), requests, env=pin) == requests


def test_error_under_the_debugger():
    words = ("-m", "flask", "--app", "flask_shop", "run", "--debug", "--port", "0")
    with Sink() as sink, Served(*words, sink=sink) as served:
        answer, trace = served.trace("GET", "/boom/1")
        assert b"Werkzeug Debugger" in answer.body
        assert trace.line() == "GET /boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)"
        sink.wait_idle()
        # Neither the process that watches the files nor the server itself is a unit of work.
        assert {transaction["type"] for transaction in sink.transactions} == {"request"}


def test_flask_command_logs_as_bare():
    words = ("-m", "flask", "--app", "flask_shop", "run", "--port", "0")
    requests = {
        ("GET", "/boom/1"): "GET /boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)",
        ("GET", "/items/1"): "GET /items/<int:id> | HTTP 2xx | success",
    }
    assert compare(words, requests) == requests


def test_every_worker_reports():
    with Sink() as sink, Served(*GUNICORN, "-w", "3", "flask_shop:app", sink=sink) as served:
        traces = [served.new_trace() for _ in range(30)]
        for _, header in traces:
            served.ask("GET", "/work/1", [header])
        served.wait(lambda: all(trace.transactions for trace, _ in traces))
        assert {event["type"] for _, event in sink.metadata if "span_count" in event} == {"request"}
        assert len({metadata["process"]["pid"] for metadata, _ in sink.metadata}) > 1


@pytest.mark.parametrize("server", ["wsgiref threads", "werkzeug", "gunicorn gevent", "uvicorn"])
def test_many_at_once(server):
    with Sink() as sink, Served(*command(server, "flask_shop:app"), sink=sink) as served:
        traces = [served.new_trace() for _ in range(30)]
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(lambda number: served.ask("GET", f"/work/{number}", [traces[number][1]]), range(30)))
        served.wait(lambda: all(trace.transactions for trace, _ in traces))
        for number, (trace, _) in enumerate(traces):
            assert [s["context"]["db"]["statement"] for s in trace.spans] == [f"SELECT {number} FROM sqlite_master"] * 2
            assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}


CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/cgi-bin/shop",
    "PATH_INFO": "/items/3",
    "QUERY_STRING": "",
    "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "shop.example",
    "HTTP_X_NAME": "\xe4",
    "REMOTE_ADDR": "192.0.2.1",
}


def test_cgi():
    """One process, one request: the program is none besides."""
    program = APPS / "cgi_flask.py"
    expected = Served(program, env=CGI).run()
    with Sink() as sink:
        assert Served(program, env=CGI, sink=sink).run() == expected
        sink.wait(lambda sink: sink.transactions)
        assert sink.tree() == (
            "GET /items/<int:id> [request] success\n"  #
            "  SELECT FROM sqlite_master [db/sqlite/query] success"
        )
        url = sink.transactions[0]["context"]["request"]["url"]
        assert (url["full"], url["pathname"]) == ("http://shop.example/cgi-bin/shop/items/3", "/cgi-bin/shop/items/3")


IN_PROCESS = """
import httpx
from flask_shop import app

with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop.example") as client:
    print(client.get("/items/3").json())
print(app.test_client().get("/items/4").json)
"""


def test_calls_in_process():
    """A request of its own each, below the span of httpx or, from Flask's test client, as a trace of its own."""
    with Sink() as sink:
        assert Served("-c", IN_PROCESS, sink=sink).run() == "{'id': 3}\n{'id': 4}\n"
        sink.wait(lambda sink: len(sink.transactions) == 2)
        first, second = sink.transactions[:2]
        assert {first["name"], second["name"]} == {"GET /items/<int:id>"}
