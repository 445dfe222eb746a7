"""pika against RabbitMQ."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time

import pika
import pika.exceptions
import pytest
from integration.libraries.received import received
from pika.adapters.asyncio_connection import AsyncioConnection
from tests.instrumentations.recorder import instrumented, outcome
from tests.traced import ROOT, bare, traced

from apm_run.propagation import parse
from apm_run.tracer import current

_NUMBERS = itertools.count()


@pytest.fixture
def recorder():
    with instrumented("pika") as found:
        yield found


@pytest.fixture
def channel(rabbitmq):
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url))
    yield connection.channel()
    if connection.is_open:
        connection.close()


@pytest.fixture
def queue(rabbitmq):
    """A queue of the test's own."""
    name = f"queue-{next(_NUMBERS)}-{time.time_ns()}"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(name)
        yield name
        connection.channel().queue_delete(name)


def name():
    running = current.get()
    return None if running is None else running.transaction.name


def tree(recorder, queue):
    return recorder.tree().replace(queue, "Q")


# What is published


def test_span_of_a_published_message(recorder, channel, queue):
    with recorder.running():
        assert channel.basic_publish("", queue, b"body") is None
        channel.basic_publish(exchange="amq.topic", routing_key="a.b", body="text")
    default, topic = recorder.snapshot()
    assert default == {
        "name": "RabbitMQ SEND to <default>",
        "type": "messaging",
        "subtype": "rabbitmq",
        "action": "send",
        "outcome": "success",
        "sync": True,
        "sample_rate": 1.0,
        "context": {
            "message": {"queue": {"name": "<default>"}, "routing_key": queue},
            "service": {"target": {"type": "rabbitmq", "name": "<default>"}},
            "destination": {"service": {"resource": "rabbitmq/<default>", "name": "", "type": ""}},
        },
    }
    assert topic["name"] == "RabbitMQ SEND to amq.topic"
    assert topic["context"]["message"] == {"queue": {"name": "amq.topic"}, "routing_key": "a.b"}


def test_outside_of_a_transaction_there_is_no_span_and_no_header(recorder, channel, queue):
    channel.basic_publish("", queue, b"body")
    _, properties, _ = channel.basic_get(queue)
    assert properties.headers is None
    channel.basic_get(queue)
    assert recorder.spans == []


def test_headers_of_the_program_are_its_own(recorder, channel, queue):
    mine = {"mine": 1}
    properties = pika.BasicProperties(headers=mine, content_type="text/plain", delivery_mode=2)
    with recorder.running() as transaction:
        channel.basic_publish("", queue, b"body", properties)
        channel.basic_publish("", queue, b"body", properties=properties)
    assert mine == {"mine": 1}
    assert properties.headers is mine
    for span in recorder.spans:
        _, got, body = channel.basic_get(queue, auto_ack=True)
        assert (got.content_type, got.delivery_mode, got.headers["mine"], body) == ("text/plain", 2, 1, b"body")
        context = parse([got.headers["traceparent"]], [got.headers["tracestate"]])
        assert (context.trace_id, context.parent_id, context.sample_rate) == (transaction.trace_id, span["id"], 1.0)
    channel.basic_get(queue)


def test_a_trace_context_of_the_program_wins(recorder, channel, queue):
    own = f"00-{'a' * 32}-{'b' * 16}-01"
    with recorder.running():
        channel.basic_publish("", queue, b"body", pika.BasicProperties(headers={"traceparent": own}))
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    assert got.headers == {"traceparent": own}
    channel.basic_get(queue)


def test_unsampled_and_ignored(rabbitmq, channel, queue):
    with instrumented("pika") as recorder, recorder.running(sampled=False):
        channel.basic_publish("", queue, b"body")
        assert channel.basic_get(queue, auto_ack=True)[1].headers["traceparent"].endswith("-00")
    assert recorder.spans == []
    with instrumented("pika", ignore_message_queues=f"{queue}, amq.t*") as recorder:
        with recorder.running():
            channel.basic_publish("", queue, b"body")
            channel.basic_publish("amq.topic", "a", b"body")
            channel.basic_publish("amq.direct", "a", b"body")
        assert channel.basic_get(queue, auto_ack=True)[1].headers is None
        assert current.get() is None
    assert [span["name"] for span in recorder.spans] == ["RabbitMQ SEND to amq.direct"]


def test_returned_and_refused_messages(recorder, channel, queue):
    channel.confirm_delivery()
    with recorder.running():
        channel.basic_publish("", queue, b"body", mandatory=True)
        with pytest.raises(pika.exceptions.UnroutableError) as unroutable:
            channel.basic_publish("", "nowhere", b"body", mandatory=True)
        assert [message.body for message in unroutable.value.messages] == [b"body"]
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no exchange"):
            channel.basic_publish("nowhere", queue, b"body")
        with pytest.raises(pika.exceptions.ChannelWrongStateError):
            channel.basic_publish("", queue, b"body")
    assert [span["outcome"] for span in recorder.spans] == ["success", "failure", "failure", "failure"]


def test_wrong_arguments_are_pikas_to_refuse(rabbitmq, queue):
    calls = (
        lambda channel: channel.basic_publish(),
        lambda channel: channel.basic_publish(5, queue, b""),
        lambda channel: channel.basic_publish("", queue, b"", properties="x"),
        lambda channel: channel.basic_publish("", queue, b"", properties=pika.BasicProperties(headers=5)),
        lambda channel: channel.basic_publish("", queue, b"", nothing=1),
        lambda channel: channel.basic_consume(queue),
        lambda channel: channel.basic_consume(5, print),
        lambda channel: channel.basic_consume(queue, "no function"),
        lambda channel: channel.basic_get(5),
        lambda channel: channel.basic_get(),
        lambda channel: next(channel.consume(5)),
        lambda channel: channel.basic_get("nowhere"),
        lambda channel: next(channel.consume("nowhere")),
    )

    def all_of_them():
        said = []
        for call in calls:
            with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
                channel = connection.channel()
                said.append(outcome(lambda: call(channel)))  # noqa: B023
        return said

    expected = all_of_them()
    with instrumented("pika") as recorder:
        assert all_of_them() == expected
        with recorder.running():
            assert all_of_them() == expected
    assert {span["outcome"] for span in recorder.spans} == {"failure"}


def test_the_broker_is_down(recorder):
    with pytest.raises(pika.exceptions.AMQPConnectionError), recorder.running():
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", 9))
    assert recorder.spans == []


# Callbacks


def test_a_transaction_per_delivered_message(recorder, channel, queue):
    with recorder.running("sender"):
        for number in range(3):
            channel.basic_publish("", queue, b"%d" % number, pika.BasicProperties(timestamp=int(time.time()) - 5))
    seen = []

    def callback(channel, method, properties, body):
        seen.append((body, name()))
        (channel.basic_ack if body != b"1" else channel.basic_nack)(method.delivery_tag)
        if len(seen) == 4:
            channel.stop_consuming()

    channel.basic_consume(queue, callback)
    channel.start_consuming()
    assert [body for body, _ in seen] == [b"0", b"1", b"2", b"1"]
    assert {inside for _, inside in seen} == {f"RabbitMQ RECEIVE from {queue}"}
    assert tree(recorder, queue) == "\n".join([
        "sender [test] success",
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",  # once more, as it was not acknowledged
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",
    ])  # fmt: skip
    event = recorder.transactions[1]
    message = event["context"]["message"]
    assert 4000 <= message.pop("age")["ms"] < 100_000
    assert set(message.pop("headers")) == {"traceparent", "tracestate"}
    assert message == {"queue": {"name": queue}, "routing_key": queue}
    assert event["context"]["service"] == {"framework": {"name": "RabbitMQ"}}


def test_headers_and_body_of_a_message(rabbitmq, channel, queue):
    with instrumented("pika", capture_body="all") as recorder:
        headers = {"api-key": "secret", "count": 5, "deep": {"password": "x"}}
        channel.basic_publish("", queue, b'{"token": "x", "a": 1}', pika.BasicProperties(headers=headers))
        channel.basic_get(queue)
        channel.basic_get(queue)
    message = recorder.transactions[0]["context"]["message"]
    assert message["body"] == '{"token": "[REDACTED]", "a": 1}'
    assert message["headers"] == {"api-key": "[REDACTED]", "count": "5", "deep": "{'password': '[REDACTED]'}"}


def test_what_a_callback_raises(recorder, channel, queue):
    error = ValueError("bad message")

    def callback(*_):
        raise error

    channel.basic_publish("", queue, b"body")
    channel.basic_consume(queue, on_message_callback=callback, auto_ack=True)
    with pytest.raises(ValueError, match="bad message") as caught:
        channel.start_consuming()
    assert caught.value is error
    assert [one["outcome"] for one in recorder.transactions] == ["failure"]


def test_all_kinds_of_callbacks(recorder, channel, queue):
    seen = []

    class Handler:
        def method(self, channel, method, properties, body):
            seen.append(("method", name()))

        def __call__(self, channel, method, properties, body):
            seen.append(("object", name()))

    def function(more, channel, method, properties, body):
        seen.append((more, name()))

    for callback in (Handler().method, Handler(), functools.partial(function, "partial")):
        tag = channel.basic_consume(queue, callback, auto_ack=True)
        channel.basic_publish("", queue, b"body")
        deadline, before = time.monotonic() + 10, len(seen)
        while len(seen) == before and time.monotonic() < deadline:
            channel.connection.process_data_events(0.1)
        channel.basic_cancel(tag)
    inside = f"RabbitMQ RECEIVE from {queue}"
    assert seen == [("method", inside), ("object", inside), ("partial", inside)]


def test_a_queue_that_the_server_names(recorder, channel):
    made = channel.queue_declare("", exclusive=True).method.queue
    assert made.startswith("amq.gen-")
    for queue in (made, ""):
        tag = channel.basic_consume(queue, lambda *_: channel.stop_consuming(), auto_ack=True)
        channel.basic_publish("", made, b"body")
        channel.start_consuming()
        channel.basic_cancel(tag)
    assert [one["name"] for one in recorder.transactions] == ["RabbitMQ RECEIVE from amq.gen-*"] * 2


def test_what_a_request_waits_for_is_a_part_of_it(recorder, channel, queue):
    """A remote call: the answer comes to a callback within the transaction that has asked."""
    seen = []
    with recorder.running() as transaction:
        transaction.entry = True
        channel.basic_consume(queue, lambda *_: seen.append(name()), auto_ack=True)
        channel.basic_publish("", queue, b"answer")
        while not seen:
            channel.connection.process_data_events(1)
    assert seen == ["test"]
    assert len(recorder.transactions) == 1


# Asking


def test_basic_get(recorder, channel, queue):
    assert channel.basic_get(queue) == (None, None, None)
    with recorder.running("sender"):
        for body in (b"1", b"2"):
            channel.basic_publish("", queue, body)
    assert channel.basic_get(queue, auto_ack=True)[2] == b"1"
    assert name() == f"RabbitMQ RECEIVE from {queue}"
    with recorder.running("asking"):
        assert channel.basic_get(queue=queue, auto_ack=True)[2] == b"2"
        assert channel.basic_get(queue)[2] is None
    assert channel.basic_get(queue)[2] is None
    assert name() is None
    assert tree(recorder, queue) == "\n".join([
        "sender [test] success",
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "asking [test] success",
        "  RabbitMQ POLL from Q [messaging/rabbitmq/poll] success",
        "  RabbitMQ POLL from Q [messaging/rabbitmq/poll] success",
    ])  # fmt: skip
    _, sent, got, empty = recorder.spans
    assert got["links"] == [{"trace_id": sent["trace_id"], "span_id": sent["id"]}]
    assert "links" not in empty
    assert got["context"]["message"] == {"queue": {"name": queue}, "routing_key": queue}


def test_a_loop_over_consume(recorder, channel, queue):
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body)
    seen = []
    for method, _, body in channel.consume(queue, inactivity_timeout=0.3):
        if method is None:
            seen.append((body, name()))
            break
        channel.basic_ack(method.delivery_tag)
        seen.append((body, name()))
    inside = f"RabbitMQ RECEIVE from {queue}"
    assert seen == [(b"1", inside), (b"2", inside), (b"3", inside), (None, None)]
    assert channel.cancel() == 0
    assert [one["outcome"] for one in recorder.transactions] == ["success"] * 3


def test_a_loop_over_consume_that_is_left(recorder, channel, queue):
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body)
    for _ in channel.consume(queue, auto_ack=True):
        break
    assert (name(), len(recorder.transactions)) == (None, 1)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for _ in channel.consume(queue, auto_ack=True):
            1 / 0  # noqa: B018
    assert (name(), len(recorder.transactions)) == (f"RabbitMQ RECEIVE from {queue}", 1)
    channel.cancel()
    assert (name(), len(recorder.transactions)) == (None, 2)


def test_consume_within_a_transaction(recorder, channel, queue):
    channel.basic_publish("", queue, b"1")
    with recorder.running():
        for method, _, _ in channel.consume(queue, auto_ack=True, inactivity_timeout=0.1):
            if method is None:
                break
    assert [span["name"].replace(queue, "Q") for span in recorder.spans] == ["RabbitMQ POLL from Q"] * 2
    channel.cancel()


# Connections that call back


def test_asyncio(recorder, rabbitmq, queue):
    """Messages go out and come in on the event loop."""
    seen = []

    async def run():
        done, opened = asyncio.Event(), asyncio.Event()

        def on_message(channel, method, properties, body):
            seen.append((body, name()))
            channel.basic_ack(method.delivery_tag)
            asyncio.get_running_loop().create_task(later(body))

        async def later(body):
            await asyncio.sleep(0)
            seen.append(("task", name()))
            done.set()

        def on_channel(channel):
            channel.basic_consume(queue, on_message, callback=lambda _: opened.set())
            connection.mine = channel

        connection = AsyncioConnection(
            pika.URLParameters(rabbitmq.url), on_open_callback=lambda one: one.channel(on_open_callback=on_channel)
        )
        await asyncio.wait_for(opened.wait(), 10)
        assert name() is None
        with recorder.running("sender"):
            connection.mine.basic_publish("", queue, b"body")
        await asyncio.wait_for(done.wait(), 10)
        connection.close()
        await asyncio.sleep(0.2)

    asyncio.run(run())
    inside = f"RabbitMQ RECEIVE from {queue}"
    assert seen == [(b"body", inside), ("task", inside)]
    assert tree(recorder, queue) == "\n".join([
        "sender [test] success",
        "  RabbitMQ SEND to <default> [messaging/rabbitmq/send] success",
        "    RabbitMQ RECEIVE from Q [messaging] success",
    ])  # fmt: skip


def test_select_connection(recorder, rabbitmq, queue):
    seen = []

    def on_message(channel, method, properties, body):
        seen.append(name())
        channel.connection.close()

    def on_channel(channel):
        channel.basic_consume(queue, on_message, auto_ack=True)
        channel.basic_publish("", queue, b"body")

    connection = pika.SelectConnection(
        pika.URLParameters(rabbitmq.url),
        on_open_callback=lambda one: one.channel(on_open_callback=on_channel),
        on_close_callback=lambda one, _: one.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    assert seen == [f"RabbitMQ RECEIVE from {queue}"]


def test_many_threads_do_not_mix(recorder, rabbitmq):
    wrong = []

    def run(number):
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            channel = connection.channel()
            queue = f"thread-{number}"
            channel.queue_declare(queue, exclusive=True)
            for _ in range(5):
                channel.basic_publish("", queue, b"body")
            for count, _ in enumerate(channel.consume(queue, auto_ack=True), 1):
                if name() != f"RabbitMQ RECEIVE from {queue}":
                    wrong.append(name())
                if count == 5:
                    break
            if name() is not None:
                wrong.append(name())

    threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(recorder.transactions) == 50


# Whole programs

PROGRAM = """
import sqlite3, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(sys.argv[2])
for body in (b"1", b"2"):
    channel.basic_publish("", sys.argv[2], body)
def work():
    sqlite3.connect(":memory:").execute("SELECT 1")
def callback(channel, method, properties, body):
    work()
    print(body)
    channel.basic_ack(method.delivery_tag)
    if body == b"2":
        channel.stop_consuming()
channel.basic_consume(sys.argv[2], callback)
channel.start_consuming()
work()
channel.basic_publish("", sys.argv[2], b"3")
print(channel.basic_get(sys.argv[2], auto_ack=True)[2])
work()
"""


def test_a_whole_program(sink, rabbitmq, queue, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    expected = bare("python", program, rabbitmq.url, queue)
    assert (expected.returncode, expected.stderr) == (0, "")
    found = traced("python", program, rabbitmq.url, queue, url=sink.url, cwd=ROOT)
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
    sink.wait(lambda sink: len(sink.transactions) >= 3)
    sink.wait_idle()
    line = f"RabbitMQ RECEIVE from {queue} [messaging] success\n  SELECT [db/sqlite/query] success"
    assert received(sink) == "\n".join([line] * 3)
