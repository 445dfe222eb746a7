"""kafka-python against Tansu, which speaks Kafka's protocol: an emulator of the broker, not of the client."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from contextlib import contextmanager
from importlib import metadata

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the library's own
    import kafka
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.errors import KafkaError

from integration.libraries.received import received
from tests.instrumentations.recorder import instrumented, outcome
from tests.traced import ROOT, bare, traced

from apm_run.conventions import messaging
from apm_run.propagation import parse
from apm_run.tracer import current

#: Of the library itself: what it thinks of plain functions as deserialisers; sockets that it leaves where none answers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not implement:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

_NUMBERS = itertools.count()
FORK = any(found.metadata["Name"] == "kafka-python-ng" for found in metadata.distributions())  # of 2.0
NEW = tuple(int(part) for part in kafka.__version__.split(".")[:2]) >= (2, 1) and not FORK
# Before 2.1 the broker's version is guessed from what it refuses, which this one does not.
VERSION = {} if NEW else {"api_version": (2, 5)}


@pytest.fixture
def recorder():
    with instrumented("kafka_python") as found:
        yield found


@pytest.fixture
def producer(kafka):
    found = KafkaProducer(bootstrap_servers=kafka.address, **VERSION)
    yield found
    found.close()


@pytest.fixture
def topic():
    return f"topic-{next(_NUMBERS)}-{time.time_ns()}"


def fill(producer, topic, count, **more):
    for number in range(count):
        producer.send(topic, b"%d" % number, partition=0, **more).get(20)


@contextmanager
def consuming(kafka, topic, start=0, **more):
    found = KafkaConsumer(bootstrap_servers=kafka.address, **VERSION, **more)
    found.assign([TopicPartition(topic, 0)])
    found.seek(TopicPartition(topic, 0), start)
    try:
        yield found
    finally:
        found.close()


def polled(consumer, count):
    """So many records, in as many batches as they come in."""
    batches = []
    deadline = time.monotonic() + 20
    while sum(map(len, batches)) < count and time.monotonic() < deadline:
        batches += consumer.poll(timeout_ms=1000).values()
    return batches


def name():
    running = current.get()
    return None if running is None else running.transaction.name


def tree(recorder, topic):
    return recorder.tree().replace(topic, "T")


# What is sent


def test_span_of_a_sent_record(recorder, producer, topic):
    with recorder.running():
        assert producer.send(topic, b"body", partition=0).get(20).topic == topic
    (span,) = recorder.snapshot()
    assert span == {
        "name": f"Kafka SEND to {topic}",
        "type": "messaging",
        "subtype": "kafka",
        "action": "send",
        "outcome": "success",
        "sync": True,
        "sample_rate": 1.0,
        "context": {
            "message": {"queue": {"name": topic}},
            "service": {"target": {"type": "kafka", "name": topic}},
            "destination": {"service": {"resource": f"kafka/{topic}", "name": "", "type": ""}},
        },
    }


def test_headers_of_the_program_are_its_own(recorder, producer, kafka, topic):
    mine = [("mine", b"1")]
    with recorder.running() as transaction:
        fill(producer, topic, 1, headers=mine)
        fill(producer, topic, 1)
    fill(producer, topic, 1, headers=mine)
    fill(producer, topic, 1)
    assert mine == [("mine", b"1")]
    with consuming(kafka, topic) as consumer:
        first, second, *rest = [dict(record.headers) for batch in polled(consumer, 4) for record in batch]
    assert rest == [{"mine": b"1"}, {}]
    assert list(first) == ["mine", "traceparent", "tracestate", "elasticapmtraceparent"]
    assert list(second) == ["traceparent", "tracestate", "elasticapmtraceparent"]
    for headers, span in zip((first, second), recorder.spans):
        context = parse([headers["traceparent"].decode()], [headers["tracestate"].decode()])
        assert (context.trace_id, context.parent_id, context.sample_rate) == (transaction.trace_id, span["id"], 1.0)
        assert messaging.from_binary(headers["elasticapmtraceparent"]) == headers["traceparent"].decode()


def test_a_trace_context_of_the_program_wins(recorder, producer, kafka, topic):
    own = [("traceparent", b"theirs")]
    with recorder.running():
        fill(producer, topic, 1, headers=own)
    with consuming(kafka, topic) as consumer:
        assert [record.headers for batch in polled(consumer, 1) for record in batch] == [own]


def test_ignored_topics(kafka, producer, topic):
    with instrumented("kafka_python", ignore_message_queues="topic-*") as recorder:
        with recorder.running():
            fill(producer, topic, 1)
        with consuming(kafka, topic) as consumer:
            assert [record.headers for batch in polled(consumer, 1) for record in batch] == [[]]
            assert name() is None
            with recorder.running():
                consumer.poll(0)
    assert recorder.spans == []
    assert [one["name"] for one in recorder.transactions] == ["test", "test"]


def test_unsampled(recorder, producer, kafka, topic):
    with recorder.running(sampled=False):
        fill(producer, topic, 1)
    with consuming(kafka, topic) as consumer:
        ((record,),) = polled(consumer, 1)
    assert dict(record.headers)["traceparent"].endswith(b"-00")
    assert dict(record.headers)["elasticapmtraceparent"][-1] == 0
    assert recorder.spans == []


def test_what_is_refused_is_the_librarys_to_refuse(kafka, producer, topic):
    calls = (
        producer.send,
        lambda: producer.send(topic),
        *([lambda: producer.send(5, b"x")] if NEW else []),  # older ones wait a minute for such a topic
        lambda: producer.send(topic, 5),
        lambda: producer.send(topic, b"x", headers=(("a", b"b"),)),
        lambda: producer.send(topic, b"x", headers={"a": b"b"}),
        lambda: producer.send(topic, b"x", headers=[("a", 5)]),
        lambda: producer.send(topic, b"x", nothing=1),
        lambda: producer.send(topic, b"x" * 2_000_000, partition=0),
    )

    def all_of_them():
        with consuming(kafka, topic) as consumer:
            # A record that is too large is larger by our headers.
            said = [re.sub(r"\d+ bytes", "N bytes", outcome(call)) for call in calls]
            return [*said, outcome(lambda: consumer.poll(-1)), outcome(lambda: consumer.poll(0, max_records=-1))]

    fill(producer, topic, 1)
    expected = all_of_them()
    with instrumented("kafka_python") as recorder:
        assert all_of_them() == expected
        with recorder.running():
            assert all_of_them() == expected
    assert len(recorder.spans) == 9
    assert {span["outcome"] for span in recorder.spans} == {"failure"}


def test_headers_are_kept_from_brokers_that_know_none(recorder, kafka, producer, topic):
    """Records of before 0.11 have no headers: a producer that is told of such a broker would refuse ours."""
    fill(producer, topic, 1)
    if not NEW:
        pytest.skip("a producer that is told of one asks for it by an API that this broker does not have")
    producer.config["api_version"] = (0, 10)
    with recorder.running():
        producer.send(topic, b"old", partition=0).get(20)
    with consuming(kafka, topic, start=1) as consumer:
        ((record,),) = polled(consumer, 1)
    assert record.headers == []


def test_the_broker_is_down(recorder, kafka, topic):
    from integration.services.kafka import Tansu

    with Tansu() as server:
        producer = KafkaProducer(
            bootstrap_servers=server.address, max_block_ms=300, request_timeout_ms=500, retries=0, **VERSION
        )
        server.end()
        with recorder.running():
            found = outcome(lambda: producer.send(topic, b"body"))
            if found.startswith("returned"):  # the future says it
                with pytest.raises(KafkaError):
                    producer.send(topic, b"body").get(5)
        producer.close(0)
    assert {span["outcome"] for span in recorder.spans} == {"failure"}


# What is received


def test_a_transaction_per_record_of_a_loop(recorder, producer, kafka, topic):
    with recorder.running("sender"):
        fill(producer, topic, 3)
    seen = []
    with consuming(kafka, topic, consumer_timeout_ms=2000) as consumer:
        for record in consumer:
            seen.append((record.value, name()))
            if record.value == b"1":
                break
        assert name() is None
        seen += [(record.value, name()) for record in consumer]
        assert name() is None
    inside = f"Kafka RECEIVE from {topic}"
    assert seen == [(b"0", inside), (b"1", inside), (b"2", inside)]
    assert tree(recorder, topic) == "\n".join([
        "sender [test] success",
        *[
            "  Kafka SEND to T [messaging/kafka/send] success",
            "    Kafka RECEIVE from T [messaging] success",
        ] * 3,
    ])  # fmt: skip
    message = recorder.transactions[1]["context"]["message"]
    assert message.pop("age")["ms"] < 100_000
    assert set(message.pop("headers")) == {"traceparent", "tracestate"}
    assert message == {"queue": {"name": topic}}
    assert recorder.transactions[1]["context"]["service"] == {"framework": {"name": "Kafka"}}


def test_an_exception_leaves_the_loop(recorder, producer, kafka, topic):
    """The message is dealt with until the consumer is asked again, or closed."""
    fill(producer, topic, 1)
    with consuming(kafka, topic, consumer_timeout_ms=5000) as consumer:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            for _ in consumer:
                1 / 0  # noqa: B018
        assert name() == f"Kafka RECEIVE from {topic}"
    assert name() is None


def test_next_and_islice(recorder, producer, kafka, topic):
    fill(producer, topic, 3)
    with consuming(kafka, topic, consumer_timeout_ms=5000) as consumer:
        assert next(consumer).value == b"0"
        assert name() == f"Kafka RECEIVE from {topic}"
        assert [record.value for record in itertools.islice(consumer, 2)] == [b"1", b"2"]
        assert isinstance(iter(consumer), KafkaConsumer)
    assert len(recorder.transactions) == 3


def test_a_batch(recorder, producer, kafka, topic):
    with recorder.running("sender"):
        fill(producer, topic, 3)
    links = [{"trace_id": span["trace_id"], "span_id": span["id"]} for span in recorder.spans]
    with consuming(kafka, topic) as consumer:
        batches = polled(consumer, 3)
        assert name() == f"Kafka RECEIVE from {topic}"
        assert consumer.poll(0) == {}
        assert name() is None
    found = [one for one in recorder.transactions if one["type"] == "messaging"]
    assert len(found) == len(batches)
    assert [link for one in found for link in one["links"]] == links
    assert all("parent_id" not in one for one in found)
    assert found[0]["context"]["message"] == {"queue": {"name": topic}}


def test_within_a_transaction(recorder, producer, kafka, topic):
    fill(producer, topic, 2)
    with consuming(kafka, topic, consumer_timeout_ms=300) as consumer, recorder.running():
        assert next(consumer).value == b"0"
        assert [record.value for record in consumer] == [b"1"]
        consumer.poll(0)
        assert name() == "test"
    assert tree(recorder, topic) == "\n".join([
        "test [test] success",
        *["  Kafka RECEIVE from T [messaging/kafka/receive] success"] * 3,
        "  Kafka POLL from T [messaging/kafka/poll] success",
    ])  # fmt: skip


def test_links_of_a_poll_within_a_transaction(recorder, producer, kafka, topic):
    with recorder.running("sender"):
        fill(producer, topic, 2)
    sent = {span["id"] for span in recorder.spans}
    with consuming(kafka, topic) as consumer, recorder.running():
        polled(consumer, 2)
    polls = [span for span in recorder.spans if span["action"] == "poll"]
    assert {link["span_id"] for span in polls for link in span.get("links", ())} == sent


def test_body_and_headers(kafka, producer, topic):
    with instrumented("kafka_python", capture_body="transactions") as recorder:
        body, headers = b'{"password": "x", "a": 1}', [("api-key", b"x"), ("plain", b"y")]
        producer.send(topic, body, partition=0, headers=headers).get(20)
        with consuming(kafka, topic, consumer_timeout_ms=5000) as consumer:
            next(consumer)
    message = recorder.transactions[0]["context"]["message"]
    assert message["body"] == '{"password": "[REDACTED]", "a": 1}'
    assert message["headers"] == {"api-key": "[REDACTED]", "plain": "y"}


def test_deserialised_values_and_tombstones(recorder, producer, kafka, topic):
    producer.send(topic, value=None, key=b"k", partition=0).get(20)
    fill(producer, topic, 1)
    with consuming(kafka, topic, consumer_timeout_ms=2000, value_deserializer=lambda _: {"a": 1}) as consumer:
        assert [record.key for record in consumer] == [b"k", None]
    assert [one["outcome"] for one in recorder.transactions] == ["success"] * 2


def test_a_group(recorder, producer, kafka, topic):
    if not NEW:
        pytest.skip("this broker does not know the way in which older releases join a group")
    fill(producer, topic, 1)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.address,
        group_id=f"group-{topic}",
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        max_poll_interval_ms=6000,
        consumer_timeout_ms=30_000,
        **VERSION,
    )
    for record in consumer:
        assert record.value == b"0"
        consumer.commit()
        break
    consumer.close()
    assert [one["name"] for one in recorder.transactions] == [f"Kafka RECEIVE from {topic}"]


PROGRAM = """
import sqlite3, sys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
address, topic, version = sys.argv[1], sys.argv[2], eval(sys.argv[3])
producer = KafkaProducer(bootstrap_servers=address, **version)
for body in (b"1", b"2", b"3"):
    producer.send(topic, body, partition=0).get(20)
producer.close()
def work():
    sqlite3.connect(":memory:").execute("SELECT 1")
consumer = KafkaConsumer(bootstrap_servers=address, **version)
consumer.assign([TopicPartition(topic, 0)])
consumer.seek(TopicPartition(topic, 0), 0)
for record in consumer:
    work()
    print(record.value)
    if record.value == b"2":
        break
work()
print(next(consumer).value)
work()
sys.exit(3)
"""


def test_a_whole_program(sink, kafka, topic, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    expected = bare("python", program, kafka.address, topic, repr(VERSION))
    assert expected.returncode == 3, expected.stderr
    found = traced("python", program, kafka.address, topic, repr(VERSION), url=sink.url, cwd=ROOT)
    assert (found.returncode, found.stdout) == (3, expected.stdout), found.stderr
    sink.wait(lambda sink: len(sink.transactions) >= 3)
    sink.wait_idle()
    line = f"Kafka RECEIVE from {topic} [messaging] %s\n  SELECT [db/sqlite/query] success"
    assert received(sink) == "\n".join([line % "success", line % "success", line % "failure"])
