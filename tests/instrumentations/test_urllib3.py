"""urllib3: one span per request of a manager or a pool, the caller's headers untouched."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
import urllib3
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented, outcome
from tests.instrumentations.served import Served
from urllib3._collections import HTTPHeaderDict


@pytest.fixture
def recorder():
    with instrumented("http_client", "urllib3") as recorder:
        yield recorder


@pytest.fixture
def manager():
    with urllib3.PoolManager(timeout=5, retries=False) as manager:
        yield manager


@pytest.fixture
def pool(server):
    with urllib3.HTTPConnectionPool("127.0.0.1", server.port, headers={"X-Pool": "p"}, timeout=5) as pool:
        yield pool


def test_whole_span(recorder, server, manager):
    with recorder.running():
        assert manager.request("GET", f"{server.url}/items", fields={"q": "1"}).status == 200
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


def test_a_pool_names_its_host(recorder, server, pool):
    with recorder.running():
        assert pool.request("POST", "/items", body=b"x").status == 200
        assert pool.urlopen("GET", "/status/404").status == 404
    assert [(s["name"], s["context"]["http"]["url"], s["outcome"]) for s in recorder.spans] == [
        ("POST 127.0.0.1", f"{server.url}/items", "success"),
        ("GET 127.0.0.1", f"{server.url}/status/404", "failure"),
    ]


def test_the_pools_own_headers_are_sent_with_ours(recorder, server, pool):
    with recorder.running():
        pool.urlopen("GET", "/")
        pool.urlopen("GET", "/", None, None)
        pool.urlopen("GET", "/", headers={"X-Mine": "m"})
        pool.urlopen("GET", "/", None, {"X-Mine": "m"})
    assert server.sent("x-pool") == [["p"], ["p"], [], []]
    assert server.sent("x-mine") == [[], [], ["m"], ["m"]]
    assert [len(values) for values in server.sent("traceparent")] == [1, 1, 1, 1]
    assert dict(pool.headers) == {"X-Pool": "p"}


HEADERS = [
    {"A": "b"},
    {},
    HTTPHeaderDict([("A", "b"), ("A", "c")]),
    {"Traceparent": "theirs"},
    HTTPHeaderDict({"TRACEPARENT": "theirs"}),
    {b"traceparent": b"theirs"},
]


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_headers_of_every_kind_are_sent_and_kept(recorder, server, manager, number):
    headers = HEADERS[number]
    before = repr(headers), list(headers.items())
    with recorder.running():
        bare = outcome(lambda: manager.request("GET", server.url, headers=headers).status)
    assert (repr(headers), list(headers.items())) == before
    if bare == "returned 200":
        theirs = any(str(name).lower().strip("b'") == "traceparent" for name in headers)
        span = recorder.spans[0]
        assert server.sent("traceparent") == [["theirs" if theirs else f"00-{span['trace_id']}-{span['id']}-01"]]
        assert server.sent("tracestate") == [[] if theirs else ["es=s:1"]]


def test_http2_is_answered_by_what_was_begun(recorder, tls):
    http2 = pytest.importorskip("urllib3.http2")
    pytest.importorskip("h2")
    certificate = ("--certfile", tls.certificate, "--keyfile", tls.key)
    words = ("-m", "hypercorn", "-b", "127.0.0.1:0", *certificate, "echoing:app")
    with Served(*words, files={"echoing.py": ECHOING}, env={"PYTHONPATH": ""}) as served:
        http2.inject_into_urllib3()
        try:
            with urllib3.PoolManager(timeout=5, ca_certs=tls.ca) as manager, recorder.running():
                response = manager.request("GET", f"https://127.0.0.1:{served.port}/", headers={"X-Mine": "m"})
        finally:
            http2.extract_from_urllib3()
    (span,) = recorder.spans
    sent = json.loads(response.data)
    assert (sent["version"], sent["x-mine"], span["outcome"]) == ("2", "m", "success")
    assert sent["traceparent"] == f"00-{span['trace_id']}-{span['id']}-01"


#: Answers with the headers of the request, and with the version of HTTP that it came by.
ECHOING = """
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    found = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({**found, "version": scope["http_version"]}).encode()})
"""


def test_retries_and_redirects_are_one_span(recorder, server):
    with urllib3.PoolManager(timeout=5) as manager, recorder.running():
        assert manager.request("GET", f"{server.url}/redirect/elsewhere/status/200").status == 200
        retries = urllib3.Retry(2, status_forcelist=[503], backoff_factor=0, raise_on_status=False)
        assert manager.request("GET", f"{server.url}/status/503", retries=retries).status == 503
    assert recorder.tree() == (
        "test [test] success\n  GET 127.0.0.1 [external/http] success\n  GET 127.0.0.1 [external/http] failure"
    )
    first, second = (f"00-{span['trace_id']}-{span['id']}-01" for span in recorder.spans)
    assert server.sent("traceparent") == [[first]] * 3 + [[second]] * 3


def test_a_response_that_is_not_read(recorder, server, manager):
    with recorder.running():
        response = manager.request("GET", server.url, preload_content=False)
        assert len(recorder.spans) == 0
        assert b"".join(response.stream(4)) == b'{"status": 200}'
        response.release_conn()
    assert [span["outcome"] for span in recorder.spans] == ["success"]


def test_errors_close_the_span_and_pass_as_they_are(recorder, server, manager):
    cases = {
        f"http://127.0.0.1:{refusing()}/": urllib3.exceptions.NewConnectionError,
        f"{server.url}/reset": urllib3.exceptions.ProtocolError,
        f"{server.url}/garbage": urllib3.exceptions.ProtocolError,
    }
    for url, kind in cases.items():
        recorder.spans.clear()
        with recorder.running(), pytest.raises(kind):
            manager.request("GET", url)
        assert [span["outcome"] for span in recorder.spans] == ["failure"], url
    with recorder.running(), pytest.raises(urllib3.exceptions.TimeoutError):
        manager.request("GET", f"{server.url}/slow", timeout=0.05)
    assert recorder.spans[-1]["outcome"] == "failure"
    with recorder.running(), pytest.raises(urllib3.exceptions.MaxRetryError):
        manager.request("GET", f"{server.url}/reset", retries=urllib3.Retry(1, backoff_factor=0))
    assert recorder.spans[-1]["outcome"] == "failure"


def test_a_proxy(recorder, server):
    with urllib3.ProxyManager(server.url, proxy_headers={"X-Proxy": "p"}, timeout=5) as manager, recorder.running():
        manager.request("GET", "http://behind.example/x")
    assert [(span["name"], span["context"]["http"]["url"]) for span in recorder.spans] == [
        ("GET behind.example", "http://behind.example/x")
    ]
    assert server.sent("x-proxy") == [["p"]]
    assert [len(values) for values in server.sent("traceparent")] == [1]


def test_outside_and_unsampled(recorder, server, manager):
    manager.request("GET", server.url)
    with recorder.running(sampled=False) as transaction:
        manager.request("GET", server.url)
    assert recorder.spans == []
    assert server.sent("traceparent") == [[], [f"00-{transaction.trace_id}-{transaction.id}-00"]]


HOSTILE = [
    lambda url: ((None, url), {}),
    lambda url: ((b"GET", url), {}),
    lambda url: ((5, url), {}),
    lambda url: (("", url), {}),
    lambda url: (("GE T", url), {}),
    lambda url: (("GET", None), {}),
    lambda url: (("GET", url.encode()), {}),
    lambda url: (("GET", ""), {}),
    lambda url: (("GET", "/x"), {}),
    lambda url: (("GET", "ftp://127.0.0.1/"), {}),
    lambda url: (("GET", "http://"), {}),
    lambda url: (("GET", "http://[::1"), {}),
    lambda url: (("GET", "http://127.0.0.1:port"), {}),
    lambda url: (("GET", "http://127.0.0.1:99999"), {}),
    lambda url: (("GET", f"{url}/\r\nx\u00e9 y"), {}),
    lambda url: (("GET", url), {"headers": [("a", "b")]}),
    lambda url: (("GET", url), {"headers": (("a", "b"),)}),
    lambda url: (("GET", url), {"headers": "text"}),
    lambda url: (("GET", url), {"headers": 5}),
    lambda url: (("GET", url), {"headers": {"a": None}}),
    lambda url: (("GET", url), {"headers": {"a": 5}}),
    lambda url: (("GET", url), {"headers": {5: "a"}}),
    lambda url: (("GET", url), {"headers": {b"a": b"b"}}),
    lambda url: (("GET", url), {"headers": MappingProxyType({"a": "b"})}),
    lambda url: (("GET", url), {"headers": {"a": "b\r\nc: d"}}),
    lambda url: (("POST", url), {"body": 5}),
    lambda url: (("GET", url), {"timeout": "x"}),
    lambda url: (("GET", url), {"unknown": 1}),
    lambda url: (("GET",), {}),
    lambda url: ((), {"method": "GET", "url": url}),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_arguments(number, pooled, server, manager, pool):
    def call():
        args, kwargs = HOSTILE[number](server.url)
        before = repr((args, kwargs))
        try:
            if pooled:
                kwargs.setdefault("retries", False)
                response = pool.urlopen(*args, **kwargs)
                kwargs.pop("retries")
            else:
                response = manager.urlopen(*args, **kwargs)
            return response.status
        finally:
            kwargs.pop("retries", None)
            assert repr((args, kwargs)) == before

    bare = outcome(call)
    with instrumented("http_client", "urllib3") as recorder, recorder.running():
        assert outcome(call) == bare
