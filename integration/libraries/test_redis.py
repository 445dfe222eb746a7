"""redis-py against Redis 7: its clients, pipelines, subscriptions, clusters and sentinels, and how they fail."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import pickle
import socket
import threading

import pytest
import redis
from integration.services import free_port
from tests.instrumentations.recorder import instrumented, outcome
from tests.traced import bare, traced

from apm_run.tracer import current

asynchronous = pytest.importorskip("redis.asyncio") if redis.VERSION >= (4, 2) else None
clusters = redis.VERSION >= (4, 1)
needs_asyncio = pytest.mark.skipif(asynchronous is None, reason="before redis.asyncio")
needs_clusters = pytest.mark.skipif(not clusters, reason="before clusters")
needs_async_clusters = pytest.mark.skipif(redis.VERSION < (4, 3), reason="before clusters in redis.asyncio")


@pytest.fixture
def recorder():
    with instrumented("redis") as recorder:
        yield recorder


@pytest.fixture
def client(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
        yield client


def names(recorder):
    """Names and outcomes of the spans; no transaction but the test's was made."""
    assert len(recorder.transactions) == 1
    assert all(span["parent_id"] == recorder.transactions[0]["id"] for span in recorder.spans)
    return [(span["name"], span["outcome"]) for span in recorder.spans]


def span(name, outcome="success", address="localhost", port=9999, sync=True):
    destination = {"service": {"resource": "redis", "name": "", "type": ""}}
    if address is not None:
        destination["address"] = address
    if port is not None:
        destination["port"] = port
    return {
        "name": name,
        "type": "db",
        "subtype": "redis",
        "action": "query",
        "outcome": outcome,
        "sync": sync,
        "sample_rate": 1.0,
        "context": {"db": {"type": "redis"}, "destination": destination, "service": {"target": {"type": "redis"}}},
    }


async def closed(client):
    await (client.aclose if hasattr(client, "aclose") else client.close)()


# What is a span


def test_a_command(recorder, client, redis_server):
    with recorder.running():
        assert client.set("key", "value")
        assert client.get("key") == b"value"
    assert recorder.snapshot(redis_server.port) == [span("SET"), span("GET")]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda client: client.execute_command("get", "key"), "GET"),
        (lambda client: client.execute_command(b"GET", "key"), "GET"),
        (lambda client: client.execute_command("SET key secret"), "SET"),
        (lambda client: client.execute_command("  lpush list secret"), "LPUSH"),
        (lambda client: client.config_get("save"), "CONFIG GET"),
        (lambda client: client.client_list(), "CLIENT LIST"),
        (lambda client: client.hset("hash", mapping={"a": 1}), "HSET"),
        (lambda client: client.publish("nobody", "hears it"), "PUBLISH"),
        (lambda client: client.eval("return 1", 0), "EVAL"),
        (lambda client: list(client.scan_iter()), "SCAN"),
        (lambda client: client.object("encoding", "key"), "OBJECT"),
        (lambda client: client.ping(), "PING"),
    ],
)
def test_names(recorder, client, call, name):
    with recorder.running():
        call(client)
    assert names(recorder) == [(name, "success")]
    assert "secret" not in json.dumps(recorder.spans)


def test_a_script_that_the_server_does_not_know_yet(recorder, client):
    script = client.register_script("return redis.call('GET', KEYS[1])")
    client.set("key", "value")
    with recorder.running():
        assert script(keys=["key"]) == b"value"
        assert script(keys=["key"]) == b"value"
    known = ("EVALSHA", "success")
    assert names(recorder) == [("EVALSHA", "failure"), ("SCRIPT LOAD", "success"), known, known]


def test_a_lock(recorder, client):
    with recorder.running(), client.lock("lock", timeout=5):
        pass
    assert recorder.spans[0]["name"] == "SET"
    assert recorder.spans[-1]["name"] == "EVALSHA"


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_is_one_span(recorder, client, redis_server, transaction):
    with recorder.running(), client.pipeline(transaction=transaction) as pipe:
        assert pipe.execute() == []  # nothing is sent
        assert pipe.set("key", 1).incr("key").get("key").execute() == [True, 2, b"2"]
    assert recorder.snapshot(redis_server.port) == [span("Pipeline.execute")]


def test_a_pipeline_that_watches(recorder, client):
    with recorder.running():
        assert client.transaction(lambda pipe: (pipe.get("key"), pipe.multi(), pipe.incr("key")), "key") == [1]
    done = [(name, "success") for name in ("WATCH", "GET", "Pipeline.execute")]
    assert names(recorder) == done


def test_somebody_else_is_faster(recorder, client):
    with recorder.running(), client.pipeline() as pipe:
        pipe.watch("key")
        client.set("key", 1)
        pipe.multi()
        pipe.incr("key")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert names(recorder)[1:] == [("SET", "success"), ("Pipeline.execute", "failure")]


def test_a_script_in_a_pipeline(recorder, client):
    script = client.register_script("return 1")
    with recorder.running(), client.pipeline() as pipe:
        script(client=pipe)
        assert pipe.execute() == [1]
    assert names(recorder) == [("Pipeline.execute", "success")]


def test_subscribing_is_a_command_and_listening_is_none(recorder, client):
    with recorder.running(), client.pubsub() as channels:
        channels.subscribe("news")
        client.publish("news", "today")
        found = []
        for message in channels.listen():
            found.append(message["data"])
            if len(found) == 2:
                break
        assert channels.get_message(timeout=0.01) is None
        channels.unsubscribe()
        assert found == [1, b"today"]
    done = [(name, "success") for name in ("SUBSCRIBE", "PUBLISH", "UNSUBSCRIBE")]
    assert names(recorder) == done


def test_a_worker_thread_that_listens(recorder, client):
    heard = threading.Event()
    channels = client.pubsub()
    channels.subscribe(news=lambda message: heard.set())
    with recorder.running():
        worker = channels.run_in_thread(sleep_time=0.01)
        client.publish("news", "today")
        assert heard.wait(10)
        worker.stop()
        worker.join(10)
    assert names(recorder) == [("PUBLISH", "success")]


def test_a_monitor_is_none(recorder, client):
    with recorder.running(), client.monitor() as monitor:
        client.set("key", 1)
        while not monitor.next_command()["command"].startswith("SET key"):
            pass  # what a connection says of itself
    assert names(recorder) == [("SET", "success")]


def test_a_command_that_waits(recorder, client):
    with recorder.running():
        assert client.blpop("list", timeout=1) is None
        client.rpush("list", "item")
        assert client.blpop("list", timeout=1) == (b"list", b"item")
    waited, _, found = recorder.spans
    assert (waited["name"], waited["outcome"]) == ("BLPOP", "success")
    assert waited["duration"] > 900 > found["duration"]


def test_outside_a_transaction_nothing_is(recorder, client):
    client.set("key", 1)
    with client.pipeline() as pipe:
        pipe.get("key").execute()
    assert recorder.spans == []


# Ways to a server


def test_a_socket_of_unix(recorder, redis_server):
    with redis.Redis(unix_socket_path=redis_server.socket) as client, recorder.running():
        client.ping()
    assert recorder.snapshot() == [span("PING", address=f"unix://{redis_server.socket}", port=None)]


def test_urls_and_pools(recorder, redis_server):
    url = f"redis://someone:geheim@127.0.0.1:{redis_server.port}/2"
    with recorder.running():
        with redis.Redis.from_url(url.replace("someone:geheim@", "")) as client:
            client.ping()
        pool = redis.BlockingConnectionPool(host="127.0.0.1", port=str(redis_server.port))
        redis.Redis(connection_pool=pool).ping()
        pool.disconnect()
        with redis.Redis.from_url(url) as client, pytest.raises(redis.RedisError):
            client.ping()  # there is no such user
    found = recorder.snapshot(redis_server.port)
    assert found == [span("PING", outcome, "127.0.0.1") for outcome in ("success", "success", "failure")]


def test_one_connection(recorder, redis_server):
    with redis.Redis(port=redis_server.port, single_connection_client=True) as client, recorder.running():
        client.ping()
    assert names(recorder) == [("PING", "success")]


def test_a_sentinel_names_the_server(recorder, redis_server, redis_sentinel):
    from redis.sentinel import Sentinel

    sentinel = Sentinel([("127.0.0.1", redis_sentinel.port)])
    master = sentinel.master_for("mymaster")
    with recorder.running():
        master.set("key", 1)
        master.get("key")
        assert sentinel.discover_master("mymaster") == ("127.0.0.1", redis_server.port)
    found = recorder.snapshot(redis_server.port)
    assert found[:2] == [span("SET", address="127.0.0.1"), span("GET", address="127.0.0.1")]
    assert [one["name"] for one in found[2:]] == ["SENTINEL MASTERS"]
    assert found[2]["context"]["destination"]["port"] == redis_sentinel.port


@needs_clusters
def test_a_cluster(recorder, redis_cluster):
    with redis.RedisCluster(host="127.0.0.1", port=redis_cluster.port) as client, recorder.running():
        assert client.set("key", 1)
        assert client.get("key") == b"1"
        assert client.mget_nonatomic("key", "other") == [b"1", None]
        with client.pipeline() as pipe:
            assert pipe.set("a", 1).set("b", 2).execute() == [True, True]
        with pytest.raises(redis.ResponseError):
            client.lpush("key", 1)
    found = names(recorder)
    assert found[:2] == [("SET", "success"), ("GET", "success")]
    assert {name for name, _ in found[2:-2]} <= {"MGET", "Pipeline.execute"}
    assert found[-2:] == [("Pipeline.execute", "success"), ("LPUSH", "failure")]
    assert recorder.snapshot()[0] == span("SET", address=None, port=None)


# How it fails


def test_the_server_is_down(recorder):
    client, before = redis.Redis(port=free_port()), current.get()
    with recorder.running(), pytest.raises(redis.ConnectionError) as caught:
        client.get("key")
    assert names(recorder) == [("GET", "failure")]
    assert caught.value.__class__ is redis.ConnectionError
    assert current.get() is before


def test_another_type(client):
    """The library's own exception, with what it says bare."""
    client.set("key", 1)
    with pytest.raises(redis.ResponseError) as plain:
        client.lpush("key", 1)
    with instrumented("redis") as recorder, recorder.running(), pytest.raises(redis.ResponseError) as caught:
        client.lpush("key", 1)
    assert (type(caught.value), str(caught.value)) == (type(plain.value), str(plain.value))
    assert str(caught.value).startswith("WRONGTYPE")
    assert names(recorder) == [("LPUSH", "failure")]


def test_an_error_within_a_pipeline(recorder, client):
    client.set("key", 1)
    with recorder.running(), client.pipeline() as pipe:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.lpush("key", 1).get("key").execute()
        error, value = pipe.lpush("key", 1).get("key").execute(raise_on_error=False)
    assert isinstance(error, redis.ResponseError)
    assert value == b"1"
    assert names(recorder) == [("Pipeline.execute", "failure"), ("Pipeline.execute", "success")]


def test_the_server_takes_too_long(recorder, redis_server):
    with redis.Redis(port=redis_server.port, socket_timeout=0.1) as client, recorder.running():
        with pytest.raises(redis.TimeoutError):
            client.blpop("nothing", timeout=5)
        assert client.ping()  # on another connection
    assert names(recorder) == [("BLPOP", "failure"), ("PING", "success")]


def test_the_pool_is_exhausted(recorder, redis_server):
    pool = redis.ConnectionPool(port=redis_server.port, max_connections=1)
    client, held = redis.Redis(connection_pool=pool), pool.get_connection(*_named())
    with recorder.running(), pytest.raises(redis.ConnectionError, match=r"(?i)too many connections"):
        client.get("key")
    assert names(recorder) == [("GET", "failure")]
    pool.release(held)
    pool.disconnect()


def _named():
    """Before 5.3 a pool asks what the connection is for."""
    return ("GET",) if redis.VERSION < (5, 3) else ()


def test_a_connection_that_is_lost_is_made_anew(recorder, client):
    """One command, one span: the retry is the client's own affair."""
    client.set("key", 1)
    client.client_kill_filter(_id=client.client_id(), skipme=False) if redis.VERSION >= (4,) else None
    with recorder.running():
        assert client.get("key") == b"1"
    assert names(recorder) == [("GET", "success")]


@pytest.mark.skipif(redis.VERSION < (4, 1), reason="before a client takes a retry")
def test_it_tries_again(recorder):
    """A server that takes connections and closes them: however often it is tried, it is one command."""
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, tried, over = listening.getsockname()[1], [], threading.Event()

        def serve():
            while not over.is_set():
                listening.accept()[0].close()
                tried.append(1)

        server = threading.Thread(target=serve)
        server.start()
        client = redis.Redis(
            port=port, retry=Retry(ConstantBackoff(0.01), 3), retry_on_error=[redis.ConnectionError], socket_timeout=5
        )
        with recorder.running(), pytest.raises(redis.ConnectionError):
            client.get("key")
        over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        server.join(10)
    assert names(recorder) == [("GET", "failure")]
    assert len(tried) >= 2  # a connection that breaks while it greets is not always tried again


@pytest.mark.parametrize("call", [lambda c: c.execute_command(), lambda c: c.execute_command(42), lambda c: c.get()])
def test_wrong_arguments(client, call):
    plain = outcome(lambda: call(client))
    assert plain.startswith("raised")
    with instrumented("redis") as recorder, recorder.running():
        assert outcome(lambda: call(client)) == plain
    assert recorder.spans == []


# The program as without us


class Counting(redis.Redis):
    """A program's own client."""

    def execute_command(self, *args, **options):
        return ("counted", super().execute_command(*args, **options))


def test_a_client_of_the_programs_own(recorder, redis_server):
    with Counting(port=redis_server.port) as client, recorder.running():
        assert client.set("key", 1) == ("counted", True)
    assert names(recorder) == [("SET", "success")]


def test_functions_look_as_they_did(recorder):
    function = redis.Redis.execute_command
    assert function.__qualname__ == "Redis.execute_command"
    assert list(inspect.signature(function).parameters) == ["self", "args", "options"]
    assert pickle.loads(pickle.dumps(redis.Redis)) is redis.Redis
    if asynchronous is not None:
        assert inspect.iscoroutinefunction(asynchronous.Redis.execute_command)
        assert not inspect.iscoroutinefunction(asynchronous.client.Pipeline.execute_command)


def test_threads_keep_their_own(recorder, redis_server):
    client = redis.Redis(port=redis_server.port)

    def work(number):
        with recorder.running(f"work {number}"):
            for _ in range(20):
                client.set(f"key {number}", number)
                assert client.get(f"key {number}") == str(number).encode()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    check_separate(recorder, 10, 40)


def check_separate(recorder, transactions, spans):
    assert len({one["id"] for one in recorder.transactions}) == transactions
    for one in recorder.transactions:
        assert len([span for span in recorder.spans if span["parent_id"] == one["id"]]) == spans


# asyncio


@needs_asyncio
def test_commands_and_pipelines_of_asyncio(recorder, redis_server):
    async def main():
        client = asynchronous.Redis(port=redis_server.port)
        await client.set("key", 1)
        async with client.pipeline() as pipe:
            assert await pipe.incr("key").get("key").execute() == [2, b"2"]
            await pipe.watch("key")
            assert await pipe.get("key") == b"2"
            pipe.multi()
            assert await pipe.incr("key").execute() == [3]
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            await client.lpush("key", 1)
        await closed(client)

    with recorder.running():
        asyncio.run(main())
    done = [(name, "success") for name in ("SET", "Pipeline.execute", "WATCH", "GET", "Pipeline.execute")]
    assert names(recorder) == [*done, ("LPUSH", "failure")]
    assert recorder.snapshot(redis_server.port)[0] == span("SET", sync=False)


@needs_asyncio
def test_a_subscription_of_asyncio(recorder, redis_server):
    async def main():
        client = asynchronous.Redis(port=redis_server.port)
        channels = client.pubsub()
        await channels.subscribe("news")
        await client.publish("news", "today")
        found = []
        async for message in channels.listen():
            found.append(message["data"])
            if len(found) == 2:
                break
        assert found == [1, b"today"]
        await closed(channels)
        await closed(client)

    with recorder.running():
        asyncio.run(main())
        gc.collect()
    assert names(recorder) == [("SUBSCRIBE", "success"), ("PUBLISH", "success")]


@needs_asyncio
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_command_of_asyncio_that_is_broken_off(recorder, redis_server, how):
    async def main():
        client = asynchronous.Redis(port=redis_server.port)
        await client.ping()
        waiting = asyncio.ensure_future(client.blpop("nothing", timeout=5))
        if how == "cancelled":
            await asyncio.sleep(0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, 0.1)
        await client.ping()
        await closed(client)

    with recorder.running():
        asyncio.run(main())
    assert names(recorder) == [("PING", "success"), ("BLPOP", "unknown"), ("PING", "success")]
    assert recorder.spans[1]["duration"] < 3000


@needs_asyncio
def test_the_server_is_down_for_asyncio(recorder):
    async def main():
        client = asynchronous.Redis(port=free_port())
        with pytest.raises(redis.ConnectionError):
            await client.get("key")
        await closed(client)

    with recorder.running():
        asyncio.run(main())
    assert names(recorder) == [("GET", "failure")]


@needs_asyncio
def test_tasks_keep_their_own(recorder, redis_server):
    async def work(client, number):
        with recorder.running(f"work {number}"):
            for _ in range(4):
                await client.set(f"key {number}", number)
                assert await client.get(f"key {number}") == str(number).encode()

    async def main():
        client = asynchronous.Redis(port=redis_server.port)
        await asyncio.gather(*(work(client, number) for number in range(50)))
        await closed(client)

    asyncio.run(main())
    check_separate(recorder, 50, 8)


@needs_async_clusters
def test_a_cluster_of_asyncio(recorder, redis_cluster):
    async def main():
        client = asynchronous.RedisCluster(host="127.0.0.1", port=redis_cluster.port)
        await client.initialize()
        with recorder.running():
            assert await client.set("key", 1)
            pipe = client.pipeline()
            assert await pipe.set("a", 1).get("a").execute() == [True, b"1"]
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                await client.lpush("key", 1)
        await closed(client)

    asyncio.run(main())
    assert names(recorder) == [("SET", "success"), ("Pipeline.execute", "success"), ("LPUSH", "failure")]


# A whole program

PROGRAM = """
import sys
import redis

client = redis.Redis(port=int(sys.argv[1]))
print(client.set("key", "value"), client.get("key"))
with client.pipeline() as pipe:
    print(pipe.incr("count").expire("count", 10).execute()[1])
try:
    client.lpush("key", 1)
except redis.ResponseError as error:
    print(type(error), error)
"""


def test_a_program(sink, tmp_path, redis_server):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    plain = bare("python", program, redis_server.port)
    done = traced("python", program, redis_server.port, url=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
    sink.wait(lambda sink: sink.transactions and len(sink.spans) == 4)
    assert [line.strip() for line in sink.tree().splitlines()] == [
        "program.py [script] success",
        "SET [db/redis/query] success",
        "GET [db/redis/query] success",
        "Pipeline.execute [db/redis/query] success",
        "LPUSH [db/redis/query] failure",
    ]
