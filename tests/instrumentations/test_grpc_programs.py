"""Whole programs with gRPC, traced: servers ended by SIGTERM, clients that are over at once, and forks."""

from __future__ import annotations

import sys

import grpc
import pytest
from tests.instrumentations.served import APPS, Ended
from tests.receiver import Sink
from tests.traced import bare, traced

KINDS = ("threads", "asyncio")
SERVER = APPS / "serve_grpc.py"
TRACE = "a" * 32


def ask(port, trace_id=TRACE):
    """Every method, once; what came of it."""
    metadata = [("traceparent", f"00-{trace_id}-{'b' * 16}-01")]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        found = [channel.unary_unary("/shop.Orders/Echo")(b"a", metadata=metadata, timeout=30)]
        found += channel.unary_stream("/shop.Orders/Count")(b"3", metadata=metadata, timeout=30)
        found.append(channel.unary_unary("/shop.Orders/Relay")(b"b", metadata=metadata, timeout=30))
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/shop.Orders/Fail")(b"", metadata=metadata, timeout=30)
        return [*found, caught.value.code().name, caught.value.details()]


def once(events):
    """Each event once: the request that is in flight when a process is killed may be sent again."""
    return list({each["id"]: each for each in events}.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_ended(kind):
    """Nothing of what it has answered is lost, and it ends as it would."""
    with Ended(SERVER, kind) as served:
        expected = ask(served.port)
        served.settle()
        log, status = served.log, served.end()
    with Sink() as sink, Ended(SERVER, kind, sink=sink) as served:
        assert ask(served.port) == expected
        traces = [f"{number:032x}" for number in range(1, 21)]
        for trace_id in traces:
            with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
                metadata = [("traceparent", f"00-{trace_id}-{'b' * 16}-01")]
                channel.unary_unary("/shop.Orders/Echo")(b"a", metadata=metadata)
        served.settle()
        assert served.log == log
        assert any("LookupError" in line for line in log)
        assert served.end() == status
        served.flush()
        sink.wait(lambda found: len(once(found.transactions)) >= 26)
        transactions, spans = once(sink.transactions), once(sink.spans)
        mine = [each for each in transactions if each["trace_id"] == TRACE]
        names = sorted((each["name"], each["result"], each["outcome"]) for each in mine)
        assert names == [
            ("/shop.Orders/Count", "OK", "success"),
            ("/shop.Orders/Count", "OK", "success"),
            ("/shop.Orders/Echo", "OK", "success"),
            ("/shop.Orders/Echo", "OK", "success"),
            ("/shop.Orders/Fail", "UNKNOWN", "failure"),
            ("/shop.Orders/Relay", "OK", "success"),
        ]
        assert len(transactions) == 26
        assert {each["trace_id"] for each in transactions} == {TRACE, *traces}
        (relay,) = [each for each in mine if each["name"].endswith("Relay")]
        assert relay["span_count"] == {"started": 2, "dropped": 0}
        assert {span["context"]["destination"]["address"] for span in spans} == {"localhost"}
        assert {span["transaction_id"] for span in spans} == {relay["id"]}
        parents = {each.get("parent_id") for each in mine}
        assert {span["id"] for span in spans} < parents
        (error,) = once(sink.errors)
        assert (error["exception"]["type"], error["exception"]["handled"]) == ("LookupError", False)


CLIENT = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    print(channel.unary_unary("/shop.Orders/Echo")(b"a"))
    print(list(channel.unary_stream("/shop.Orders/Count")(b"2")))
    print(channel.unary_unary("/shop.Orders/Echo").future(b"b").result())
    try:
        channel.unary_unary("/shop.Orders/Fail")(b"")
    except grpc.RpcError as error:
        print(type(error), error.code())
"""

AIO_CLIENT = """
import asyncio, sys, grpc
async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        print(await channel.unary_unary("/shop.Orders/Echo")(b"a"))
        print([each async for each in channel.unary_stream("/shop.Orders/Count")(b"2")])
        print(await channel.unary_unary("/shop.Orders/Echo")(b"b"))
        try:
            await channel.unary_unary("/shop.Orders/Fail")(b"")
        except grpc.RpcError as error:
            print(type(error), error.code())
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [CLIENT, AIO_CLIENT], ids=["sync", "aio"])
def test_a_client_that_is_over_at_once(program):
    """What its own transaction holds; its end waits for nothing else."""
    with Ended(SERVER, "threads") as served, Sink() as sink:
        command = ("python", "-c", program, f"127.0.0.1:{served.port}")
        expected = bare(*command)
        done = traced(*command, url=sink.url)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected.stdout, expected.stderr)
        sink.wait(lambda found: found.transactions)
        (transaction,) = sink.transactions
        assert transaction["type"] == "script"
        outcomes = [(span["name"], span["outcome"]) for span in sorted(sink.spans, key=lambda span: span["timestamp"])]
        assert outcomes == [
            ("/shop.Orders/Echo", "success"),
            ("/shop.Orders/Count", "success"),
            ("/shop.Orders/Echo", "success"),
            ("/shop.Orders/Fail", "failure"),
        ]


FORK = """
import os, sys, grpc
def ask():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        answers = channel.unary_stream("/shop.Orders/Count")(b"2")
        return channel.unary_unary("/shop.Orders/Echo")(b"a") + b"".join(answers)
if sys.argv[2] == "after":
    print(ask(), flush=True)
pid = os.fork()
if pid == 0:
    print("child", ask(), flush=True)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print("parent", ask())
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_that_forks(when):
    """The library lets a program fork, where that is asked for; so do we."""
    with Ended(SERVER, "threads") as served, Sink() as sink:
        command = ("python", "-c", FORK, f"127.0.0.1:{served.port}", when)
        env = {"GRPC_ENABLE_FORK_SUPPORT": "1", "GRPC_POLL_STRATEGY": "poll", "GRPC_VERBOSITY": "NONE"}
        expected = bare(*command, env=env, timeout=30)
        done = traced(*command, url=sink.url, env=env, timeout=30)
        assert (done.returncode, done.stdout) == (expected.returncode, expected.stdout)
        asked = done.stdout.count("a01")
        sink.wait(lambda found: len(found.spans) >= 2 * asked)
        assert len({span["id"] for span in sink.spans}) == len(sink.spans) == 2 * asked
        assert {span["outcome"] for span in sink.spans} == {"success"}
        assert asked == 2 + (when == "after")


def test_importing_it_changes_nothing():
    """Instrumented when it is imported, and no part of it before its time."""
    program = "import grpc, sys; print(sorted(name for name in sys.modules if name.startswith('grpc')))"
    assert traced("python", "-c", program).stdout == bare("python", "-c", program).stdout
    assert sys.modules["grpc"] is grpc
