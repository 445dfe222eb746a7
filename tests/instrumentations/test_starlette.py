"""Starlette behind uvicorn: what a request reports, and what it must not change."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.instrumentations.served import Served, compare, package_version
from tests.receiver import Sink

UVICORN = ("-m", "uvicorn", "--port", "0", "starlette_shop:app")
SPAN = "  SELECT FROM sqlite_master [db/sqlite/query] success"


@pytest.fixture(scope="module")
def served():
    # Our receiver would be spared the unsampled ones.
    options = {"ELASTIC_APM_TRANSACTION_IGNORE_URLS": "/static/*", "ELASTIC_APM_SKIP_SERVER_INFO": "true"}
    with Sink() as sink, Served(*UVICORN, sink=sink, env=options) as served:
        yield served


def test_whole_event(served):
    answer, trace = served.trace("GET", "/items/3?q=a%20b&q=2", [("User-Agent", "test"), ("X-Twice", "1")])

    assert answer.status == 200
    assert trace.snapshot() == {
        "name": "GET /items/{id}",
        "type": "request",
        "result": "HTTP 2xx",
        "outcome": "success",
        "sampled": True,
        "span_count": {"started": 1, "dropped": 0},
        "context": {
            "request": {
                "method": "GET",
                "http_version": "1.1",
                "socket": {"remote_address": "127.0.0.1"},
                "url": {
                    "full": "http://127.0.0.1:9999/items/3?q=a%20b&q=2",
                    "protocol": "http:",
                    "hostname": "127.0.0.1",
                    "port": 9999,
                    "pathname": "/items/3",
                    "search": "?q=a%20b&q=2",
                },
                "headers": {
                    "host": "127.0.0.1:9999",
                    "accept-encoding": "identity",
                    "user-agent": "test",
                    "x-twice": "1",
                },
            },
            "response": {
                "status_code": 200,
                "finished": True,
                "headers_sent": True,
                "headers": {"content-length": "8", "content-type": "application/json"},
            },
            "service": {"framework": {"name": "starlette", "version": package_version("starlette")}},
        },
    }
    assert trace.tree() == f"GET /items/{{id}} [request] success\n{SPAN}"


REQUESTS = {
    ("GET", "/items/3"): "GET /items/{id} | HTTP 2xx | success",
    ("HEAD", "/items/3"): "HEAD /items/{id} | HTTP 2xx | success",
    ("GET", "/items/none"): "GET unknown route | HTTP 4xx | success",
    ("POST", "/items/3", (), b""): "POST /items/{id} | HTTP 4xx | success",
    ("GET", "/thread"): "GET /thread | HTTP 2xx | success",
    ("GET", "/handled"): "GET /handled | HTTP 4xx | success",
    ("GET", "/boom"): "GET /boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/moved"): "GET /moved | HTTP 3xx | success",
    ("GET", "/slash"): "GET unknown route | HTTP 3xx | success",
    ("GET", "/slash/"): "GET /slash/ | HTTP 2xx | success",
    ("GET", "/stream/3"): "GET /stream/{count} | HTTP 2xx | success",
    ("GET", "/broken"): "GET /broken | HTTP 2xx | failure | OverflowError(False)",
    ("POST", "/upload", (), b"x" * 300_000): "POST /upload | HTTP 2xx | success",
    ("GET", "/tenants/t1/v1/things/x"): "GET /tenants/{tenant}/v1/things/{thing} | HTTP 2xx | success",
    ("GET", "/tenants/t1/v1/nothing"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/static/starlette_shop.py"): "GET /static/{path} | HTTP 2xx | success",
    ("GET", "/static/nothing"): "GET /static/{path} | HTTP 4xx | success",
    ("GET", "/raw/any/thing"): "GET /raw/{path} | HTTP 4xx | success",
    ("GET", "/inner/boom"): "GET /inner/boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/whose", (("Host", "me.example.org"),)): "GET /whose | HTTP 2xx | success",
    ("GET", "/headers"): "GET /headers | HTTP 2xx | success",
    ("GET", "/nothing"): "GET unknown route | HTTP 4xx | success",
}


@pytest.mark.parametrize("app", ["app", "middle"])
def test_as_bare(app):
    requests = dict(REQUESTS)
    if app == "middle":
        # Older releases of this middleware forget the error if the client is faster, traced or not.
        del requests["GET", "/inner/boom"]
    found = compare((*UVICORN[:-1], f"starlette_shop:{app}"), requests)
    if app == "middle":  # newer ones end the response properly before they raise
        found["GET", "/broken"] = found["GET", "/broken"].replace("success", "failure")
    assert found == requests


def test_error_event(served):
    _, trace = served.trace("GET", "/boom", until=lambda trace: trace.errors and trace.transactions)
    (error,) = trace.errors
    assert error["parent_id"] == error["transaction_id"] == trace.transaction["id"]
    assert error["transaction"] == {"name": "GET /boom", "type": "request", "sampled": True}
    assert error["culprit"] == "starlette_shop.boom"
    assert error["exception"]["stacktrace"][0]["context_line"].strip() == 'raise ZeroDivisionError("boom")'
    assert not [frame for frame in error["exception"]["stacktrace"] if "apm_run" in frame["filename"]]
    assert error["context"]["request"]["url"]["pathname"] == "/boom"
    assert error["context"]["response"]["status_code"] == 500


def test_stream_has_its_spans(served):
    answer, trace = served.trace("GET", "/stream/3")
    assert answer.body == b"0;1;2;"
    assert trace.tree() == "\n".join(["GET /stream/{count} [request] success", *[SPAN] * 3])


def test_work_in_threads(served):
    _, trace = served.trace("GET", "/thread")
    assert trace.tree() == f"GET /thread [request] success\n{SPAN}"


def test_background_task(served):
    """It does not lengthen the request; what it does belongs to it all the same, its error too."""
    _, trace = served.trace("GET", "/background", until=lambda trace: trace.transactions and trace.spans)
    assert trace.tree() == f"GET /background [request] success\n{SPAN}"
    assert trace.transaction["duration"] < 200
    assert trace.transaction["span_count"]["started"] == 0
    _, trace = served.trace("GET", "/background/broken", until=lambda trace: trace.transactions and trace.errors)
    assert trace.line() == "GET /background/broken | HTTP 2xx | success | RuntimeError(False)"


def test_client_that_leaves(served):
    trace, header = served.new_trace()
    served.leave("/endless", [header])
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /endless | HTTP 2xx | success"
    assert trace.transaction["context"]["response"]["finished"] is False


def test_client_that_leaves_before_any_answer(served):
    trace, (name, value) = served.new_trace()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(f"GET /forever HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /forever | None | success"


def test_two_requests_sent_at_once(served):
    """uvicorn begins the second one while it sends the end of the first, in a copy of its context."""
    traces = [served.new_trace() for _ in range(3)]
    requests = [f"GET /work/{n} HTTP/1.1\r\nHost: x\r\n{h[0]}: {h[1]}\r\n" for n, (_, h) in enumerate(traces)]
    served.raw("\r\n".join([*requests, ""]).replace("/work/2 HTTP/1.1", "/work/2 HTTP/1.0").encode())
    served.wait(lambda: all(trace.transactions for trace, _ in traces))
    for number, (trace, _) in enumerate(traces):
        assert trace.transaction["name"] == "GET /work/{number}"
        assert {s["context"]["db"]["statement"] for s in trace.spans} == {f"SELECT {number} FROM sqlite_master"}


def test_fifty_at_once(served):
    numbers = range(50)
    traces = [served.new_trace() for _ in numbers]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: served.ask("GET", f"/work/{number}", [traces[number][1]]), numbers))
    served.wait(lambda: all(trace.transactions for trace, _ in traces))
    for number, answer, (trace, _) in zip(numbers, answers, traces):
        assert answer.body == str(number).encode()
        assert [s["context"]["db"]["statement"] for s in trace.spans] == [f"SELECT {number} FROM sqlite_master"] * 3
        assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}


def test_trace_context(served):
    trace, (name, value) = served.new_trace()
    served.ask("GET", "/items/1", [(name, value), ("tracestate", "other=1"), ("tracestate", "es=s:0.5,b=2")])
    served.wait(lambda: trace.transactions)
    assert trace.transaction["parent_id"] == value.split("-")[2]
    assert {event["sample_rate"] for event in (trace.transaction, *trace.spans)} == {0.5}


def test_unsampled(served):
    trace, header = served.new_trace("00")
    served.ask("GET", "/items/1", [header])
    served.wait(lambda: trace.transactions)
    assert trace.transaction["sampled"] is False
    assert "context" not in trace.transaction
    assert not trace.spans


def test_ignored_urls(served):
    trace, header = served.new_trace()
    assert served.ask("GET", "/static/starlette_shop.py", [header]).status == 200
    served.trace("GET", "/items/1")
    assert not trace.transactions


def test_hostile_requests(served):
    trace, (name, value) = served.new_trace()
    head = f"{name}: {value}\r\nConnection: close\r\n".encode()
    huge = b"x" * 20_000
    for request in (
        b"GET /items/1 HTTP/1.0\r\n" + head + b"\r\n",  # no Host
        b"GET /items/1 HTTP/1.1\r\nHost: user:secret@example.org:81\r\n" + head + b"\r\n",
        b"GET /%C3%A4/%FF%2F%20 HTTP/1.1\r\nHost: x\r\nX-Name: \xff\xfe\xc3\xa4\r\nA: 1\r\nA: 2\r\n" + head + b"\r\n",
        b"GET /items/1?" + huge + b" HTTP/1.1\r\nHost: x\r\nX-Huge: " + huge + b"\r\n" + head + b"\r\n",
        b"GET http://user:secret@example.org/items/1 HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n",
    ):
        seen = len(trace.transactions) + 1
        assert served.raw(request).partition(b" ")[2][:3] in (b"200", b"404"), request
        served.wait(lambda expected=seen: len(trace.transactions) == expected)
    assert "secret" not in str(trace.transactions)
    contexts = [transaction["context"]["request"] for transaction in trace.transactions]
    assert contexts[0]["url"]["port"] == served.port
    assert contexts[1]["url"]["full"] == "http://example.org:81/items/1"
    assert contexts[2]["url"]["pathname"] == "/%C3%A4/%FF%2F%20"
    assert contexts[2]["headers"]["x-name"] == "\xff\xfe\xc3\xa4"
    assert contexts[2]["headers"]["a"] == ["1", "2"]
    assert len(contexts[3]["url"]["full"]) == len(contexts[3]["headers"]["x-huge"]) == 1024


IN_PROCESS = """
from starlette.testclient import TestClient
import starlette_shop

client = TestClient(starlette_shop.app)
with client.websocket_connect("/echo") as connection:
    connection.send_text("hello")
    print(connection.receive_text())
print(client.get("/items/3").json())
"""


def test_websocket_and_call_in_process():
    """A WebSocket is none of ours; a call in process is a request of its own, below the span of its client."""
    with Sink() as sink:
        program = Served("-c", IN_PROCESS, sink=sink, env={"PYTHONWARNINGS": "ignore"})
        assert program.run() == "hello\n{'id': 3}\n"
        sink.wait(lambda sink: len(sink.transactions) == 2)
        assert sink.tree() == (
            "python -c [script] success\n"
            "  SELECT FROM sqlite_master [db/sqlite/query] success\n"
            "  GET testserver [external/http] success\n"
            "    GET /items/{id} [request] success\n"
            "      SELECT FROM sqlite_master [db/sqlite/query] success"
        )
