"""httpx: one span per send, sync and async; the program's request stays as it is, the transport sends ours."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from types import MappingProxyType

import httpx
import pytest
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented, outcome

from apm_run.tracer import current


@pytest.fixture
def recorder():
    with instrumented("httpx") as recorder:
        yield recorder


class Sync:
    """The synchronous client with the calls of the asynchronous one's stand-in below."""

    @staticmethod
    def request(*args, **kwargs):
        client = {name: kwargs.pop(name) for name in ("transport",) if name in kwargs}
        with httpx.Client(trust_env=False, verify=False, timeout=5, **client) as client:
            return client.request(*args, **kwargs)


class Async:
    @staticmethod
    def request(*args, **kwargs):
        arguments = {name: kwargs.pop(name) for name in ("transport",) if name in kwargs}

        async def main():
            async with httpx.AsyncClient(trust_env=False, verify=False, timeout=5, **arguments) as client:
                return await client.request(*args, **kwargs)

        return asyncio.run(main())


both = pytest.mark.parametrize("client", [Sync, Async])


@both
def test_whole_span(recorder, server, client):
    with recorder.running():
        assert client.request("GET", f"{server.url}/items", params={"q": "1"}).json() == {"status": 200}
    assert recorder.snapshot(server.port) == [
        {
            "name": "GET 127.0.0.1",
            "type": "external",
            "subtype": "http",
            "outcome": "success",
            "sync": client is Sync,
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
    assert server.sent("tracestate") == [["es=s:1"]]


@both
def test_redirects_are_one_span(recorder, server, client):
    with recorder.running():
        response = client.request("GET", f"{server.url}/redirect/elsewhere/status/404", follow_redirects=True)
    assert [step.status_code for step in response.history] == [302, 302]
    assert recorder.tree() == "test [test] success\n  GET 127.0.0.1 [external/http] failure"
    assert server.sent("traceparent") == [[f"00-{s['trace_id']}-{s['id']}-01"] for s in recorder.spans] * 3


@both
def test_the_programs_request_stays_as_it_is(recorder, server, client):
    bare = client.request("POST", server.url, content=b"body", headers=[("X-A", "b"), ("X-A", "c")])
    with recorder.running():
        response = client.request("POST", server.url, content=b"body", headers=[("X-A", "b"), ("X-A", "c")])
    assert response.request.headers.raw == bare.request.headers.raw
    assert response.request.content == b"body"
    assert [body for *_, body in server.requests] == [b"body", b"body"]
    assert server.sent("x-a") == [["b", "c"], ["b", "c"]]
    assert [len(values) for values in server.sent("traceparent")] == [0, 1]


@both
def test_a_traceparent_of_the_programs_own_stays_alone(recorder, server, client):
    with recorder.running():
        client.request("GET", server.url, headers={"TraceParent": "theirs"})
    assert (server.sent("traceparent"), server.sent("tracestate")) == ([["theirs"]], [[]])


@both
def test_outside_and_unsampled(recorder, server, client):
    client.request("GET", server.url)
    with recorder.running(sampled=False) as transaction:
        client.request("GET", server.url)
    assert recorder.spans == []
    assert server.sent("traceparent") == [[], [f"00-{transaction.trace_id}-{transaction.id}-00"]]


@both
def test_a_transport_of_the_programs_own_sees_the_request_as_bare(recorder, client):
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(503)

    with recorder.running():
        response = client.request("GET", "https://user:secret@mocked.example/x", transport=httpx.MockTransport(handler))
    assert response.request is seen[0]
    assert "traceparent" not in seen[0].headers
    assert [(span["name"], span["context"]["http"]["url"], span["outcome"]) for span in recorder.spans] == [
        ("GET mocked.example", "https://mocked.example/x", "failure")
    ]
    assert recorder.spans[0]["context"]["service"]["target"]["name"] == "mocked.example:443"


def test_a_transport_called_by_the_program_itself(recorder, server):
    request = httpx.Request("GET", server.url)
    with recorder.running() as transaction, httpx.HTTPTransport(trust_env=False, verify=False) as transport:
        response = transport.handle_request(request)
        response.read()
        response.close()
    assert recorder.spans == []
    assert server.sent("traceparent") == [[f"00-{transaction.trace_id}-{transaction.id}-01"]]
    assert "traceparent" not in request.headers


def test_a_stream_ends_its_span_with_the_headers(recorder, server):
    with (
        recorder.running() as transaction,
        httpx.Client(trust_env=False, verify=False) as client,
        client.stream("GET", server.url) as response,
    ):
        assert current.get() is transaction
        assert b"".join(response.iter_bytes(2)) == b'{"status": 200}'
    assert [span["outcome"] for span in recorder.spans] == ["success"]


@both
def test_errors_close_the_span_and_pass_as_they_are(recorder, server, client):
    cases = {
        f"http://127.0.0.1:{refusing()}/": httpx.ConnectError,
        f"{server.url}/reset": httpx.ReadError,
        f"{server.url}/garbage": httpx.RemoteProtocolError,
        f"{server.url}/slow": httpx.ReadTimeout,
        "foo://x/y": httpx.UnsupportedProtocol,
    }
    for url, kind in cases.items():
        recorder.spans.clear()
        with recorder.running(), pytest.raises(kind) as caught:
            client.request("GET", url, timeout=0.3)
        assert [span["outcome"] for span in recorder.spans] == ["failure"] * (url[0] == "h"), url
        assert caught.value.request.url == url
        assert "traceparent" not in caught.value.request.headers


def test_cancellation_closes_the_span(recorder, server):
    async def main():
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=None) as client:
            task = asyncio.create_task(client.get(f"{server.url}/slow"))
            while not server.asked.is_set():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.get(f"{server.url}/slow"), 0.05)

    with recorder.running() as transaction:
        asyncio.run(main())
        assert current.get() is transaction
    assert [span["outcome"] for span in recorder.spans] == ["unknown", "unknown"]


def test_concurrent_requests_are_siblings(recorder, server):
    async def main():
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            await asyncio.gather(*(client.get(f"{server.url}/{number}") for number in range(5)))

    with recorder.running():
        asyncio.run(main())
    assert recorder.tree() == "\n  ".join(["test [test] success"] + ["GET 127.0.0.1 [external/http] success"] * 5)
    parents = {values[0].split("-")[2] for values in server.sent("traceparent")}
    assert parents == {span["id"] for span in recorder.spans}


def test_functions_stay_what_they_are(recorder):
    assert inspect.iscoroutinefunction(httpx.AsyncClient.send)
    assert not inspect.iscoroutinefunction(httpx.Client.send)
    for function in (httpx.Client.send, httpx.AsyncClient.send, httpx.HTTPTransport.handle_request):
        assert pickle.loads(pickle.dumps(function)) is function
        assert inspect.signature(function) == inspect.signature(inspect.unwrap(function))


class Body(httpx.SyncByteStream):
    def __iter__(self):
        yield b"abc"


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
    lambda url: (("GET", httpx.URL(url)), {}),
    lambda url: (("GET", ""), {}),
    lambda url: (("GET", "/x"), {}),
    lambda url: (("GET", "http://"), {}),
    lambda url: (("GET", "http://[::1"), {}),
    lambda url: (("GET", "http://127.0.0.1:port"), {}),
    lambda url: (("GET", "http://127.0.0.1:99999"), {}),
    lambda url: (("GET", "mailto:x@y.z"), {}),
    lambda url: (("GET", f"{url}/\r\nx y"), {}),
    lambda url: (("GET", url), {"headers": [("a", "b"), ("a", "c")]}),
    lambda url: (("GET", url), {"headers": [(b"a", b"b")]}),
    lambda url: (("GET", url), {"headers": [("a",)]}),
    lambda url: (("GET", url), {"headers": httpx.Headers({"a": "b"})}),
    lambda url: (("GET", url), {"headers": "text"}),
    lambda url: (("GET", url), {"headers": 5}),
    lambda url: (("GET", url), {"headers": None}),
    lambda url: (("GET", url), {"headers": {"a": None}}),
    lambda url: (("GET", url), {"headers": {"a": 5}}),
    lambda url: (("GET", url), {"headers": {5: "a"}}),
    lambda url: (("GET", url), {"headers": {"a": "\u20ac"}}),
    lambda url: (("GET", url), {"headers": MappingProxyType({"a": "b"})}),
    lambda url: (("GET", url), {"headers": {"a": "b\r\nc: d"}}),
    lambda url: (("POST", url), {"content": Body()}),
    lambda url: (("POST", url), {"content": 5}),
    lambda url: (("POST", url), {"data": {"a": ["b", "c"]}, "files": {"f": b"x"}}),
    lambda url: (("GET", url), {"auth": 5}),
    lambda url: (("GET", url), {"auth": ("user", "secret")}),
    lambda url: (("GET", url), {"extensions": {"trace": None}}),
    lambda url: (("GET", url), {"unknown": 1}),
    lambda url: (("GET",), {}),
    lambda url: ((), {"method": "GET", "url": url}),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@both
def test_hostile_arguments(number, server, client):
    def call():
        args, kwargs = HOSTILE[number](server.url)
        kept = {name: repr(value) for name, value in kwargs.items()}
        try:
            response = client.request(*args, **kwargs)
            return response.status_code, response.request.method, str(response.url), response.request.headers.raw
        finally:
            assert {name: repr(value) for name, value in kwargs.items()} == kept

    bare = outcome(call)
    with instrumented("httpx") as recorder, recorder.running():
        assert outcome(call) == bare


@pytest.mark.parametrize("asked", [None, 5, "GET", object()])
def test_what_is_no_request(asked):
    def call():
        with httpx.Client(trust_env=False, verify=False) as client:
            return client.send(asked)

    bare = outcome(call)
    with instrumented("httpx") as recorder, recorder.running():
        assert outcome(call) == bare
