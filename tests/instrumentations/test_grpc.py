"""grpcio: calls in every style and shape, and both of its servers, on the wire of this machine."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from tests import encoded
from tests.instrumentations.grpc_peer import SERVICE, serving
from tests.instrumentations.recorder import instrumented

from apm_run.tracer import current

KINDS = ("threads", "asyncio")
#: Spec 12.
FAILED = {
    "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS",
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """What the library logs of handlers that raise is of no interest here."""
    monkeypatch.setattr(logging.getLogger("grpc"), "disabled", True)
    for name in ("grpc._server", "grpc._common", "grpc._channel", "grpc._cython.cygrpc"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)


@pytest.fixture
def recorder():
    with recording() as recorder:
        yield recorder


@contextmanager
def recording(**options):
    """The recorder, with the errors of the transactions too."""
    with instrumented("grpc", **options) as recorder:
        recorder.errors, report = [], recorder.transaction

        def transaction(transaction, spans):
            recorder.errors += transaction.errors
            report(transaction, spans)

        recorder.transaction = transaction
        yield recorder


@pytest.fixture
def seen():
    return []


@pytest.fixture(params=KINDS)
def server(request, recorder, seen):
    """The target of a server of each kind; ended before the recorder is."""
    with serving(request.param, seen) as target:
        yield target


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server) as channel:
        yield channel


def unary(channel, name):
    return channel.unary_unary(f"{SERVICE}unary_unary-{name}")


def stream(channel, name):
    return channel.unary_stream(f"{SERVICE}unary_stream-{name}")


def until(condition, what="it"):
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.002)


def served(recorder, count=1):
    """The transactions of the server, once there are as many; the test's own is not among them."""

    def found():
        return [each for each in recorder.transactions if each["type"] == "request"]

    until(lambda: len(found()) >= count, f"{count} transactions, of {found()}")
    return found()


def spans(recorder, count=1):
    """What has ended in the transaction that runs, or was reported."""
    running = current.get()

    def found():
        return recorder.spans if running is None else [encoded.span(span) for span in running.transaction.spans]

    until(lambda: len(found()) >= count, f"{count} spans, of {found()}")
    return found()


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name


# What is reported


def test_whole_span(recorder, channel, server):
    port = int(server.rpartition(":")[2])
    with recorder.running():
        assert unary(channel, "echo")(b"hello") == b"hello"
    assert recorder.snapshot(port) == [
        {
            "name": "/shop.Orders/unary_unary-echo",
            "type": "external",
            "subtype": "grpc",
            "outcome": "success",
            "sync": True,
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


def test_whole_transaction(recorder, channel):
    with recorder.running() as transaction:
        unary(channel, "echo")(b"hello")
    (found,) = served(recorder)
    (span,) = recorder.spans
    assert (found["trace_id"], found["parent_id"]) == (transaction.trace_id, span["id"])
    assert {key: found[key] for key in ("name", "type", "result", "outcome", "sampled", "context")} == {
        "name": "/shop.Orders/unary_unary-echo",
        "type": "request",
        "result": "OK",
        "outcome": "success",
        "sampled": True,
        "context": {"service": {"framework": {"name": "grpc", "version": grpc.__version__}}},
    }


STYLES = {
    "call": lambda channel: unary(channel, "echo")(b"a"),
    "keywords": lambda channel: unary(channel, "echo")(request=b"a", timeout=20, metadata=(("a", "b"),)),
    "with_call": lambda channel: unary(channel, "echo").with_call(b"a")[0],
    "future": lambda channel: unary(channel, "echo").future(b"a").result(20),
    "stream": lambda channel: b"".join(stream(channel, "count")(b"3")),
    "requests": lambda channel: channel.stream_unary(f"{SERVICE}stream_unary-join")(iter([b"a", b"b"])),
    "requests with_call": lambda channel: channel.stream_unary(f"{SERVICE}stream_unary-join").with_call(iter([b"a"]))[
        0
    ],
    "requests future": lambda channel: (
        channel.stream_unary(f"{SERVICE}stream_unary-join").future(iter([b"a"])).result()
    ),
    "both": lambda channel: b"".join(channel.stream_stream(f"{SERVICE}stream_stream-chat")(iter([b"a", b"b"]))),
}
ANSWERS = dict(zip(STYLES, (b"a", b"a", b"a", b"a", b"012", b"a,b", b"a", b"a", b"AB")))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_one_span_and_one_transaction(recorder, channel, seen, style):
    with recorder.running() as transaction:
        assert STYLES[style](channel) == ANSWERS[style]
        assert current.get() is transaction
        (span,) = spans(recorder)
    (found,) = served(recorder)
    assert (span["outcome"], found["outcome"], found["result"]) == ("success", "success", "OK")
    assert found["parent_id"] == span["id"]
    ((_, _, name),) = seen
    assert name == span["name"] == found["name"]


def test_without_a_transaction_nothing_is_added(recorder, channel, seen):
    unary(channel, "echo")(b"a")
    assert recorder.spans == []
    assert served(recorder)[0].get("parent_id") is None
    assert not {"traceparent", "tracestate", "baggage", "elastic-apm-traceparent"} & set(seen[0][1])


@pytest.mark.parametrize("call", [unary, stream])
def test_unsampled(recorder, channel, seen, call):
    with recorder.running(sampled=False):
        answer = call(channel, "echo" if call is unary else "count")(b"1")
        assert answer if call is unary else list(answer)
    assert recorder.spans == []
    assert seen[0][1]["traceparent"].endswith("-00")
    assert served(recorder)[0]["sampled"] is False


def test_options_switch_it_off(seen):
    with recording(recording="false"), serving("asyncio", seen) as target, grpc.insecure_channel(target) as channel:
        assert unary(channel, "echo")(b"a") == b"a"
    assert [name for _, _, name in seen] == [None]


# Errors


@pytest.mark.parametrize("way", ["abort", "set"])
@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code.name != "OK"])
def test_status(recorder, channel, way, code):
    """Spec 12, on both sides; a status is no error."""
    with recorder.running():
        assert code_of(lambda: unary(channel, way)(code.encode())) == code
    (found,) = served(recorder)
    assert (found["result"], found["outcome"]) == (code, "failure" if code in FAILED else "success")
    assert recorder.spans[0]["outcome"] == "failure"
    assert recorder.errors == []


def test_a_handler_raises(recorder, channel):
    with recorder.running():
        assert code_of(lambda: unary(channel, "fail")(b"oh")) == "UNKNOWN"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"]) == ("UNKNOWN", "failure")
    (error,) = recorder.errors
    assert error["exception"]["message"].endswith("oh")
    assert (error["exception"]["type"], error["exception"]["handled"]) == ("Mine", False)
    assert (error["transaction_id"], error["transaction"]["name"]) == (found["id"], found["name"])


def test_a_handler_sets_a_status_and_raises(recorder, channel):
    """It is an error even where the status is no failure of the server."""
    with recorder.running():
        assert code_of(lambda: unary(channel, "set_and_fail")(b"NOT_FOUND")) == "NOT_FOUND"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"]) == ("NOT_FOUND", "success")
    assert [error["exception"]["type"] for error in recorder.errors] == ["Mine"]


def test_a_handler_raises_half_way(recorder, channel):
    got = []
    with recorder.running():
        assert code_of(lambda: got.extend(stream(channel, "count_and_fail")(b"2"))) == "UNKNOWN"
        assert spans(recorder)[0]["outcome"] == "failure"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"], len(recorder.errors)) == ("UNKNOWN", "failure", 1)


def test_there_is_no_such_method(recorder, channel):
    with recorder.running():
        assert code_of(lambda: channel.unary_unary("/shop.Orders/Nothing")(b"")) == "UNIMPLEMENTED"
    assert [(span["name"], span["outcome"]) for span in recorder.spans] == [("/shop.Orders/Nothing", "failure")]


def test_a_response_that_cannot_be_written(recorder, seen):
    with serving("threads", seen) as target, grpc.insecure_channel(target) as channel, recorder.running():
        assert code_of(lambda: unary(channel, "wrong")(b"")) == "INTERNAL"
        (found,) = served(recorder)
        assert (found["result"], found["outcome"]) == ("INTERNAL", "failure")


def test_the_deadline(recorder, channel):
    """The client's affair: the server hears of it as of any cancellation."""
    with recorder.running():
        assert code_of(lambda: unary(channel, "slow")(b"0.3", timeout=0.05)) == "DEADLINE_EXCEEDED"
        (span,) = spans(recorder)
        assert span["outcome"] == "failure"
        assert span["duration"] < 300
    (found,) = served(recorder)
    assert (found["result"], found["outcome"], recorder.errors) == ("CANCELLED", "success", [])


@pytest.mark.parametrize("way", ["cancel", "forget"])
def test_a_stream_is_given_up(recorder, channel, way):
    """Client: the status is CANCELLED, which is not OK. Server: neither failure nor error."""
    with recorder.running() as transaction:
        answers = stream(channel, "forever")(b"")
        assert next(answers) == b"again"
        assert transaction.spans == []
        if way == "cancel":
            answers.cancel()
        del answers
        gc.collect()
        assert spans(recorder)[0]["outcome"] == "failure"
        assert current.get() is transaction
    (found,) = served(recorder)
    assert (found["result"], found["outcome"], recorder.errors) == ("CANCELLED", "success", [])


def test_a_future_is_cancelled(recorder, channel, seen):
    with recorder.running():
        future = unary(channel, "slow").future(b"0.2")
        until(lambda: seen)
        future.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            future.result()
        assert spans(recorder)[0]["outcome"] == "failure"
    (found,) = served(recorder)
    assert (found["result"], found["outcome"]) == ("CANCELLED", "success")


@pytest.mark.parametrize("style", [style for style in STYLES if style != "stream"])
def test_the_server_is_down(recorder, style):
    with grpc.insecure_channel("127.0.0.1:1") as channel, recorder.running():
        assert code_of(lambda: STYLES[style](channel)) == "UNAVAILABLE"
        (span,) = spans(recorder)
        assert (span["outcome"], span["context"]["service"]["target"]["name"]) == ("failure", "127.0.0.1:1")


def test_nobody_comes_while_it_waits(recorder):
    with grpc.insecure_channel("127.0.0.1:1") as channel, recorder.running():
        call = unary(channel, "echo")
        assert code_of(lambda: call(b"", timeout=0.2, wait_for_ready=True)) == "DEADLINE_EXCEEDED"
        assert spans(recorder)[0]["duration"] > 100


@pytest.mark.parametrize("style", STYLES)
def test_a_channel_that_is_closed(recorder, server, style):
    """Its part in C must not be asked for anything any more."""
    channel = grpc.insecure_channel(server)
    calls = {name: getattr(channel, name) for name in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")}
    kept = type("Channel", (), {name: staticmethod(call) for name, call in calls.items()})
    channel.close()
    with recorder.running(), pytest.raises(ValueError, match="closed"):
        STYLES[style](kept)
    assert [span["outcome"] for span in recorder.spans] == ["failure"]


@pytest.mark.parametrize("args", [(), (b"", 1, (), None, None, None, 8)])
def test_wrong_arguments(recorder, channel, args):
    with recorder.running(), pytest.raises(TypeError) as caught:
        unary(channel, "echo")(*args)
    assert "_UnaryUnaryMultiCallable.__call__" in str(caught.value) or "__call__" in str(caught.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones show the frame, decision 4")
def test_tracebacks_are_as_without_us(recorder, channel):
    with recorder.running(), pytest.raises(grpc.RpcError) as caught:
        unary(channel, "fail")(b"")
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert [file for file in files if "apm_run" in file] == []


# Streams


def test_a_stream_ends_when_its_iterator_does(recorder, channel):
    with recorder.running():
        answers = stream(channel, "count")(b"2")
        assert next(answers) == b"0"
        time.sleep(0.05)
        assert list(answers) == [b"1"]
        (span,) = spans(recorder)
    assert span["duration"] >= 50
    assert span["sync"] is False


def test_a_stream_ends_after_its_transaction(recorder, channel):
    with recorder.running():
        answers = stream(channel, "count")(b"2")
        next(answers)
    assert list(answers) == [b"1"]
    assert spans(recorder)[0]["outcome"] == "success"


@pytest.mark.parametrize("way", ["exhaust", "forget", "cancel and forget"])
def test_a_stream_of_a_single_thread(recorder, server, way):
    option = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
    with grpc.insecure_channel(server, options=[option]) as channel, recorder.running():
        answers = stream(channel, "count")(b"100")
        assert next(answers) == b"0"
        if way == "exhaust":
            assert len(list(answers)) == 99
        elif way == "cancel and forget":
            answers.cancel()
        del answers
        gc.collect()
        assert spans(recorder)[0]["outcome"] == ("success" if way == "exhaust" else "failure")


def test_what_produces_the_requests_is_the_caller(recorder, channel):
    """A thread of the library's reads them: its spans hang where the call does, not below an exit span."""
    found = []

    def requests():
        found.append(current.get())
        yield b"a"

    with recorder.running() as transaction:
        channel.stream_unary(f"{SERVICE}stream_unary-join")(requests())
        list(channel.stream_stream(f"{SERVICE}stream_stream-chat")(requests()))
    assert [each for each in found if each not in (None, transaction)] == []


def test_callbacks_of_a_later_future_belong_to_no_earlier_transaction(recorder, channel):
    """One thread of a channel serves all its futures, whoever makes the first."""
    found, both = [], threading.Event()
    with recorder.running():
        first = unary(channel, "slow").future(b"0.1")
    second = unary(channel, "echo").future(b"")
    second.add_done_callback(lambda _: (found.append(current.get()), both.set()))
    assert both.wait(20)
    assert first.result() == b"0.1"
    assert found == [None]


# Metadata


@pytest.mark.parametrize("kind", [tuple, list, lambda pairs: grpc.aio.Metadata(*pairs)], ids=["tuple", "list", "aio"])
def test_metadata_stays_the_programs(recorder, channel, seen, kind):
    own = kind([("mine", "yours"), ("mine-bin", b"\x00\xff")])
    before = list(own)
    with recorder.running() as transaction:
        for style in ("__call__", "with_call", "future"):
            answer = getattr(unary(channel, "echo"), style)(b"", metadata=own)
        answer.result()
    assert list(own) == before
    for _, metadata, _ in seen:
        assert (metadata["mine"], metadata["mine-bin"]) == ("yours", b"\x00\xff")
        assert metadata["traceparent"].split("-")[1] == transaction.trace_id
        assert metadata["elastic-apm-traceparent"] == metadata["traceparent"]
        assert metadata["tracestate"] == "es=s:1"


def test_what_the_program_says_of_the_trace_wins(recorder, channel, seen):
    own = f"00-{'a' * 32}-{'b' * 16}-01"
    with recorder.running():
        unary(channel, "echo")(b"", metadata=[("traceparent", own)])
    assert seen[0][1]["traceparent"] == own
    assert "tracestate" not in seen[0][1]
    (found,) = served(recorder)
    assert (found["trace_id"], found["parent_id"]) == ("a" * 32, "b" * 16)


def test_baggage_and_the_older_name(recorder, channel):
    older = ("elastic-apm-traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
    unary(channel, "echo")(b"", metadata=[older, ("baggage", "user=7")])
    (found,) = served(recorder)
    assert found["parent_id"] == "b" * 16
    assert found["otel"] == {"attributes": {"baggage.user": "7"}}


class Watching(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """An interceptor of the program's."""

    def __init__(self):
        self.seen = []

    def _watch(self, continuation, details, request):
        self.seen.append((details.method, details.metadata, type(current.get()).__name__))
        return continuation(details, request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = _watch


def test_interceptors_of_the_client(recorder, channel, seen):
    """They see what they would, and what they do is none of the call's."""
    watching = Watching()
    channel = grpc.intercept_channel(channel, watching)
    with recorder.running():
        assert unary(channel, "echo")(b"a") == b"a"
        assert unary(channel, "echo").with_call(b"a")[0] == b"a"
        assert unary(channel, "echo").future(b"a").result() == b"a"
        assert list(stream(channel, "count")(b"1", metadata=[("mine", "yours")])) == [b"0"]
        assert code_of(lambda: unary(channel, "fail")(b"")) == "UNKNOWN"
        spans(recorder, 5)
    assert [metadata for _, metadata, _ in watching.seen] == [None, None, None, [("mine", "yours")], None]
    assert {running for _, _, running in watching.seen} == {"Transaction"}
    assert len([1 for _, metadata, _ in seen if "traceparent" in metadata]) == 5
    assert sorted(span["outcome"] for span in recorder.spans) == ["failure", *["success"] * 4]


class Refusing(grpc.ServerInterceptor):
    def __init__(self, seen):
        self.seen = seen

    def intercept_service(self, continuation, details):
        self.seen.append((details.method, dict(details.invocation_metadata)))
        handler = continuation(details)
        if handler is None or not details.method.endswith("slow"):
            return handler
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        )


class RefusingAio(grpc.aio.ServerInterceptor):
    def __init__(self, seen):
        self.seen = seen

    async def intercept_service(self, continuation, details):
        self.seen.append((details.method, dict(details.invocation_metadata)))
        handler = await continuation(details)
        if handler is None or not details.method.endswith("slow"):
            return handler

        async def refuse(request, context):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_interceptors_of_the_server(recorder, kind):
    seen = []
    interceptor = (Refusing if kind == "threads" else RefusingAio)(seen)
    with serving(kind, interceptors=[interceptor]) as target, grpc.insecure_channel(target) as channel:
        assert unary(channel, "echo")(b"a") == b"a"
        assert code_of(lambda: unary(channel, "slow")(b"0")) == "PERMISSION_DENIED"
        assert code_of(lambda: channel.unary_unary("/nothing")(b"")) == "UNIMPLEMENTED"
        found = served(recorder, 2)
    assert [(each["name"].rpartition("-")[2], each["result"], each["outcome"]) for each in found] == [
        ("echo", "OK", "success"),
        ("slow", "PERMISSION_DENIED", "success"),
    ]
    assert len(seen) == 3
    assert recorder.errors == []


# Concurrency


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once(recorder, kind):
    """50 calls at once: each server's transaction hangs below its own client's span."""
    with serving(kind, threads=50) as target, grpc.insecure_channel(target) as channel, ThreadPoolExecutor(50) as pool:

        def ask(number):
            with recorder.running(f"client {number}") as transaction:
                assert unary(channel, "slow")(b"0.05") == b"0.05"
                assert current.get() is transaction
                return transaction.id

        ids = set(pool.map(ask, range(50)))
        found = served(recorder, 50)
    parents = {span["id"]: span["transaction_id"] for span in recorder.spans}
    assert {parents[each["parent_id"]] for each in found} == ids
    assert len({each["trace_id"] for each in found}) == 50


def test_nothing_stays_in_the_threads_of_the_pool(recorder):
    found = []
    with ThreadPoolExecutor(1) as pool:
        from tests.instrumentations.grpc_peer import Threads

        server = grpc.server(pool, handlers=(Threads([]),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert code_of(lambda: unary(channel, "fail")(b"")) == "UNKNOWN"
            pool.submit(lambda: found.append(current.get())).result()
            list(stream(channel, "count")(b"2"))
            pool.submit(lambda: found.append(current.get())).result()
        server.stop(None).wait()
    assert found == [None, None]


# Other channels, servers and stubs


def test_a_socket_in_the_file_system(recorder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving("threads", address="unix:s") as target, grpc.insecure_channel(target) as channel, recorder.running():
        assert unary(channel, "echo")(b"a") == b"a"
    assert recorder.spans[0]["context"] == {
        "service": {"target": {"type": "grpc", "name": "unix:s"}},
        "destination": {"service": {"resource": "unix:s", "name": "", "type": ""}},
    }


def test_a_secure_channel(recorder):
    from tests.instrumentations.grpc_peer import Threads

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=(Threads([]),))
        port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        server.start()
        credentials = grpc.local_channel_credentials()
        with grpc.secure_channel(f"dns:///127.0.0.1:{port}", credentials) as channel, recorder.running():
            assert unary(channel, "echo")(b"a") == b"a"
        server.stop(None).wait()
    assert recorder.spans[0]["context"]["destination"]["address"] == "127.0.0.1"
    assert recorder.spans[0]["context"]["service"]["target"]["name"] == f"127.0.0.1:{port}"


def test_a_channel_that_is_dropped_by_who_has_made_it(recorder, server):
    """Stubs keep what they need; the target is known as long as they are there."""
    call = unary(grpc.insecure_channel(server), "echo")
    gc.collect()
    with recorder.running():
        assert call(b"a") == b"a"
    assert recorder.spans[0]["context"]["service"]["target"]["name"] == server


def test_what_is_known_of_channels_goes_with_them(recorder, server):
    from apm_run.instrumentations.grpc import SYNC

    channels = [grpc.insecure_channel(server) for _ in range(3)]
    ids = {id(channel._channel) for channel in channels}
    assert ids <= SYNC._known.keys()
    for channel in channels:
        channel.close()
    del channel, channels
    gc.collect()
    assert not ids & SYNC._known.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_stubs_and_the_health_service(recorder, kind):
    health = pytest.importorskip("grpc_health.v1.health")
    pb2, stubs = pytest.importorskip("grpc_health.v1.health_pb2"), pytest.importorskip("grpc_health.v1.health_pb2_grpc")
    servicer = health.HealthServicer() if kind == "threads" else health.aio.HealthServicer()
    with health_server(kind, servicer, stubs) as target, grpc.insecure_channel(target) as channel:
        stub = stubs.HealthStub(channel)
        with recorder.running():
            assert stub.Check(pb2.HealthCheckRequest()).status == pb2.HealthCheckResponse.SERVING
            assert code_of(lambda: stub.Check(pb2.HealthCheckRequest(service="none"))) == "NOT_FOUND"
            watch = stub.Watch(pb2.HealthCheckRequest())
            assert next(watch).status == pb2.HealthCheckResponse.SERVING
            watch.cancel()
            spans(recorder, 3)
        found = served(recorder, 3)
    assert [(each["name"], each["result"]) for each in found] == [
        ("/grpc.health.v1.Health/Check", "OK"),
        ("/grpc.health.v1.Health/Check", "NOT_FOUND"),
        ("/grpc.health.v1.Health/Watch", "CANCELLED"),
    ]
    assert recorder.errors == []


@contextmanager
def health_server(kind, servicer, stubs):
    if kind == "threads":
        with ThreadPoolExecutor(4) as pool:
            server = grpc.server(pool)
            stubs.add_HealthServicer_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            yield f"127.0.0.1:{port}"
            server.stop(5).wait()
        return
    from tests.instrumentations.grpc_peer import _loop

    async def start():
        server = grpc.aio.server()
        stubs.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    with _loop() as loop:
        server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
        yield f"127.0.0.1:{port}"
        asyncio.run_coroutine_threadsafe(server.stop(5), loop).result(20)


def test_isinstance_names_and_signatures(recorder, channel):
    import inspect

    call = unary(channel, "echo")
    assert isinstance(call, grpc.UnaryUnaryMultiCallable)
    assert list(inspect.signature(call.with_call).parameters)[:3] == ["request", "timeout", "metadata"]
    assert type(call).__call__.__qualname__ == "_UnaryUnaryMultiCallable.__call__"
