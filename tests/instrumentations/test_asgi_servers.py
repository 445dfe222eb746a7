"""ASGI servers of every kind: the same answers and the same log as bare, and one transaction per request."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from tests.instrumentations.served import Served, compare
from tests.receiver import Sink

UVICORN = ("-m", "uvicorn", "--port", "0")
GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:0", "--access-logfile", "-")
SERVERS = {
    "uvicorn": (*UVICORN, "{}"),
    "uvicorn reload": (*UVICORN, "--reload", "{}"),
    "uvicorn workers": (*UVICORN, "--workers", "2", "{}"),
    "uvicorn trace": (*UVICORN, "--log-level", "trace", "--no-proxy-headers", "{}"),
    "gunicorn asgi": (*GUNICORN, "-k", "asgi", "{}"),
    "gunicorn uvicorn": (*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "{}"),
}


def command(server: str, app: str) -> list[str]:
    if server == "gunicorn asgi" and find_spec("gunicorn.workers.gasgi") is None:
        pytest.skip("the newest gunicorn for this Python has no ASGI worker of its own")
    return [str(word).format(app) for word in SERVERS[server]]


REQUESTS = {
    ("GET", "/items/3"): "GET /items/{id} | HTTP 2xx | success",
    ("GET", "/boom"): "GET /boom | HTTP 5xx | failure | ZeroDivisionError(False)",
    ("GET", "/stream/3"): "GET /stream/{count} | HTTP 2xx | success",
    ("GET", "/nothing"): "GET unknown route | HTTP 4xx | success",
}


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "uvicorn trace"])
def test_starlette(server):
    workers = 2 if "workers" in server else 0
    options = {"ready": ("Application startup complete", workers)}
    assert compare(command(server, "starlette_shop:app"), REQUESTS, **options) == REQUESTS


@pytest.mark.parametrize(
    ("server", "app"),
    [
        ("uvicorn", "stacked:only_raw"),
        ("uvicorn", "stacked:double"),
        ("uvicorn", "stacked:factory"),
        ("uvicorn trace", "stacked:only_raw"),
        ("gunicorn asgi", "stacked:only_raw"),
    ],
)
def test_applications_of_every_kind(server, app):
    requests = {("GET", "/any"): "GET unknown route | HTTP 2xx | success"}
    assert compare(command(server, app), requests) == requests


def test_nothing_but_requests_is_reported():
    """Neither the process that watches the files nor a helper of it is a unit of work."""
    with Sink() as sink:
        with Served(*command("uvicorn reload", "starlette_shop:app"), sink=sink) as served:
            served.trace("GET", "/items/3")
        sink.wait_idle()
        assert [transaction["type"] for transaction in sink.transactions] == ["request"]


def test_one_request_through_all_layers():
    """Every layer is traced by itself: the outermost begins, the inner ones name, and none begins another."""
    requests = {
        ("GET", "/v/1/flask/items/3"): "GET /v/{version}/flask/items/<int:id> | HTTP 2xx | success",
        ("GET", "/v/1/flask/nothing"): "GET /v/{version}/flask/{path} | HTTP 4xx | success",
        ("GET", "/v/1/flask/boom/1"): (
            "GET /v/{version}/flask/boom/<int:id> | HTTP 5xx | failure | ZeroDivisionError(False)"
        ),
        ("GET", "/v/1/nothing"): "GET unknown route | HTTP 4xx | success",
    }
    assert compare(command("uvicorn", "stacked:app"), requests) == requests


def test_spans_through_all_layers():
    with Sink() as sink, Served(*command("uvicorn", "stacked:app"), sink=sink) as served:
        _, trace = served.trace("GET", "/v/1/flask/stream/2")
        assert trace.tree() == (
            "GET /v/{version}/flask/stream/<int:count> [request] success\n"
            "  SELECT FROM sqlite_master [db/sqlite/query] success\n"
            "  SELECT FROM sqlite_master [db/sqlite/query] success"
        )
        assert trace.transaction["context"]["service"]["framework"]["name"] == "fastapi"
