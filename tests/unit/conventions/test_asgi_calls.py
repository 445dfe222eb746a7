"""What an ASGI application and its server see of each other when the call between them is traced."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback

import pytest
from tests.unit.conventions.collecting import Collecting

from apm_run import guard
from apm_run.conventions import asgi, http_server
from apm_run.model import SpanDraft
from apm_run.tracer import current

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]}
BODY = {"type": "http.response.body", "body": b"1"}


def scope(**more):
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"shop.example:8080")],
        "client": ("192.0.2.1", 1234),
        "server": ("127.0.0.1", 80),
        **more,
    }


async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}


def call(app, fail=None, **more):
    """Call an application as a server does; what it sent."""
    sent = []

    async def send(message):
        if fail is not None:
            raise fail
        sent.append(message)

    asyncio.run(app(scope(**more), receive, send))
    return sent


async def plain(scope, receive, send):
    await send(START)
    await send(BODY)


@pytest.fixture
def seen():
    found = Collecting()
    yield found
    assert current.get() is None


def test_messages_pass_as_they_are(seen):
    sent = call(asgi.application(seen.tracer, plain, None))
    assert [message is original for message, original in zip(sent, (START, BODY))] == [True, True]
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]


def test_the_application_gets_what_the_server_gives(seen):
    async def app(*given):
        nonlocal got
        got = given
        assert inspect.iscoroutinefunction(given[2])
        await plain(*given)

    got = ()
    given = scope()
    asyncio.run(asgi.application(seen.tracer, app, None)(given, receive, plain_send))
    assert got[0] is given
    assert got[0] == scope()
    assert got[1] is receive


async def plain_send(message):
    pass


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_connections_pass_untouched(seen, kind):
    async def app(*given):
        nonlocal got
        got = given
        assert current.get() is None

    got = ()
    given = ({"type": kind}, receive, plain_send)
    asyncio.run(asgi.application(seen.tracer, app, None)(*given))
    assert [a is b for a, b in zip(got, given)] == [True] * 3
    assert not seen.transactions


def test_the_request_ends_with_the_last_message(seen):
    async def app(scope, receive, send):
        await send(START)
        await send({**BODY, "more_body": True})
        assert not seen.transactions
        await send(BODY)
        assert len(seen.transactions) == 1
        seen.work("in the background")

    call(asgi.application(seen.tracer, app, None))
    assert seen.spans[0]["transaction_id"] == seen.transactions[0]["id"]
    assert seen.transactions[0]["span_count"]["started"] == 0


@pytest.mark.parametrize(
    "messages",
    [
        [{**START, "trailers": True}, BODY, {"type": "http.response.trailers", "headers": []}],
        [START, {"type": "http.response.pathsend", "path": "/x"}],
        [{"type": "http.response.debug", "info": {}}, START, BODY],
        [{"type": "http.response.early_hint", "links": []}, START, BODY],
    ],
    ids=["trailers", "pathsend", "debug", "early_hint"],
)
def test_extensions(seen, messages):
    async def app(scope, receive, send):
        for message in messages:
            assert not seen.transactions
            await send(message)
        assert len(seen.transactions) == 1

    assert call(asgi.application(seen.tracer, app, None)) == messages


@pytest.mark.parametrize("message", [{}, None, {"type": "http.response.start"}])
def test_a_message_that_the_server_will_refuse(seen, message):
    async def app(scope, receive, send):
        await send(message)
        await plain(scope, receive, send)

    assert call(asgi.application(seen.tracer, app, None)) == [message, START, BODY]
    assert len(seen.transactions) == 1


@pytest.mark.parametrize(("messages", "result"), [([], "None"), ([START], "HTTP 2xx")])
def test_no_whole_answer(seen, messages, result):
    """As where the client has gone, which only the application is told."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    call(asgi.application(seen.tracer, app, None))
    assert seen.lines() == [f"GET unknown route | {result} | success | False"]


class ClientDisconnect(Exception):
    """As Starlette calls it."""


@pytest.mark.parametrize(
    ("error", "before", "line"),
    [
        (ValueError(), [], "HTTP 5xx | failure | False | ValueError"),
        (ValueError(), [START], "HTTP 2xx | failure | False | ValueError"),
        (ValueError(), [START, BODY], "HTTP 2xx | success | True | ValueError"),
        (ClientDisconnect(), [START], "HTTP 2xx | success | False"),
        (asyncio.CancelledError(), [START], "HTTP 2xx | success | False"),
        (asyncio.CancelledError(), [], "None | success | False"),
        (GeneratorExit(), [START], "HTTP 2xx | success | False"),
    ],
)
def test_what_the_application_raises_passes(seen, error, before, line):
    async def app(scope, receive, send):
        for message in before:
            await send(message)
        raise error

    with pytest.raises(type(error)):
        call(asgi.application(seen.tracer, app, None))
    assert seen.lines() == [f"GET unknown route | {line}"]


def test_a_server_that_can_not_send(seen):
    with pytest.raises(ConnectionResetError):
        call(asgi.application(seen.tracer, plain, None), fail=ConnectionResetError())
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | False"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones keep the traceback apart from the exception")
def test_tracebacks_are_as_bare(seen):
    class Framework:
        async def __call__(self, scope, receive, send):
            await send(None)

    class Traced(Framework):
        __call__ = asgi.method(seen.tracer, Framework.__call__, "framework")

    def frames(app):
        with pytest.raises(ValueError) as caught:
            call(app, fail=ValueError())
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    def layered(app):
        async def layer(scope, receive, send):
            await app(scope, receive, send)

        return layer

    assert frames(Traced()) == frames(Framework())
    assert frames(layered(Traced())) == frames(layered(Framework()))
    assert frames(asgi.application(seen.tracer, layered(Traced()), None)) == frames(layered(Framework()))


def test_one_request_through_many_layers(seen):
    class Framework:
        async def __call__(self, scope, receive, send):
            seen.work("inside")
            await plain(scope, receive, send)

    Framework.__call__ = asgi.method(seen.tracer, Framework.__call__, "tests")
    middle = asgi.application(seen.tracer, Framework(), None)
    call(asgi.application(seen.tracer, middle, None))
    assert len(seen.transactions) == len(seen.spans) == 1
    assert seen.transactions[0]["context"]["service"]["framework"]["name"] == "tests"


class BaseExceptionGroup(Exception):
    """As the built-in one, which older releases of Python do not have."""


class ExceptionGroup(BaseExceptionGroup):
    def __init__(self, exceptions):
        super().__init__("group")
        self.exceptions = exceptions


def test_an_error_that_a_task_group_wraps_is_one(seen):
    """An inner framework lets it out, the outer one in a group."""
    error = ValueError()

    async def raising(scope, receive, send):
        raise error

    async def grouping(scope, receive, send):
        try:
            await layer(scope, receive, send)
        except ValueError as raised:
            raise ExceptionGroup((ExceptionGroup((raised,)),)) from None

    layer = asgi.application(seen.tracer, raising, "tests")
    with pytest.raises(ExceptionGroup):
        call(asgi.application(seen.tracer, grouping, None))
    assert seen.lines() == ["GET unknown route | HTTP 5xx | failure | False | ValueError"]


def test_a_disconnect_that_a_task_group_wraps_is_no_error(seen):
    """Spec 12: that the client has gone is neither a failure nor an error, whoever wraps it."""

    async def reading(scope, receive, send):
        raise ExceptionGroup((ExceptionGroup((ClientDisconnect(),)),))

    with pytest.raises(ExceptionGroup):
        call(asgi.application(seen.tracer, reading, "tests"))
    (transaction,) = seen.transactions
    assert transaction["outcome"] != "failure"
    assert not [line for line in seen.lines() if "Exception" in line or "Disconnect" in line]


def test_what_the_server_begins_while_it_gets_the_last_message(seen):
    """The next request of a connection may begin in a copy of this one's context: it is another request."""
    app = asgi.application(seen.tracer, plain, None)

    async def main():
        tasks = []

        async def send(message):
            if message is BODY and not tasks:
                tasks.append(asyncio.create_task(app(scope(path="/b"), receive, plain_send)))
                await asyncio.sleep(0)

        await app(scope(), receive, send)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert len(seen.transactions) == 2
    assert len({transaction["trace_id"] for transaction in seen.transactions}) == 2


def test_what_a_request_leaves_behind_may_answer_requests(seen):
    """A task outlives the request that created it, and with it that request's context."""
    app = asgi.application(seen.tracer, plain, None)

    async def main():
        async def spawning(scope, receive, send):
            tasks.append(asyncio.create_task(later()))
            await plain(scope, receive, send)

        async def later():
            await asyncio.sleep(0.01)
            await app(scope(), receive, plain_send)

        tasks = []
        await asgi.application(seen.tracer, spawning, None)(scope(), receive, plain_send)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert len(seen.transactions) == 2


def test_a_call_in_process_is_a_request_of_its_own(seen):
    inner = asgi.application(seen.tracer, plain, None)

    async def app(given, receive, send):
        parent = current.get()
        span = seen.tracer.begin(SpanDraft("GET inner", "external", "http"), parent)
        current.set(span)
        context = seen.tracer.headers(span)["traceparent"].encode()
        await inner(scope(headers=[(b"traceparent", context)]), receive, plain_send)
        current.set(parent)
        seen.tracer.end(span)
        await plain(given, receive, send)

    call(asgi.application(seen.tracer, app, None))
    within, _ = seen.transactions
    assert within["parent_id"] == seen.spans[0]["id"]


def test_requests_side_by_side(seen):
    async def app(scope, receive, send):
        await asyncio.sleep(0.001)
        seen.work(scope["path"])
        await asyncio.gather(*(asyncio.create_task(below(scope["path"])) for _ in range(2)))
        await plain(scope, receive, send)

    async def below(path):
        await asyncio.sleep(0.001)
        seen.work(path)

    async def main():
        traced = asgi.application(seen.tracer, app, None)
        await asyncio.gather(*(traced(scope(path=f"/{n}", raw_path=None), receive, plain_send) for n in range(50)))

    asyncio.run(main())
    paths = {found["id"]: found["context"]["request"]["url"]["pathname"] for found in seen.transactions}
    assert len(paths) == 50
    assert len(seen.spans) == 150
    assert all(paths[span["transaction_id"]] == span["name"] for span in seen.spans)


def test_trace_context(seen):
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    states = [(b"tracestate", b"a=1"), (b"tracestate", b"es=s:0.25")]
    call(asgi.application(seen.tracer, plain, None), headers=[(b"traceparent", parent), *states])
    call(asgi.application(seen.tracer, plain, None), headers=[(b"traceparent", parent), (b"traceparent", parent)])
    continued, own = seen.transactions
    assert (continued["trace_id"], continued["parent_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert continued["sample_rate"] == 0.25
    assert "parent_id" not in own


def test_ignored():
    seen = Collecting(transaction_ignore_urls="/a")

    async def app(scope, receive, send):
        assert not current.get().transaction.sampled
        await plain(scope, receive, send)

    call(asgi.application(seen.tracer, app, None))
    assert not seen.transactions


def test_not_recording():
    seen = Collecting(recording="false")
    assert call(asgi.application(seen.tracer, plain, None)) == [START, BODY]
    assert not seen.transactions


@pytest.mark.parametrize("place", ["inner", "begin", "request", "answer", "die"])
def test_a_failure_of_ours_is_no_matter(monkeypatch, place):
    def failing(*args, **kwargs):
        raise RuntimeError("ours")

    calls = []

    async def app(scope, receive, send):
        calls.append(1)
        await send(START)
        await send(BODY)
        raise ValueError("theirs")

    seen = Collecting()
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(http_server, place, failing)
    with pytest.raises(ValueError, match="theirs"):
        call(asgi.application(seen.tracer, app, None))
    assert calls == [1]
    assert guard.failures
    guard.failures.clear()


def test_headers_that_are_no_list_are_left_alone(seen):
    """An application may send a generator: it is the server's to read."""

    async def app(scope, receive, send):
        await send({**START, "headers": ((name, value) for name, value in [(b"a", b"1")])})
        await send(BODY)

    sent = call(asgi.application(seen.tracer, app, None))
    assert list(sent[0]["headers"]) == [(b"a", b"1")]
    assert "headers" not in seen.transactions[0]["context"]["response"]


def test_arguments_are_refused_as_bare(seen):
    """Servers find out what an application is by calling it without any."""
    with pytest.raises(TypeError):
        asgi.application(seen.tracer, plain, None)()
    with pytest.raises(TypeError):
        asgi.method(seen.tracer, plain, None)(None)
    assert inspect.iscoroutinefunction(asgi.method(seen.tracer, plain, None))


def test_an_application_of_the_older_protocol(seen):
    """ASGI 2: called with the scope, it returns what is called with the rest. Servers adapt it before they serve it."""

    class Framework:
        async def __call__(self, scope, receive, send):
            await plain(scope, receive, send)

    Framework.__call__ = asgi.method(seen.tracer, Framework.__call__, None)

    def double(scope):
        async def instance(receive, send):
            await Framework()(scope, receive, send)

        return instance

    async def adapted(scope, receive, send):
        await double(scope)(receive, send)

    assert call(asgi.application(seen.tracer, adapted, None)) == [START, BODY]
    assert len(seen.transactions) == 1


def test_14_15_every_value_of_a_header_counts(seen):
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    carried = [(b"baggage", b"a=1,no"), (b"tracestate", b""), (b"baggage", b"b=2")]
    call(asgi.application(seen.tracer, plain, None), headers=[(b"elastic-apm-traceparent", parent), *carried])
    call(asgi.application(seen.tracer, plain, None), headers=[(b"traceparent", b"\xff"), *carried])
    call(asgi.application(seen.tracer, plain, None), headers=[(b"tracestate", b"es=s:0.5")])
    legacy, broken, none = seen.transactions
    assert (legacy["trace_id"], "parent_id" in broken) == ("0af7651916cd43dd8448eb211c80319c", False)
    shown = {"baggage.a": "1", "baggage.b": "2"}
    assert legacy["otel"]["attributes"] == broken["otel"]["attributes"] == shown
    assert ("otel" in none, none["sample_rate"]) == (False, 1.0)
