"""The API in the requests of a real server: what it says stands, and what it begins nests (spec 12, 26)."""

from __future__ import annotations

import pytest
from tests.instrumentations.served import Served
from tests.receiver import Sink


@pytest.fixture(scope="module")
def served():
    with Sink() as sink, Served("-m", "gunicorn", "-b", "127.0.0.1:0", "api_flask:app", sink=sink) as served:
        served.sink = sink
        yield served


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("number", [0, 1])
def test_what_the_program_says_of_a_request_stands(served, when, number):
    answer, trace = served.trace("GET", f"/items/{number}?{when}=1")
    assert answer.status == (500 if number == 0 else 200)
    found = trace.transaction
    shown = (found["name"], found["type"], found["result"], found["outcome"])
    assert shown == ("checkout", "shop", "sold out", "success")
    assert found["context"]["user"] == {"id": "42"}
    assert found["context"]["tags"] == {"tenant": "acme"}
    assert found["context"]["response"]["status_code"] == answer.status


def test_without_a_word_it_is_inferred(served):
    _, trace = served.trace("GET", "/items/0")
    found = trace.transaction
    shown = (found["name"], found["type"], found["result"], found["outcome"])
    assert shown == ("GET /items/<int:number>", "request", "HTTP 5xx", "failure")


def test_what_is_begun_in_a_request(served):
    answer, trace = served.trace("GET", "/work")
    job, request = answer.body.decode().split()
    assert request == trace.id != job
    assert trace.tree() == ("GET /work [request] success\n  part [app] success\n    SELECT [db/sqlite/query] success")
    assert served.sink.tree(job) == "job [job] success\n  SELECT [db/sqlite/query] success"


def test_a_span_of_a_streamed_response(served):
    answer, trace = served.trace("GET", "/stream")
    assert answer.body == b"ab"
    assert trace.tree() == "GET /stream [request] success\n  rows [app] success"
