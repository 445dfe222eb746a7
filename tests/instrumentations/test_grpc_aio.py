"""grpc.aio: its clients against both servers, and what only its servers have."""

from __future__ import annotations

import asyncio
import functools
import logging
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tests.instrumentations.grpc_peer import SERVICE, serving
from tests.instrumentations.test_grpc import KINDS, recording, served, spans

from apm_run.tracer import current


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    for name in ("grpc._server", "grpc._common", "grpc._cython.cygrpc", "asyncio"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)


@pytest.fixture
def recorder():
    with recording() as recorder:
        yield recorder


@pytest.fixture
def seen():
    return []


@pytest.fixture(params=KINDS)
def server(request, recorder, seen):
    with serving(request.param, seen) as target:
        yield target


def run(target, work, **options):
    """Run a coroutine function with a channel, in a loop of its own."""

    async def with_channel():
        async with grpc.aio.insecure_channel(target, **options) as channel:
            return await work(channel)

    return asyncio.run(with_channel())


def unary(channel, name):
    return channel.unary_unary(f"{SERVICE}unary_unary-{name}")


def stream(channel, name):
    return channel.unary_stream(f"{SERVICE}unary_stream-{name}")


async def soon(condition):
    """Wait for what another task or thread is about to do."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it does not come")


async def code_of(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code().name


async def each(*items):
    for item in items:
        yield item


async def listed(iterator):
    return [item async for item in iterator]


async def _read(call):
    found = []
    while (item := await call.read()) is not grpc.aio.EOF:
        found.append(item)
    return b"".join(found)


async def _written(channel):
    call = channel.stream_stream(f"{SERVICE}stream_stream-chat")()
    await call.write(b"a")
    found = await call.read()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    return found


STYLES = {
    "call": lambda channel: unary(channel, "echo")(b"a"),
    "keywords": lambda channel: unary(channel, "echo")(request=b"a", metadata=(("a", "b"),)),
    "stream": lambda channel: _joined(stream(channel, "count")(b"3")),
    "read": lambda channel: _read(stream(channel, "count")(b"3")),
    "requests": lambda channel: channel.stream_unary(f"{SERVICE}stream_unary-join")(each(b"a", b"b")),
    "plain requests": lambda channel: channel.stream_unary(f"{SERVICE}stream_unary-join")(iter([b"a"])),
    "both": lambda channel: _joined(channel.stream_stream(f"{SERVICE}stream_stream-chat")(each(b"a", b"b"))),
    "written": _written,
}
ANSWERS = dict(zip(STYLES, (b"a", b"a", b"012", b"012", b"a,b", b"a", b"AB", b"A")))


async def _joined(iterator):
    return b"".join(await listed(iterator))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_one_span_and_one_transaction(recorder, server, seen, style):
    async def work(channel):
        with recorder.running() as transaction:
            assert await STYLES[style](channel) == ANSWERS[style]
            assert current.get() is transaction
            await soon(lambda: transaction.spans)

    run(server, work)
    (span,), (found,) = recorder.spans, served(recorder)
    assert (span["outcome"], found["outcome"], found["result"]) == ("success", "success", "OK")
    assert found["parent_id"] == span["id"]
    assert [name for _, _, name in seen] == [span["name"]] == [found["name"]]


def test_whole_span(recorder, server):
    async def work(channel):
        with recorder.running():
            assert await unary(channel, "echo")(b"hello") == b"hello"

    run(server, work)
    assert recorder.snapshot(int(server.rpartition(":")[2])) == [
        {
            "name": "/shop.Orders/unary_unary-echo",
            "type": "external",
            "subtype": "grpc",
            "outcome": "success",
            "sync": False,
            "sample_rate": 1.0,
            "context": {
                "service": {"target": {"type": "grpc", "name": "127.0.0.1:9999"}},
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": "127.0.0.1:9999", "name": "", "type": ""},
                },
            },
        }
    ]


@pytest.mark.parametrize("code", ["NOT_FOUND", "CANCELLED", "UNAVAILABLE", "INTERNAL"])
def test_status(recorder, server, code):
    async def work(channel):
        with recorder.running():
            assert await code_of(unary(channel, "abort")(code.encode())) == code
            assert await code_of(unary(channel, "set")(code.encode())) == code

    run(server, work)
    failure = "failure" if code in ("UNAVAILABLE", "INTERNAL") else "success"
    assert [(each["result"], each["outcome"]) for each in served(recorder, 2)] == [(code, failure)] * 2
    assert [span["outcome"] for span in recorder.spans] == ["failure"] * 2
    assert recorder.errors == []


def test_a_handler_raises(recorder, server):
    async def work(channel):
        with recorder.running():
            assert await code_of(unary(channel, "fail")(b"oh")) == "UNKNOWN"
            assert await code_of(listed(stream(channel, "count_and_fail")(b"2"))) == "UNKNOWN"

    run(server, work)
    assert [(each["result"], each["outcome"]) for each in served(recorder, 2)] == [("UNKNOWN", "failure")] * 2
    assert [error["exception"]["handled"] for error in recorder.errors] == [False, False]


def test_the_server_is_down(recorder):
    async def work(channel):
        with recorder.running():
            assert await code_of(unary(channel, "echo")(b"")) == "UNAVAILABLE"
            assert await code_of(listed(stream(channel, "count")(b"1"))) == "UNAVAILABLE"
            assert await code_of(unary(channel, "echo")(b"", timeout=0.1, wait_for_ready=True)) == "DEADLINE_EXCEEDED"

    run("127.0.0.1:1", work)
    assert [span["outcome"] for span in recorder.spans] == ["failure"] * 3


def test_a_channel_that_is_closed(recorder, server):
    async def work(channel):
        call = unary(channel, "echo")
        await channel.close()
        with recorder.running(), pytest.raises(grpc.aio.UsageError, match="closed"):
            await call(b"")

    run(server, work)
    assert [span["outcome"] for span in recorder.spans] == ["failure"]


@pytest.mark.parametrize("way", ["cancel", "task"])
def test_a_stream_is_given_up(recorder, server, way):
    async def read(channel):
        async for _ in stream(channel, "forever")(b""):
            pass

    async def work(channel):
        with recorder.running() as transaction:
            if way == "task":
                task = asyncio.ensure_future(read(channel))
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                call = stream(channel, "forever")(b"")
                assert await call.read() == b"again"
                assert transaction.spans == []
                call.cancel()
            await soon(lambda: transaction.spans)

    run(server, work)
    assert recorder.spans[0]["outcome"] == "failure"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"], recorder.errors) == ("CANCELLED", "success", [])


@pytest.mark.parametrize("way", ["call", "task", "deadline"])
def test_a_call_is_cancelled(recorder, server, seen, way):
    async def work(channel):
        with recorder.running() as transaction:
            if way == "deadline":
                assert await code_of(unary(channel, "slow")(b"0.3", timeout=0.1)) == "DEADLINE_EXCEEDED"
            else:
                call = unary(channel, "slow")(b"0.3")
                task = call if way == "call" else asyncio.ensure_future(waited(call))
                await soon(lambda: seen)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await soon(lambda: transaction.spans)

    async def waited(call):
        return await call

    run(server, work)
    assert recorder.spans[0]["outcome"] == "failure"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"], recorder.errors) == ("CANCELLED", "success", [])


def test_what_produces_the_requests_is_the_caller(recorder, server):
    found = []

    async def requests():
        found.append(current.get())
        yield b"a"

    async def work(channel):
        with recorder.running() as transaction:
            assert await channel.stream_unary(f"{SERVICE}stream_unary-join")(requests()) == b"a"
        assert found == [transaction]

    run(server, work)


class Watching(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self):
        self.seen = []

    async def intercept_unary_unary(self, continuation, details, request):
        self.seen.append((dict(tuple(details.metadata)), type(current.get()).__name__))
        call = await continuation(details, request)
        if self.seen[0][0].get("again") == str(len(self.seen)):
            return await continuation(details, request)
        return call


class WatchingStreams(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, seen):
        self.seen = seen

    async def intercept_unary_stream(self, continuation, details, request):
        self.seen.append((dict(tuple(details.metadata)), type(current.get()).__name__))
        return await continuation(details, request)


def test_interceptors_of_the_client(recorder, server, seen):
    """They see what they would; a call that one makes twice is two spans."""
    watching = Watching()

    async def work(channel):
        with recorder.running():
            assert await unary(channel, "echo")(b"a", metadata=(("again", "1"),)) == b"a"
            assert await listed(stream(channel, "count")(b"1")) == [b"0"]

    run(server, work, interceptors=[watching, WatchingStreams(watching.seen)])
    assert watching.seen == [({"again": "1"}, "Transaction"), ({}, "Transaction")]
    assert len([1 for _, metadata, _ in seen if "traceparent" in metadata]) >= 2
    assert {span["context"]["service"]["target"]["name"] for span in recorder.spans} == {server}


@pytest.mark.parametrize("kind", [tuple, list, lambda pairs: grpc.aio.Metadata(*pairs)], ids=["tuple", "list", "aio"])
def test_metadata_stays_the_programs(recorder, server, seen, kind):
    own = kind([("mine", "yours"), ("mine-bin", b"\x00")])
    before = list(own)

    async def work(channel):
        with recorder.running():
            await unary(channel, "echo")(b"", metadata=own)
            await listed(stream(channel, "count")(b"1", metadata=own))

    run(server, work)
    assert list(own) == before
    for _, metadata, _ in seen:
        assert (metadata["mine"], metadata["mine-bin"]) == ("yours", b"\x00")
        assert metadata["elastic-apm-traceparent"] == metadata["traceparent"]


def test_many_at_once(recorder, seen):
    """50 calls at once, from one loop to another."""

    async def ask(channel, number):
        with recorder.running(f"client {number}") as transaction:
            assert await unary(channel, "slow")(b"0.05") == b"0.05"
            assert current.get() is transaction
            return transaction.id

    async def work(channel):
        return await asyncio.gather(*[ask(channel, number) for number in range(50)])

    with serving("asyncio", seen) as target:
        ids = run(target, work)
        found = served(recorder, 50)
    parents = {span["id"]: span["transaction_id"] for span in recorder.spans}
    assert sorted(parents[each["parent_id"]] for each in found) == sorted(ids)


# Handlers of other kinds


async def bound(found, given, request, context):
    found.append(current.get())
    return given.encode()


class Handlers(grpc.GenericRpcHandler):
    """What a server on a loop takes besides coroutine functions."""

    def __init__(self):
        self.found = []

    def service(self, details):
        name = details.method.rpartition("/")[2]
        function = functools.partial(bound, self.found, "given") if name == "bound" else getattr(self, name)
        make = grpc.unary_stream_rpc_method_handler if "stream" in name else grpc.unary_unary_rpc_method_handler
        return make(function)

    def in_thread(self, request, context):
        self.found.append(current.get())
        context.set_code(grpc.StatusCode.ABORTED)
        return b""

    def abort_in_thread(self, request, context):
        context.abort(grpc.StatusCode.DATA_LOSS, "lost")

    def stream_in_thread(self, request, context):
        for _ in range(2):
            self.found.append(current.get())
            yield b"a"

    async def stream_written(self, request, context):
        self.found.append(current.get())
        await context.write(b"a")

    def stream_returned(self, request, context):
        return iter([b"a"])


def test_handlers_of_every_kind(recorder):
    handlers = Handlers()

    async def work():
        with ThreadPoolExecutor(2) as pool:
            server = grpc.aio.server(pool, handlers=(handlers,))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                assert await channel.unary_unary("/s/bound")(b"") == b"given"
                assert await code_of(channel.unary_unary("/s/in_thread")(b"")) == "ABORTED"
                assert await code_of(channel.unary_unary("/s/abort_in_thread")(b"")) == "DATA_LOSS"
                assert await listed(channel.unary_stream("/s/stream_in_thread")(b"")) == [b"a", b"a"]
                assert await listed(channel.unary_stream("/s/stream_written")(b"")) == [b"a"]
                assert await listed(channel.unary_stream("/s/stream_returned")(b"")) == [b"a"]
            await server.stop(5)

    asyncio.run(work())
    assert sorted((each["name"], each["result"], each["outcome"]) for each in served(recorder, 5)) == [
        ("/s/abort_in_thread", "DATA_LOSS", "failure"),
        ("/s/bound", "OK", "success"),
        ("/s/in_thread", "ABORTED", "failure"),
        ("/s/stream_in_thread", "OK", "success"),
        ("/s/stream_written", "OK", "success"),
    ]
    assert [type(each).__name__ for each in handlers.found] == ["Transaction"] * 5
    assert recorder.errors == []


def test_interceptors_that_are_none(recorder):
    """The library refuses them as it would."""

    async def work():
        grpc.aio.server(interceptors=[object()])

    with pytest.raises(ValueError, match="must be ServerInterceptor"):
        asyncio.run(work())


def test_a_server_that_starts_in_a_transaction(recorder):
    """Its calls are none of that transaction's."""
    handlers = Handlers()

    async def work():
        with recorder.running() as transaction:
            server = grpc.aio.server(handlers=(handlers,))
            port = server.add_insecure_port("127.0.0.1:0")
            transaction.entry = True
            await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.unary_unary("/s/bound")(b"")
        await server.stop(5)

    asyncio.run(work())
    assert [each["name"] for each in served(recorder)] == ["/s/bound"]
    assert spans(recorder, 0) == []
