"""aiohttp's server: what a request reports, and what it must not change."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.instrumentations.served import Served, compare, package_version
from tests.receiver import Sink

RUN_APP = ("-m", "aiohttp_shop")
RUNNER = (*RUN_APP, "runner")
VERSION = package_version("aiohttp")
SPAN = "  SELECT FROM sqlite_master [db/sqlite/query] success"


@pytest.fixture(scope="module", params=[RUN_APP, RUNNER], ids=["run_app", "runner"])
def served(request):
    options = {
        "ELASTIC_APM_TRANSACTION_IGNORE_URLS": "/static/*",
        "ELASTIC_APM_SKIP_SERVER_INFO": "true",
        "ELASTIC_APM_CAPTURE_BODY": "all",
        "ELASTIC_APM_CAPTURE_BODY_CONTENT_TYPES": "application/*,text/*,multipart/*",
    }
    with Sink() as sink, Served(*request.param, sink=sink, env=options) as served:
        yield served


def test_whole_event(served):
    sent = [("User-Agent", "test"), ("X-Twice", "1"), ("Cookie", "a=1; session=secret"), ("Authorization", "secret")]
    answer, trace = served.trace("GET", "/items/3?q=a%20b&q=2", sent)

    assert answer.status == 200
    shown = trace.snapshot()
    assert shown["context"]["response"]["headers"].pop("server").endswith(f"aiohttp/{VERSION}")
    assert shown == {
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
                    "cookie": "[REDACTED]",
                    "authorization": "[REDACTED]",
                },
                "cookies": {"a": "1", "session": "[REDACTED]"},
            },
            "response": {
                "status_code": 200,
                "finished": True,
                "headers_sent": True,
                "headers": {"content-length": "11", "content-type": "application/json; charset=utf-8"},
            },
            "service": {"framework": {"name": "aiohttp", "version": VERSION}},
        },
    }
    assert trace.tree() == f"GET /items/{{id}} [request] success\n{SPAN}"


FORM = (
    b'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nsecret\r\n'
    b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ncontents\r\n--B--\r\n'
)
MULTIPART = (("Content-Type", "multipart/form-data; boundary=B"),)

REQUESTS = {
    ("GET", "/items/3"): "GET /items/{id} | HTTP 2xx | success",
    ("HEAD", "/items/3"): "HEAD /items/{id} | HTTP 2xx | success",
    ("GET", "/items/none"): "GET unknown route | HTTP 4xx | success",
    ("PUT", "/items/3", (), b""): "PUT unknown route | HTTP 4xx | success",
    ("GET", "/boom"): "GET /boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/handled"): "GET /handled | HTTP 4xx | success",
    ("GET", "/refused"): "GET /refused | HTTP 4xx | success",
    ("GET", "/internal"): "GET /internal | HTTP 5xx | failure",
    ("GET", "/503"): "GET /503 | HTTP 5xx | failure",
    ("GET", "/moved"): "GET /moved | HTTP 3xx | success",
    ("GET", "/stream/3"): "GET /stream/{count} | HTTP 2xx | success",
    ("GET", "/stream/0", (("Connection", "close"),)): "GET /stream/{count} | HTTP 2xx | success",
    ("GET", "/broken"): "GET /broken | HTTP 2xx | failure | OverflowError(False)",
    ("POST", "/upload", (), b"x" * 300_000): "POST /upload | HTTP 2xx | success",
    ("POST", "/form", MULTIPART, FORM): "POST /form | HTTP 2xx | success",
    ("GET", "/tenants/v1/things/5"): "GET /tenants/v1/things/{thing} | HTTP 2xx | success",
    ("DELETE", "/tenants/v1/things/5"): "DELETE /tenants/v1/things/{thing} | HTTP 2xx | success",
    ("POST", "/tenants/v1/things/5", (), b""): "POST /tenants/v1/things/{thing} | HTTP 4xx | success",
    ("GET", "/tenants/v1/boom"): "GET /tenants/v1/boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/tenants/v1/nothing"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/static/aiohttp_shop.py"): "GET /static | HTTP 2xx | success",
    ("GET", "/static/nothing"): "GET /static | HTTP 4xx | success",
    ("GET", "/table/7"): "GET /table/{number} | HTTP 2xx | success",
    ("GET", "/items/3", (("X-Closed", "1"),)): "GET /items/{id} | HTTP 4xx | success",
    ("GET", "/items/3", (("X-Short", "1"),)): "GET /items/{id} | HTTP 2xx | success",
    ("GET", "/headers"): "GET /headers | HTTP 2xx | success",
    ("GET", "/nothing"): "GET unknown route | HTTP 4xx | success",
}


@pytest.mark.parametrize("command", [RUN_APP, RUNNER])
def test_as_bare(command):
    assert compare(command, REQUESTS) == REQUESTS


def test_a_handler_that_returns_nothing_fails(served):
    trace, header = served.new_trace()
    served.answer("GET", "/none", [header])
    served.wait(lambda: trace.transactions and trace.errors)
    assert trace.transaction["name"] == "GET /none"
    assert (trace.transaction["result"], trace.transaction["outcome"]) == ("HTTP 5xx", "failure")


def test_a_handler_that_times_out(served):
    """aiohttp logs that without the exception, which is an event as well."""
    answer, trace = served.trace("GET", "/late", until=lambda trace: len(trace.errors) == 2 and trace.transactions)
    assert answer.status == 504
    assert (trace.transaction["result"], trace.transaction["outcome"]) == ("HTTP 5xx", "failure")
    (error,) = [error["exception"] for error in trace.errors if "exception" in error]
    assert (error["type"], error["handled"]) == ("TimeoutError", False)


def test_error_event(served):
    _, trace = served.trace("GET", "/boom", until=lambda trace: trace.errors and trace.transactions)
    (error,) = trace.errors
    assert error["parent_id"] == error["transaction_id"] == trace.transaction["id"]
    assert error["transaction"] == {"name": "GET /boom", "type": "request", "sampled": True}
    assert error["culprit"] in ("aiohttp_shop.boom", "__main__.boom")
    assert not [frame for frame in error["exception"]["stacktrace"] if "apm_run" in frame["filename"]]
    assert error["context"]["request"]["url"]["pathname"] == "/boom"


def test_bodies(served):
    json = [("Content-Type", "application/json")]
    _, trace = served.trace("POST", "/upload", json, b'{"a": 1, "password": "secret"}')
    assert trace.transaction["context"]["request"]["body"] == '{"a": 1, "password": "[REDACTED]"}'
    _, trace = served.trace("POST", "/form", MULTIPART, FORM)
    assert trace.transaction["context"]["request"]["body"] == {
        "password": "[REDACTED]",
        "note": "hello",
        "_files": {"file": "a.txt"},
    }
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    _, trace = served.trace("POST", "/form", form, b"token=secret&x=1&x=2")
    assert trace.transaction["context"]["request"]["body"] == {"token": "[REDACTED]", "x": ["1", "2"]}
    # What the program has not read is not shown.
    _, trace = served.trace("POST", "/pieces", [("Content-Type", "text/plain")], b"0123456789")
    assert trace.transaction["context"]["request"]["body"] == "0123"
    _, trace = served.trace("POST", "/refused", [("Content-Type", "text/plain")], b"0123456789")
    assert "body" not in trace.transaction["context"]["request"]


def test_response_headers(served):
    _, trace = served.trace("GET", "/headers")
    shown = trace.transaction["context"]["response"]["headers"]
    assert shown["x-twice"] == ["one", "two"]
    assert shown["x-auth-token"] == shown["set-cookie"] == "[REDACTED]"


def test_stream_has_its_spans(served):
    answer, trace = served.trace("GET", "/stream/3")
    assert answer.body == b"0;1;2;"
    assert trace.tree() == "\n".join(["GET /stream/{count} [request] success", *[SPAN] * 3])


def test_background_task(served):
    """It does not lengthen the request; what it does belongs to it all the same."""
    _, trace = served.trace("GET", "/background", until=lambda trace: trace.transactions and trace.spans)
    assert trace.tree() == f"GET /background [request] success\n{SPAN}"
    assert trace.transaction["duration"] < 200


def test_client_that_leaves(served):
    trace, header = served.new_trace()
    served.leave("/endless", [header])
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /endless | HTTP 2xx | success"
    assert trace.transaction["context"]["response"]["finished"] is False


def test_client_that_leaves_in_the_middle_of_its_request(served):
    trace, (name, value) = served.new_trace()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        head = f"POST /reading HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: 100\r\n\r\nabc"
        connection.sendall(head.encode())
    served.wait(lambda: trace.transactions)
    assert trace.line().rpartition(" | ")[2] == "success"
    assert not trace.errors


def test_client_that_leaves_before_any_answer():
    """With ``handler_cancellation`` the handler is cancelled; without it nobody hears of the client."""
    if VERSION.startswith("3.8."):
        return  # it has no such option
    with Sink() as sink, Served(*RUNNER, sink=sink) as served:
        trace, (name, value) = served.new_trace()
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(f"GET /forever HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
        served.wait(lambda: trace.transactions)
        assert trace.line() == "GET /forever | None | success"


def test_keep_alive_and_requests_sent_at_once(served):
    traces = [served.new_trace() for _ in range(3)]
    requests = [f"GET /work/{n} HTTP/1.1\r\nHost: x\r\n{h[0]}: {h[1]}\r\n" for n, (_, h) in enumerate(traces)]
    last = "\r\n".join([*requests, ""]).replace("/work/2 HTTP/1.1", "/work/2 HTTP/1.0")
    served.raw(last.encode())
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


def test_trace_goes_through(served):
    """In by the server, out by the client, and in again."""
    here = f"http://127.0.0.1:{served.port}"
    _, trace = served.trace("GET", f"/relay?to={here}/items/1", until=lambda trace: len(trace.transactions) == 2)
    assert trace.tree() == "\n".join(
        [
            "GET /relay [request] success",
            "  GET 127.0.0.1 [external/http] success",
            "    GET /items/{id} [request] success",
            f"    {SPAN}",
        ]
    )


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
    assert served.ask("GET", "/static/aiohttp_shop.py", [header]).status == 200
    served.trace("GET", "/items/1")
    assert not trace.transactions


def test_hostile_requests(served):
    trace, (name, value) = served.new_trace()
    head = f"{name}: {value}\r\nConnection: close\r\n".encode()
    for request in (
        b"GET /items/1 HTTP/1.0\r\n" + head + b"\r\n",  # no Host
        b"GET /items/1 HTTP/1.1\r\nHost: user:secret@example.org:81\r\n" + head + b"\r\n",
        b"GET /%C3%A4/%FF%2F%20 HTTP/1.1\r\nHost: x\r\nX-Name: \xc3\xa4\r\nA: 1\r\nA: 2\r\n" + head + b"\r\n",
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
    assert contexts[2]["headers"]["a"] == ["1", "2"]
    # No HTTP at all: no request.
    assert b" 400 " in served.raw(b"no HTTP at all\r\n\r\n")
    served.trace("GET", "/items/1")
    assert len(trace.transactions) == 4


SOCKET = """
import asyncio, aiohttp
from aiohttp.test_utils import TestClient, TestServer
import aiohttp_shop

async def main():
    async with TestClient(TestServer(aiohttp_shop.make())) as client:
        async with client.ws_connect("/echo") as socket:
            await socket.send_str("hello")
            print((await socket.receive()).data)
        print(await (await client.get("/items/3")).json())

asyncio.run(main())
"""


def test_websocket_is_none():
    with Sink() as sink:
        program = Served("-c", SOCKET, sink=sink, env={"PYTHONWARNINGS": "ignore"})
        assert program.run() == "hello\n{'id': '3'}\n"
        sink.wait(lambda sink: sink.transactions)
        sink.wait_idle(0.1)
        assert sink.tree() == f"GET /items/{{id}} [request] success\n{SPAN}"


def test_gunicorn_worker():
    command = ("-m", "gunicorn", "-b", "127.0.0.1:0", "-k", "aiohttp.GunicornWebWorker", "aiohttp_shop:factory")
    with Sink() as sink, Served(*command, sink=sink) as served:
        answer, trace = served.trace("GET", "/items/3")
        assert answer.body == b'{"id": "3"}'
        assert trace.tree() == f"GET /items/{{id}} [request] success\n{SPAN}"
