"""FastAPI behind uvicorn: its own routes, routers, dependencies, background tasks and applications below it."""

from __future__ import annotations

import pytest
from tests.instrumentations.served import Served, compare, package_version
from tests.receiver import Sink

UVICORN = ("-m", "uvicorn", "--port", "0", "fastapi_shop:app")
SPAN = "  SELECT FROM sqlite_master [db/sqlite/query] success"


@pytest.fixture(scope="module")
def served():
    with Sink() as sink, Served(*UVICORN, sink=sink) as served:
        yield served


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + b"y" * 200_000 + b"\r\n--x--\r\n"
)

REQUESTS = {
    ("GET", "/items/3"): "GET /items/{id} | HTTP 2xx | success",
    ("GET", "/items/none"): "GET /items/{id} | HTTP 4xx | success",
    ("POST", "/items/3", (), b""): "POST /items/{id} | HTTP 4xx | success",
    ("GET", "/api/v1/shop/orders/o/lines/7"): "GET /api/v1/shop/orders/{order}/lines/{line} | HTTP 2xx | success",
    ("GET", "/api/v1/thread/7"): "GET /api/v1/thread/{number} | HTTP 2xx | success",
    ("GET", "/api/v1/nothing"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/depends"): "GET /depends | HTTP 2xx | success",
    ("GET", "/missing"): "GET /missing | HTTP 4xx | success",
    ("GET", "/handled"): "GET /handled | HTTP 4xx | success",
    ("GET", "/boom"): "GET /boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/moved"): "GET /moved | HTTP 3xx | success",
    ("GET", "/stream/3"): "GET /stream/{count} | HTTP 2xx | success",
    ("POST", "/upload", (("Content-Type", "multipart/form-data; boundary=x"),), FORM): (
        "POST /upload | HTTP 2xx | success"
    ),
    ("GET", "/tenants/t/things/x"): "GET /tenants/{tenant}/things/{thing} | HTTP 2xx | success",
    ("GET", "/tenants/t/nothing"): "GET unknown route | HTTP 4xx | success",
    ("GET", "/tenants/t/boom"): "GET /tenants/{tenant}/boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/openapi.json"): "GET /openapi.json | HTTP 2xx | success",
    ("HEAD", "/docs"): "HEAD /docs | HTTP 2xx | success",
}


def test_as_bare():
    assert compare(UVICORN, REQUESTS) == REQUESTS


def test_the_framework_is_fastapi(served):
    _, trace = served.trace("GET", "/items/3")
    expected = {"framework": {"name": "fastapi", "version": package_version("fastapi")}}
    assert trace.transaction["context"]["service"] == expected


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        ("/api/v1/shop/orders/o/lines/7", ["GET /api/v1/shop/orders/{order}/lines/{line} [request] success", SPAN]),
        ("/api/v1/thread/7", ["GET /api/v1/thread/{number} [request] success", SPAN]),
        ("/depends", ["GET /depends [request] success", *[SPAN] * 3]),
        ("/stream/2", ["GET /stream/{count} [request] success", *[SPAN] * 2]),
        ("/tenants/t/things/x", ["GET /tenants/{tenant}/things/{thing} [request] success", SPAN]),
    ],
)
def test_spans(served, path, tree):
    number = len(tree) - 1
    _, trace = served.trace("GET", path, until=lambda trace: trace.transactions and len(trace.spans) == number)
    assert trace.tree() == "\n".join(tree)


def test_background_task(served):
    _, trace = served.trace("GET", "/background", until=lambda trace: trace.transactions and trace.spans)
    assert trace.tree() == f"GET /background [request] success\n{SPAN}"
    assert trace.transaction["duration"] < 200


def test_error_event(served):
    _, trace = served.trace("GET", "/boom", until=lambda trace: trace.errors and trace.transactions)
    (error,) = trace.errors
    assert error["culprit"] == "fastapi_shop.boom"
    assert error["transaction"]["name"] == "GET /boom"
    assert error["context"]["response"]["status_code"] == 500
    assert not [frame for frame in error["exception"]["stacktrace"] if "apm_run" in frame["filename"]]


def test_client_that_leaves(served):
    trace, header = served.new_trace()
    served.leave("/endless", [header])
    served.wait(lambda: trace.transactions)
    assert trace.line() == "GET /endless | HTTP 2xx | success"


def test_fifty_at_once(served):
    from concurrent.futures import ThreadPoolExecutor

    traces = [served.new_trace() for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda number: served.ask("GET", f"/work/{number}", [traces[number][1]]), range(50)))
    served.wait(lambda: all(trace.transactions for trace, _ in traces))
    for number, (trace, _) in enumerate(traces):
        assert [s["context"]["db"]["statement"] for s in trace.spans] == [f"SELECT {number} FROM sqlite_master"] * 2
