"""aiohttp's client: one span per request of a session; what the program passes stays as it is."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import traceback
from types import MappingProxyType

import aiohttp
import pytest
from multidict import CIMultiDict
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented
from yarl import URL

from apm_run.tracer import current


@pytest.fixture
def recorder():
    with instrumented("aiohttp_client") as recorder:
        yield recorder


def run(recorder, body, sampled=True, **session):
    """Run ``body(session)`` in a transaction."""

    async def main():
        with recorder.running(sampled=sampled):
            async with aiohttp.ClientSession(**session) as opened:
                return await body(opened)

    return asyncio.run(main())


def get(recorder, url, sampled=True, session=None, **arguments):
    async def body(opened):
        async with opened.get(url, **arguments) as response:
            return await response.json(content_type=None, encoding="utf-8")

    return run(recorder, body, sampled, **(session or {}))


def test_whole_span(recorder, server):
    assert get(recorder, f"{server.url}/items", params={"q": "1"}) == {"status": 200}
    assert recorder.snapshot(server.port) == [
        {
            "name": "GET 127.0.0.1",
            "type": "external",
            "subtype": "http",
            "outcome": "success",
            "sync": False,
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


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head", "request"])
def test_every_method(recorder, server, method):
    async def body(session):
        arguments = ("SEARCH",) if method == "request" else ()
        response = await getattr(session, method)(*arguments, URL(f"{server.url}/x"))
        response.release()
        return response.status

    status = run(recorder, body)
    (span,) = recorder.spans
    assert span["name"] == ("SEARCH 127.0.0.1" if method == "request" else f"{method.upper()} 127.0.0.1")
    assert span["context"]["http"]["status_code"] == status


def test_without_a_session_of_its_own(recorder, server):
    async def main():
        with recorder.running():
            async with aiohttp.request("get", f"{server.url}/x") as response:
                return response.status

    assert asyncio.run(main()) == 200
    assert [span["name"] for span in recorder.spans] == ["GET 127.0.0.1"]


@pytest.mark.parametrize(("base", "path"), [("", "/v1/items"), ("/v1/", "items"), ("/v1/", "/v1/items")])
def test_base_url(recorder, server, base, path):
    if base and int(aiohttp.__version__.split(".")[1]) < 12:
        return  # only an origin may be one
    get(recorder, path, session={"base_url": server.url + base}, params={"a": "b"})
    (span,) = recorder.spans
    assert span["context"]["http"]["url"] == f"{server.url}/v1/items?a=b"
    assert span["context"]["service"]["target"]["name"] == f"127.0.0.1:{server.port}"


def test_redirects_are_one_span_and_each_message_has_the_headers(recorder, server):
    assert get(recorder, f"{server.url}/redirect/elsewhere/status/200", params={"a": "b"}) == {"status": 200}
    (span,) = recorder.spans
    assert span["context"]["http"]["url"] == f"{server.url}/redirect/elsewhere/status/200?a=b"
    assert span["context"]["http"]["status_code"] == 200
    assert server.sent("traceparent") == [[f"00-{span['trace_id']}-{span['id']}-01"]] * len(server.requests)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [404, 503])
def test_failing_statuses(recorder, server, status):
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        get(recorder, f"{server.url}/status/{status}", raise_for_status=True)
    assert caught.value.status == status
    (span,) = recorder.spans
    assert (span["outcome"], span["context"]["http"]["status_code"]) == ("failure", status)


def test_refused(recorder):
    url = f"http://127.0.0.1:{refusing()}/"
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        get(recorder, url)
    (span,) = recorder.spans
    assert (span["name"], span["outcome"]) == ("GET 127.0.0.1", "failure")
    assert span["context"]["http"]["url"] == url
    shown = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
    assert "apm_run" not in shown or not hasattr(asyncio, "timeout")  # our frames stay before Python 3.11


def test_reset_and_garbage(recorder, server):
    for path in ("/reset", "/garbage"):
        with pytest.raises(aiohttp.ClientError):
            get(recorder, server.url + path)
    assert [span["outcome"] for span in recorder.spans] == ["failure"] * 2


def test_time_out(recorder, server):
    with pytest.raises(asyncio.TimeoutError):
        get(recorder, f"{server.url}/slow", timeout=aiohttp.ClientTimeout(total=0.1))
    assert [span["outcome"] for span in recorder.spans] == ["failure"]


def test_cancelled(recorder, server):
    async def body(session):
        task = asyncio.create_task(session.get(f"{server.url}/slow")._coro)
        await asyncio.get_running_loop().run_in_executor(None, server.asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(recorder, body)
    assert [span["outcome"] for span in recorder.spans] == ["unknown"]


@pytest.mark.parametrize(
    "headers",
    [{"X-Own": "1"}, CIMultiDict({"X-Own": "1"}), [("X-Own", "1")], MappingProxyType({"X-Own": "1"})],
    ids=["dict", "multi", "pairs", "proxy"],
)
def test_headers_of_the_program_stay(recorder, server, headers):
    before = list(headers.items()) if hasattr(headers, "items") else list(headers)
    try:
        get(recorder, f"{server.url}/x", headers=headers)
    except (TypeError, ValueError, AttributeError):  # not every release takes every kind
        assert not isinstance(headers, dict)
        return
    assert (list(headers.items()) if hasattr(headers, "items") else list(headers)) == before
    assert server.sent("x-own") == [["1"]]
    assert [len(values) for values in server.sent("traceparent")] == [1]


@pytest.mark.parametrize("where", ["session", "request", "listener"])
def test_a_trace_of_the_programs_own(recorder, server, where):
    """In whatever way the program sends one, it is the only one."""
    own = {"Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    seen = []

    async def start(session, context, params):
        seen.append(sorted(params.headers))
        if where == "listener":
            params.headers.update(own)

    listener = aiohttp.TraceConfig()
    listener.on_request_start.append(start)
    session = {"trace_configs": [listener], **({"headers": own} if where == "session" else {})}
    get(recorder, f"{server.url}/x", session=session, headers=own if where == "request" else None)
    assert server.sent("traceparent") == [[own["Traceparent"]]]
    assert server.sent("tracestate") == [[]]
    # Nor does a listener see any of ours.
    assert seen == [[] if where == "listener" else ["Traceparent"]]


def test_baggage_is_appended_to(recorder, server):
    async def body(session):
        recorder.tracer.attach(current.get(), {"ours": "2"})
        async with session.get(f"{server.url}/x", headers={"baggage": "theirs=1"}):
            pass

    run(recorder, body)
    assert server.sent("baggage") == [["theirs=1,ours=2"]]


def test_unsampled_sends_the_context_of_the_transaction(recorder, server):
    get(recorder, f"{server.url}/x", sampled=False)
    assert recorder.spans == []
    (transaction,) = recorder.transactions
    assert server.sent("traceparent") == [[f"00-{transaction['trace_id']}-{transaction['id']}-00"]]


def test_without_a_transaction(recorder, server):
    async def main():
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/x") as response:
            return response.status

    assert asyncio.run(main()) == 200
    assert server.sent("traceparent") == [[]]


def test_bodies_that_stream(recorder, server):
    async def pieces():
        yield b"one,"
        yield b"two"

    async def body(session):
        async with session.post(f"{server.url}/x", data=pieces(), headers={"Content-Length": "7"}) as response:
            return [piece async for piece in response.content.iter_any()]

    assert b"".join(run(recorder, body)) == b'{"status": 200}'
    assert server.requests[0][3] == b"one,two"
    assert [span["outcome"] for span in recorder.spans] == ["success"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("GET",), ("GET", 5), ("GET", None), (5, "http://x/"), ("GET", "ftp://x/"), ("GET", "http://["), ("GET", "")],
    ids=repr,
)
def test_wrong_arguments_raise_as_bare(server, arguments):
    async def main():
        async with aiohttp.ClientSession() as session:
            try:
                await session.request(*arguments)
            except Exception as error:
                return type(error), str(error)

    bare = asyncio.run(main())
    with instrumented("aiohttp_client") as recorder:

        async def traced():
            with recorder.running():
                return await main()

        assert asyncio.run(traced()) == bare
    assert bare is not None


def test_subclasses_and_fifty_at_once(recorder, server):
    with pytest.warns(DeprecationWarning, match="discouraged"):

        class Session(aiohttp.ClientSession):
            async def _request(self, method, url, **arguments):
                return await super()._request(method, f"{server.url}{url}", **arguments)

    async def main():
        async with Session() as session:

            async def one(number):
                with recorder.running(f"task {number}"):
                    async with session.get(f"/{number}") as response:
                        await response.read()

            await asyncio.gather(*map(one, range(50)))

    asyncio.run(main())
    names = {transaction["id"]: transaction["name"] for transaction in recorder.transactions}
    found = {names[span["parent_id"]]: span["context"]["http"]["url"] for span in recorder.spans}
    assert found == {f"task {number}": f"{server.url}/{number}" for number in range(50)}


def test_functions_stay_what_they_are(recorder):
    assert recorder.results == {
        "aiohttp.client:ClientSession._request": "wrapped",
        "aiohttp.client_reqrep:ClientRequest.update_headers": "wrapped",
    }
    assert inspect.iscoroutinefunction(aiohttp.ClientSession._request)
    assert list(inspect.signature(aiohttp.ClientSession._request).parameters)[:3] == ["self", "method", "str_or_url"]
    assert pickle.loads(pickle.dumps(aiohttp.ClientSession._request)) is aiohttp.ClientSession._request
