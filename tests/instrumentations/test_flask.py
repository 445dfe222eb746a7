"""Flask behind gunicorn's threads: what a request reports, and what it must not change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.instrumentations.served import Served, package_version
from tests.receiver import Sink

GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:0", "--threads", "8", "flask_shop:app")


@pytest.fixture(scope="module")
def served():
    # Our receiver would be spared the unsampled ones.
    options = {"ELASTIC_APM_TRANSACTION_IGNORE_URLS": "/health*", "ELASTIC_APM_SKIP_SERVER_INFO": "true"}
    with Sink() as sink, Served(*GUNICORN, sink=sink, env=options) as served:
        yield served


def test_whole_event(served):
    answer, trace = served.trace("GET", "/items/3?q=a%20b&q=2", [("User-Agent", "test"), ("X-Twice", "1")])

    assert answer.status == 200
    assert trace.snapshot() == {
        "name": "GET /items/<int:id>",
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
                "headers": {"content-type": "application/json", "content-length": "9"},
            },
            "service": {"framework": {"name": "flask", "version": package_version("flask")}},
        },
    }
    assert trace.tree() == (
        "GET /items/<int:id> [request] success\n"  #
        "  SELECT FROM sqlite_master [db/sqlite/query] success"
    )


def test_trace_context(served):
    trace, (name, value) = served.new_trace()
    served.ask("GET", "/items/1", [(name, value), ("tracestate", "other=1"), ("tracestate", "es=s:0.5,b=2")])
    served.wait(lambda: trace.transactions)
    assert trace.transaction["parent_id"] == value.split("-")[2]
    assert trace.transaction["sample_rate"] == 0.5
    assert trace.spans[0]["sample_rate"] == 0.5


def test_a_trace_of_its_own(served):
    before = len(served._sink.transactions)
    served.ask("GET", "/items/17")
    served.wait(lambda: len(served._sink.transactions) > before)
    transaction = served._sink.transactions[-1]
    assert "parent_id" not in transaction
    assert transaction["sample_rate"] == 1.0
    assert int(transaction["trace_id"], 16)


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", "00-{}-1111111111111111-01"), ("traceparent", "00-{}-1111111111111111-01")],
        [("traceparent", "00-{}-1111111111111111-01-extra")],
        [("traceparent", "nonsense")],
    ],
    ids=["twice", "longer", "nonsense"],
)
def test_invalid_trace_context_begins_a_trace(served, headers):
    trace, _ = served.new_trace()
    before = len(served._sink.transactions)
    served.ask("GET", "/items/18", [(name, value.format(trace.id)) for name, value in headers])
    served.wait(lambda: len(served._sink.transactions) > before)
    assert not trace.transactions
    assert "parent_id" not in served._sink.transactions[-1]


def test_unsampled(served):
    trace, header = served.new_trace("00")
    served.ask("GET", "/items/1", [header])
    served.ask("GET", "/boom/1", [header])
    served.wait(lambda: len(trace.transactions) == 2 and trace.errors)
    plain = next(found for found in trace.transactions if "items" in found["name"])
    assert {key: plain.get(key) for key in ("sampled", "sample_rate", "context", "span_count")} == {
        "sampled": False,
        "sample_rate": 0,
        "context": None,
        "span_count": {"started": 0, "dropped": 0},
    }
    assert not trace.spans
    assert trace.errors[0]["transaction"] == {"name": "GET /boom/<int:id>", "type": "request", "sampled": False}


def test_error_event(served):
    answer, trace = served.trace("GET", "/boom/7")

    assert answer.status == 500
    assert trace.line() == "GET /boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)"
    (error,) = trace.errors
    assert error["parent_id"] == error["transaction_id"] == trace.transaction["id"]
    assert error["transaction"] == {"name": "GET /boom/<int:id>", "type": "request", "sampled": True}
    assert error["exception"]["message"] == "boom 7"
    assert error["culprit"] == "flask_shop.boom"
    innermost = error["exception"]["stacktrace"][0]
    assert innermost["function"] == "boom"
    assert innermost["context_line"].strip() == 'raise ZeroDivisionError(f"boom {id}")'
    assert not [frame for frame in error["exception"]["stacktrace"] if "apm_run" in frame["filename"]]
    assert error["context"]["request"]["url"]["pathname"] == "/boom/7"
    assert error["context"]["response"]["status_code"] == 500


def test_headers_are_sanitised(served):
    _, trace = served.trace(
        "GET",
        "/headers",
        [
            ("Cookie", "a=plain; session=secret4; b.sid=secret5"),
            ("Authorization", "Bearer secret6"),
            ("X-Api-Key", "secret7"),
        ],
    )
    context = trace.transaction["context"]
    shown = {name: context["request"]["headers"][name] for name in ("cookie", "authorization", "x-api-key")}
    assert set(shown.values()) == {"[REDACTED]"}
    assert context["response"]["headers"] == {
        "content-type": "text/html; charset=utf-8",
        "content-length": "12",
        "set-cookie": ["[REDACTED]", "[REDACTED]"],
        "x-twice": ["one", "two"],
        "x-auth-token": "[REDACTED]",
    }
    assert context["request"]["cookies"] == {"a": "plain", "session": "[REDACTED]", "b.sid": "[REDACTED]"}
    assert "secret" not in str(trace.transaction)


def test_stream_has_its_spans(served):
    answer, trace = served.trace("GET", "/stream/3")
    assert answer.body == b"0;1;2;"
    assert trace.tree() == (
        "GET /stream/<int:count> [request] success\n"
        "  SELECT FROM sqlite_master [db/sqlite/query] success\n"
        "  SELECT FROM sqlite_master [db/sqlite/query] success\n"
        "  SELECT FROM sqlite_master [db/sqlite/query] success"
    )
    assert trace.transaction["context"]["response"]["finished"] is True


@pytest.mark.parametrize(("path", "body"), [("/page", b"<p>/moved"), ("/pieces", b"<p>moved")])
def test_templates(served, path, body):
    answer, trace = served.trace("GET", path)
    assert answer.body == body
    assert trace.tree() == f"GET {path} [request] success\n  page.html [template/jinja2/render] success"


def test_error_in_the_stream(served):
    trace, header = served.new_trace()
    raw = served.raw(
        f"GET /broken HTTP/1.1\r\nHost: x\r\n{header[0]}: {header[1]}\r\nConnection: close\r\n\r\n".encode()
    )
    assert raw.startswith(b"HTTP/1.1 200 OK")
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /broken | HTTP 2xx | failure | OverflowError(False)"
    assert trace.transaction["context"]["response"]["finished"] is False


def test_client_that_leaves(served):
    trace, header = served.new_trace()
    served.leave("/endless", [header])
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /endless | HTTP 2xx | success"
    assert trace.transaction["context"]["response"]["finished"] is False
    # What the application does when it is told so still belongs to the request.
    assert [span["context"]["db"]["statement"] for span in trace.spans] == ["SELECT 404 FROM sqlite_master"]


def test_fifty_at_once(served):
    numbers = range(50)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: served.trace("GET", f"/work/{number}"), numbers))
    for number, (answer, trace) in zip(numbers, found):
        assert answer.body == str(number).encode()
        assert trace.transaction["name"] == "GET /work/<int:number>"
        statements = [span["context"]["db"]["statement"] for span in trace.spans]
        assert statements == [f"SELECT {number} FROM sqlite_master"] * 2
        assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}


def test_ignored_urls(served):
    trace, header = served.new_trace()
    assert served.ask("GET", "/health?full=1", [header]).body == b"well"
    assert served.ask("GET", "/health/broken", [header]).status == 500
    served.wait(lambda: [error for error in served._sink.errors if error["exception"]["message"] == "not well"])
    served.trace("GET", "/items/1")
    assert not trace.transactions
    assert not trace.spans
    (error,) = [error for error in served._sink.errors if error["exception"]["message"] == "not well"]
    assert "transaction_id" not in error


def test_hostile_requests(served):
    trace, (name, value) = served.new_trace()
    head = f"{name}: {value}\r\nConnection: close\r\n".encode()
    huge = b"x" * 3000
    for request in (
        b"GET /items/1 HTTP/1.0\r\n" + head + b"\r\n",  # no Host
        b"GET /items/1 HTTP/1.1\r\nHost: user:secret@example.org:81\r\n" + head + b"\r\n",
        b"GET /%C3%A4/%FF%2F%20 HTTP/1.1\r\nHost: x\r\nX-Name: \xff\xfe\xc3\xa4\r\n" + head + b"\r\n",
        b"GET /items/1?" + huge + b" HTTP/1.1\r\nHost: x\r\nX-Huge: " + huge + b"\r\n" + head + b"\r\n",
        b"GET http://user:secret@example.org/items/1 HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n",
    ):
        seen = len(trace.transactions) + 1
        assert served.raw(request).partition(b" ")[2][:3] in (b"200", b"404"), request
        served.wait(lambda expected=seen: len(trace.transactions) == expected)
    assert "secret" not in str(trace.transactions)
    urls = [transaction["context"]["request"]["url"] for transaction in trace.transactions]
    assert urls[1]["full"] == "http://example.org:81/items/1"
    assert urls[2]["pathname"] == "/%C3%A4/%FF/%20"
    assert trace.transactions[2]["context"]["request"]["headers"]["x-name"] == "\xff\xfe\xc3\xa4"
    assert len(urls[3]["full"]) == len(urls[3]["search"]) == 1024
    assert len(trace.transactions[3]["context"]["request"]["headers"]["x-huge"]) == 1024
