"""Background jobs: what is said of a sent one, and how the trace context goes along."""

from __future__ import annotations

import pytest

from apm_run.conventions import jobs

ADD = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "es=s:1"}


@pytest.mark.parametrize(
    ("broker", "kind", "subtype", "port"),
    [
        ("amqp", "messaging", "rabbitmq", 5672),
        ("pyamqp", "messaging", "rabbitmq", 5672),
        ("SQS", "messaging", "sqs", None),
        ("azurestoragequeues", "messaging", "azurequeue", None),
        ("redis", "db", "redis", 6379),
        ("sentinel", "db", "redis", 6379),
        ("mongodb", "db", "mongodb", 27017),
    ],
)
def test_brokers(broker, kind, subtype, port):
    draft = jobs.send("Celery", "slow", broker, "host", None)
    assert (draft.name, draft.type, draft.subtype, draft.action) == ("Celery SEND to slow", kind, subtype, "send")
    assert (draft.address, draft.port, draft.target()) == ("host", port, (subtype, "slow"))


@pytest.mark.parametrize("broker", ["memory", "filesystem", None, object])
def test_a_broker_of_no_known_type(broker):
    draft = jobs.send("Celery", "", broker, "host", 1)
    assert (draft.name, draft.type, draft.subtype) == ("Celery SEND to <default>", "custom", None)
    assert (draft.address, draft.port) == (None, None)


def test_headers_go_there_and_back():
    """The worker's program sees its own headers and nothing else; a worker of Elastic's agent finds its own."""
    own = {"task": "add", "own": 1}
    sent = jobs.packed(own, ADD)
    assert own == {"task": "add", "own": 1}
    assert sent == {
        **own,
        **ADD,
        "elasticapm": {"trace_parent_string": ADD["traceparent"], "added": ["traceparent", "tracestate"]},
    }
    assert jobs.carrier(sent) == {name: [value] for name, value in ADD.items()}
    assert jobs.unpacked(sent) == own
    assert jobs.packed(None, ADD) == {name: sent[name] for name in sent if name not in own}


def test_what_the_program_has_put_in_stays():
    for theirs in ({"traceparent": "x"}, {"elasticapm": {"trace_parent_string": "x"}}):
        assert jobs.packed(theirs, ADD) is None
        assert jobs.unpacked(theirs) is None
        assert jobs.carrier(theirs) == {"traceparent": ["x"]}
    sent = jobs.packed({"baggage": "theirs"}, {**ADD, "baggage": "ours=1"})
    assert sent["baggage"] == "theirs"
    assert jobs.unpacked(sent) == {"baggage": "theirs"}


@pytest.mark.parametrize("official", [None, "text", {}, {"trace_parent_string": 5}])
def test_other_headers_of_that_name(official):
    headers = {"elasticapm": official}
    assert jobs.unpacked(headers) is None
    assert jobs.carrier(headers) is None


def test_another_agent_has_put_its_own_over_ours():
    sent = {**jobs.packed({}, ADD), "traceparent": "theirs"}
    assert jobs.unpacked(sent) is None
    assert jobs.carrier(sent)["traceparent"] == ["theirs"]


def test_fields_of_a_record():
    fields = {b"traceparent": b"x", "tracestate": "y", b"baggage": 5, b"data": b"z"}
    assert jobs.stored(fields) == {"traceparent": "x", "tracestate": "y"}
