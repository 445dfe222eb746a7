"""urllib.request: one span per open, redirects inside, other schemes none."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented, outcome


@pytest.fixture
def recorder():
    # As in a traced program: http.client below it adds the headers, and no span of its own.
    with instrumented("http_client", "urllib_request") as recorder:
        yield recorder


def fetch(url, *args, **kwargs):
    with urllib.request.urlopen(url, *args, timeout=5, **kwargs) as response:
        return response.status, response.read()


def test_whole_span(recorder, server):
    with recorder.running():
        assert fetch(f"{server.url}/items")[0] == 200
    assert recorder.snapshot(server.port) == [
        {
            "name": "GET 127.0.0.1",
            "type": "external",
            "subtype": "http",
            "outcome": "success",
            "sync": True,
            "sample_rate": 1.0,
            "context": {
                "http": {
                    "url": "http://127.0.0.1:9999/items",
                    "method": "GET",
                    "status_code": 200,
                    "response": {"status_code": 200},
                },
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": "127.0.0.1:9999", "name": "", "type": ""},
                },
                "service": {"target": {"type": "http", "name": "127.0.0.1:9999"}},
            },
        }
    ]
    span = recorder.spans[0]
    assert server.sent("traceparent") == [[f"00-{span['trace_id']}-{span['id']}-01"]]


def test_methods(recorder, server):
    class Old(urllib.request.Request):
        def get_method(self):
            return "DELETE"

    with recorder.running():
        fetch(server.url, b"data")
        fetch(urllib.request.Request(server.url), b"data")
        fetch(urllib.request.Request(server.url, method="PUT"), b"data")
        fetch(urllib.request.Request(server.url, data=b"data"))
        fetch(urllib.request.Request(server.url, method="HEAD"))
        fetch(Old(server.url))
    sent = [method for method, *_ in server.requests]
    assert sent == ["POST", "POST", "PUT", "POST", "HEAD", "DELETE"]
    assert [span["context"]["http"]["method"] for span in recorder.spans] == sent


def test_redirects_are_one_span(recorder, server):
    with recorder.running():
        assert fetch(f"{server.url}/redirect/redirect/status/200")[0] == 200
    assert recorder.tree() == "test [test] success\n  GET 127.0.0.1 [external/http] success"
    assert server.sent("traceparent") == [[f"00-{s['trace_id']}-{s['id']}-01"] for s in recorder.spans] * 3


def test_an_http_error_carries_the_status(recorder, server):
    with recorder.running(), pytest.raises(urllib.error.HTTPError) as caught:
        fetch(f"{server.url}/status/404")
    with caught.value as error:
        assert error.status == 404
    assert [(span["outcome"], span["context"]["http"]["status_code"]) for span in recorder.spans] == [("failure", 404)]


def test_not_modified_is_raised_and_no_failure(recorder, server):
    with recorder.running(), pytest.raises(urllib.error.HTTPError) as caught:
        fetch(f"{server.url}/status/304")
    caught.value.close()
    assert [(span["outcome"], span["context"]["http"]["status_code"]) for span in recorder.spans] == [("success", 304)]


def test_errors_close_the_span_and_pass_as_they_are(recorder, server):
    cases = {
        f"http://127.0.0.1:{refusing()}/": urllib.error.URLError,
        f"{server.url}/reset": ConnectionError,
        f"{server.url}/garbage": Exception,
    }
    for url, kind in cases.items():
        recorder.spans.clear()
        with recorder.running(), pytest.raises(kind):
            fetch(url)
        assert [(span["outcome"], "status_code" in span["context"]["http"]) for span in recorder.spans] == [
            ("failure", False)
        ], url
    with recorder.running(), pytest.raises((socket.timeout, TimeoutError)):
        urllib.request.urlopen(f"{server.url}/slow", timeout=0.05)
    assert recorder.spans[-1]["outcome"] == "failure"


def test_other_schemes_are_no_spans(recorder, tmp_path):
    (tmp_path / "file").write_text("x")
    with recorder.running():
        with urllib.request.urlopen("data:text/plain,hello") as response:
            assert response.read() == b"hello"
        with urllib.request.urlopen((tmp_path / "file").as_uri()) as response:
            assert response.read() == b"x"
    assert recorder.spans == []


def test_the_userinfo_is_left_out(recorder, server):
    with recorder.running():
        outcome(lambda: urllib.request.urlopen(f"http://user:secret@127.0.0.1:{server.port}/x"))
    assert [span["context"]["http"]["url"] for span in recorder.spans] == [f"{server.url}/x"]


def test_outside_and_unsampled(recorder, server):
    fetch(server.url)
    with recorder.running(sampled=False) as transaction:
        fetch(server.url)
    assert recorder.spans == []
    assert server.sent("traceparent") == [[], [f"00-{transaction.trace_id}-{transaction.id}-00"]]


def test_a_request_is_not_mutated(recorder, server):
    request = urllib.request.Request(server.url, headers={"X-A": "b"})
    bare = urllib.request.Request(server.url, headers={"X-A": "b"})
    fetch(bare)
    with recorder.running():
        fetch(request)
    assert (request.headers, request.unredirected_hdrs) == (bare.headers, bare.unredirected_hdrs)


HOSTILE = [
    lambda url: ((None,), {}),
    lambda url: ((b"http://127.0.0.1",), {}),
    lambda url: ((5,), {}),
    lambda url: (("",), {}),
    lambda url: (("http://",), {}),
    lambda url: (("http:///x",), {}),
    lambda url: (("nothing",), {}),
    lambda url: (("http://127.0.0.1:port/",), {}),
    lambda url: (("http://[::1/",), {}),
    lambda url: (("http://127.0.0.1:99999/",), {}),
    lambda url: (("http://exa mple/",), {}),
    lambda url: (("http://127.0.0.1/\r\nX: y",), {}),
    lambda url: (("ftp://127.0.0.1:1/x",), {}),
    lambda url: ((url, "text"), {}),
    lambda url: ((url, 5), {}),
    lambda url: ((), {"url": url, "data": b"x"}),
    lambda url: ((), {}),
    lambda url: ((urllib.request.Request(url, method=""),), {}),
    lambda url: ((urllib.request.Request(url, method="gEt"),), {}),
    lambda url: ((urllib.request.Request(url, headers={"a": "b\r\nc: d"}),), {}),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_arguments(number, server, monkeypatch):
    def call():
        args, kwargs = HOSTILE[number](server.url)
        with urllib.request.urlopen(*args, **kwargs) as response:
            return response.status

    bare = outcome(call)
    with instrumented("http_client", "urllib_request") as recorder, recorder.running():
        assert outcome(call) == bare
