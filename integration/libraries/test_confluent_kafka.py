"""confluent-kafka against Tansu, which speaks Kafka's protocol: an emulator of the broker, not of the client.

Its types are in C, and ours take their places while it is being imported: each test is a program of its own.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

import confluent_kafka
import pytest
from integration.libraries.received import received
from tests.traced import ROOT, bare, traced

from apm_run.conventions import messaging
from apm_run.propagation import parse

PROGRAM = ROOT / "integration" / "libraries" / "programs" / "confluent.py"
#: Older releases do not understand this broker: they have the mock cluster of librdkafka, in the program itself.
OLD = confluent_kafka.__version__.startswith(("0.", "1."))
SPAN = "  SELECT [db/sqlite/query] success"


@pytest.fixture
def run(sink, kafka):
    """Run a function of the program bare and traced; what it prints and how it ends is the same."""

    def both(name, status=0, broker="mock" if OLD else kafka.address, **options):
        expected = bare("python", PROGRAM, name, broker)
        assert expected.returncode == status, expected.stderr
        env = {f"ELASTIC_APM_{option.upper()}": value for option, value in options.items()}
        found = traced("python", PROGRAM, name, broker, url=sink.url, env=env)
        assert (found.returncode, plain(found.stdout)) == (status, plain(expected.stdout)), found.stderr
        assert last(found.stderr) == last(expected.stderr)
        sink.wait_idle()
        return re.sub(r"topic-[\w-]+-\d+", "T", received(sink))

    return both


def plain(text):
    return re.sub(r"0x[0-9a-f]+|-\d{10,}", "N", text)


def messages(sink):
    found = [one for one in sink.transactions if one["type"] == "messaging"]
    return sorted(found, key=lambda event: event["timestamp"])


def last(text):
    return text.splitlines()[-1:]


def message(*spans, outcome="success", of="T"):
    return "\n".join([f"Kafka RECEIVE from {of} [messaging] {outcome}", *[SPAN] * sum(spans)])


def test_a_transaction_per_polled_message(run, sink):
    assert run("poll") == "\n".join([message(1)] * 3)
    event = messages(sink)[0]
    context = event["context"]["message"]
    assert context.pop("age")["ms"] < 100_000
    headers = context.pop("headers")
    assert headers["password"] == "[REDACTED]"
    assert headers["mine"] == "1"
    assert set(context) == {"queue"}
    assert event["context"]["service"]["framework"] == {"name": "Kafka"}
    # Sent by the same program, before it was known to be a consumer.
    context = parse([headers["traceparent"]])
    assert (context.trace_id, context.parent_id) == (event["trace_id"], event["parent_id"])


def test_body_of_a_message(run, sink):
    run("poll", capture_body="all")
    assert messages(sink)[0]["context"]["message"]["body"] == "message 0"


def test_headers_go_out_in_both_forms(run):
    assert run("headers") == "\n".join([message(1)] * 2)


def test_the_last_message_is_dealt_with_until_the_end(run):
    assert run("left_open") == message(1)


def test_an_exception_ends_the_program(run, sink):
    assert run("uncaught", status=1) == message(1, outcome="failure")
    (error,) = sink.errors
    assert error["exception"]["message"] == "bad message"
    assert error["transaction"]["type"] == "messaging"


def test_a_batch(run, sink):
    tree = run("batch")
    assert set(tree.splitlines()) == {*message(1).splitlines()}
    assert sum(len(one["links"]) for one in messages(sink)) == 3
    assert all("parent_id" not in one for one in messages(sink))


def test_within_a_transaction(run, sink):
    assert run("inside") == ""
    assert [one["type"] for one in sink.transactions if one["name"] == "inside"] == ["custom"]
    spans = sorted(sink.spans, key=lambda event: event["timestamp"])
    names = [re.sub(r"topic-[\w-]+", "T", one["name"]) for one in spans if one["type"] == "messaging"]
    assert names == ["Kafka SEND to T", "Kafka SEND to T", "Kafka POLL from T", "Kafka POLL from T", "Kafka POLL"]
    sends, polls = [[one for one in spans if one.get("action") == action] for action in ("send", "poll")]
    topic = sends[0]["context"]["message"]["queue"]["name"]
    assert sends[0]["context"] == {
        "message": {"queue": {"name": topic}},
        "service": {"target": {"type": "kafka", "name": topic}},
        "destination": {"service": {"resource": f"kafka/{topic}", "name": "", "type": ""}},
    }
    linked = [link["span_id"] for one in polls for link in one.get("links", ())]
    assert linked == [one["id"] for one in sends]


def test_threads_have_their_own(run):
    assert sorted(part.count(SPAN) for part in run("threads").split("Kafka")[1:]) == [2, 3]


def test_serialising_kinds(run):
    assert run("serializing") == message(1)


def test_types_stay_what_they_are(run):
    assert run("types") == "\n".join([message(1)] * 2)


def test_the_library_refuses_what_it_refuses(run, sink):
    run("wrong")
    assert {span["outcome"] for span in sink.spans if span["type"] == "messaging"} == {"failure"}


def test_the_queue_is_full(run, sink):
    assert run("queue_full") == ""
    outcomes = [span["outcome"] for span in sink.spans if span["type"] == "messaging"]
    assert sorted(outcomes) == ["failure", "success"]


def test_a_pool_goes_on_with_other_work(run):
    assert run("executor") == message()


def test_asyncio(run):
    if find_spec("confluent_kafka.aio") is None:
        pytest.skip("this release has no asyncio")
    assert run("aio") == message(1)


def test_the_mock_cluster_of_librdkafka(run):
    assert run("left_open", broker="mock") == message(1)


def test_ignored_topics(run, sink):
    assert run("poll", ignore_message_queues="topic-*") == ""
    assert "Kafka" not in sink.tree()


def test_binary_headers_are_read():
    """Of an agent that sends no textual ones."""
    value = bytes.fromhex(f"0000{'a' * 32}01{'b' * 16}0201")
    assert messaging.carrier([("elasticapmtraceparent", value)]) == {"traceparent": [f"00-{'a' * 32}-{'b' * 16}-01"]}
