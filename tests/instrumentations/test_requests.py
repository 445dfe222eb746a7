"""requests: one span per send, redirects inside, prepared requests untouched; urllib3 and http.client below it."""

from __future__ import annotations

import pickle
from types import MappingProxyType

import pytest
import requests
from requests.adapters import BaseAdapter
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented, outcome

FILES = ("http_client", "urllib3", "requests")


@pytest.fixture
def recorder():
    with instrumented(*FILES) as recorder:
        yield recorder


def test_whole_span(recorder, server):
    with recorder.running():
        assert requests.get(f"{server.url}/items", params={"q": "1"}, timeout=5).json() == {"status": 200}
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
                    "url": "http://127.0.0.1:9999/items?q=1",
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


def test_the_layers_are_one_span_and_redirects_too(recorder, server):
    with recorder.running(), requests.Session() as session:
        response = session.get(f"{server.url}/redirect/elsewhere/status/404", timeout=5)
        assert [step.status_code for step in response.history] == [302, 302]
        session.post(f"{server.url}/x", data={"a": "b"}, timeout=5)
    assert recorder.tree() == (
        "test [test] success\n  GET 127.0.0.1 [external/http] failure\n  POST 127.0.0.1 [external/http] success"
    )
    first, second = (f"00-{span['trace_id']}-{span['id']}-01" for span in recorder.spans)
    assert server.sent("traceparent") == [[first]] * 3 + [[second]]
    assert [span["context"]["http"]["status_code"] for span in recorder.spans] == [404, 200]


def test_a_prepared_request_is_not_mutated(recorder, server):
    prepared = requests.Request("POST", server.url, headers={"X-A": "b"}, json={"c": 1}).prepare()
    before = dict(prepared.headers), prepared.url, prepared.body
    with recorder.running(), requests.Session() as session:
        response = session.send(prepared, timeout=5)
        session.send(request=prepared, timeout=5)
    assert (dict(prepared.headers), prepared.url, prepared.body) == before
    assert response.request is prepared
    assert [len(values) for values in server.sent("traceparent")] == [1, 1]
    assert len(recorder.spans) == 2


def test_a_streamed_response(recorder, server):
    with recorder.running(), requests.Session() as session:
        response = session.get(server.url, stream=True, timeout=5)
        assert b"".join(response.iter_content(3)) == b'{"status": 200}'
    assert [span["outcome"] for span in recorder.spans] == ["success"]


def test_a_mocked_adapter_sees_the_request_as_bare(recorder):
    class Adapter(BaseAdapter):
        def send(self, request, **kwargs):
            self.seen = dict(request.headers)
            response = requests.Response()
            response.status_code, response.request, response.url = 418, request, request.url
            return response

        def close(self):
            """There is nothing to close."""

    adapter = Adapter()
    with recorder.running(), requests.Session() as session:
        session.mount("mock://", adapter)
        session.mount("http://", adapter)
        session.get("mock://x/y")
        session.get("http://user:secret@mocked.example/y#z")
    assert not any("trace" in name for name in adapter.seen)
    assert [(span["name"], span["context"]["http"]["url"], span["outcome"]) for span in recorder.spans] == [
        ("GET mocked.example", "http://mocked.example/y#z", "failure")
    ]


def test_a_traceparent_of_the_programs_own_stays_alone(recorder, server):
    with recorder.running():
        requests.get(server.url, headers={"TRACEPARENT": "theirs"}, timeout=5)
    assert (server.sent("traceparent"), server.sent("tracestate")) == ([["theirs"]], [[]])


def test_errors_close_the_span_and_pass_as_they_are(recorder, server):
    cases = {
        f"http://127.0.0.1:{refusing()}/": requests.ConnectionError,
        f"{server.url}/reset": requests.ConnectionError,
        f"{server.url}/garbage": requests.ConnectionError,
        f"{server.url}/slow": requests.ReadTimeout,
        f"{server.url}/{'redirect/' * 40}": requests.TooManyRedirects,
    }
    for url, kind in cases.items():
        recorder.spans.clear()
        with recorder.running(), pytest.raises(kind) as caught:
            requests.get(url, timeout=0.3)
        assert [span["outcome"] for span in recorder.spans] == ["failure"], url
        assert url.startswith(caught.value.request.url)
        assert "traceparent" not in caught.value.request.headers


def test_outside_and_unsampled(recorder, server):
    requests.get(server.url, timeout=5)
    with recorder.running(sampled=False) as transaction:
        requests.get(server.url, timeout=5)
    assert recorder.spans == []
    assert server.sent("traceparent") == [[], [f"00-{transaction.trace_id}-{transaction.id}-00"]]


def test_alone_it_still_makes_its_span(server):
    with instrumented("requests") as recorder, recorder.running():
        requests.get(server.url, timeout=5)
    assert len(recorder.spans) == 1
    assert server.sent("traceparent") == [[]]


def test_sessions_and_functions_pickle(recorder):
    assert pickle.loads(pickle.dumps(requests.get)) is requests.get
    assert pickle.loads(pickle.dumps(requests.Session.send)) is requests.Session.send
    assert isinstance(pickle.loads(pickle.dumps(requests.Session())), requests.Session)


HOSTILE = [
    lambda url: ((None, url), {}),
    lambda url: ((b"GET", url), {}),
    lambda url: ((5, url), {}),
    lambda url: (("", url), {}),
    lambda url: (("get", url), {}),
    lambda url: (("GE T", url), {}),
    lambda url: (("GET", None), {}),
    lambda url: (("GET", url.encode()), {}),
    lambda url: (("GET", 5), {}),
    lambda url: (("GET", object), {}),
    lambda url: (("GET", ""), {}),
    lambda url: (("GET", "no scheme"), {}),
    lambda url: (("GET", "http://"), {}),
    lambda url: (("GET", "http://[::1"), {}),
    lambda url: (("GET", "http://*.x"), {}),
    lambda url: (("GET", "http://127.0.0.1:port"), {}),
    lambda url: (("GET", "http://127.0.0.1:99999"), {}),
    lambda url: (("GET", "http://b\u00fccher.invalid:1/\u00e9"), {}),
    lambda url: (("GET", f"  {url}"), {}),
    lambda url: (("GET", f"{url}/\r\nx y"), {}),
    lambda url: (("GET", "mailto:x@y.z"), {}),
    lambda url: (("GET", url), {"headers": [("a", "b")]}),
    lambda url: (("GET", url), {"headers": "text"}),
    lambda url: (("GET", url), {"headers": 5}),
    lambda url: (("GET", url), {"headers": None}),
    lambda url: (("GET", url), {"headers": {"a": None}}),
    lambda url: (("GET", url), {"headers": {"a": 5}}),
    lambda url: (("GET", url), {"headers": {5: "a"}}),
    lambda url: (("GET", url), {"headers": {b"a": b"b"}}),
    lambda url: (("GET", url), {"headers": MappingProxyType({"a": "b"})}),
    lambda url: (("GET", url), {"headers": {"a": "b\r\nc: d"}}),
    lambda url: (("POST", url), {"data": {"a": [1, 2]}, "files": {"f": b"x"}}),
    lambda url: (("POST", url), {"data": iter([b"a", b"b"])}),
    lambda url: (("POST", url), {"json": {"a": float("nan")}}),
    lambda url: (("GET", url), {"auth": 5}),
    lambda url: (("GET", url), {"timeout": "x"}),
    lambda url: (("GET", url), {"cookies": {"a": "b"}}),
    lambda url: (("GET", url), {"unknown": 1}),
    lambda url: (("GET",), {}),
    lambda url: ((), {"method": "GET", "url": url}),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_arguments(number, server):
    def call():
        args, kwargs = HOSTILE[number](server.url)
        kept = {name: repr(value) for name, value in kwargs.items()}
        try:
            response = requests.request(*args, **{"timeout": 5, **kwargs})
            return response.status_code, response.request.method, response.url, sorted(response.request.headers)
        finally:
            assert {name: repr(value) for name, value in kwargs.items()} == kept

    bare = outcome(call)
    with instrumented(*FILES) as recorder, recorder.running():
        assert outcome(call) == bare


@pytest.mark.parametrize("request_", [None, 5, "GET", requests.Request("GET", "http://x/"), requests.PreparedRequest()])
def test_what_is_no_prepared_request(request_):
    def call():
        with requests.Session() as session:
            return session.send(request_)

    bare = outcome(call)
    with instrumented(*FILES) as recorder, recorder.running():
        assert outcome(call) == bare
