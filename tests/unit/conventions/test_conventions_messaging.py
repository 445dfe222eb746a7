"""Messages as events show them (spec 14, 16, 18.3, 22)."""

from __future__ import annotations

import pytest
from tests import encoded
from tests.engine import Engine, settings

from apm_run import guard
from apm_run.conventions import messaging
from apm_run.instrument import entries
from apm_run.intake.context import of_event
from apm_run.propagation import incoming

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
BINARY = bytes.fromhex(f"0000{TRACE}01{SPAN}0201")
ADD = {"traceparent": PARENT, "tracestate": "es=s:0.5"}


def shown(message, **options):
    """``context.message`` of a transaction."""
    return of_event({"message": message.context(whole=True)}, "transaction", settings(**options))["message"]


# Binary headers


def test_14_binary_headers_are_29_bytes():
    assert messaging.to_binary(PARENT) == BINARY
    assert len(BINARY) == 29
    assert messaging.from_binary(BINARY) == PARENT
    unsampled = PARENT[:-2] + "00"
    assert messaging.from_binary(messaging.to_binary(unsampled)) == unsampled


@pytest.mark.parametrize(
    "value",
    [
        b"",
        BINARY[:-1],
        BINARY + b"\0",
        b"\1" + BINARY[1:],
        BINARY[:1] + b"\1" + BINARY[2:],
        BINARY[:18] + b"\0" + BINARY[19:],
        BINARY[:27] + b"\0" + BINARY[28:],
        PARENT,
        None,
    ],
)
def test_14_what_is_no_binary_header(value):
    assert messaging.from_binary(value) is None
    assert messaging.carrier([(messaging.BINARY, value)]) == {}


def test_14_a_record_gets_both_forms_as_bytes():
    assert messaging.records(None, ADD) == [
        ("traceparent", PARENT.encode()),
        ("tracestate", b"es=s:0.5"),
        ("elasticapmtraceparent", BINARY),
    ]


def test_14_a_textual_header_counts_before_a_binary_one():
    other = f"00-{'c' * 32}-{'d' * 16}-01"
    both = [(messaging.BINARY, BINARY), ("TraceParent", other.encode()), ("tracestate", b"es=s:1")]
    assert messaging.carrier(both) == {"traceparent": [other], "tracestate": ["es=s:1"]}


def test_14_a_binary_header_comes_without_tracestate():
    found = messaging.carrier([("tracestate", b"es=s:1"), (messaging.BINARY, BINARY)])
    assert found == {"traceparent": [PARENT]}
    context, _ = incoming(found)
    assert (context.trace_id, context.parent_id, context.sampled, context.tracestate) == (TRACE, SPAN, True, "")


def test_14_a_binary_header_that_says_zero_is_none():
    context, _ = incoming(messaging.carrier([(messaging.BINARY, bytes.fromhex(f"0000{'0' * 32}01{SPAN}0201"))]))
    assert context is None


def test_carrier_of_odd_headers():
    odd = [(b"traceparent", b"x"), (5, 5), ("traceparent", 5), ("traceparent", None), ("other", b"x"), (None, None)]
    assert messaging.carrier(odd) == {}
    twice = [("traceparent", PARENT), ("traceparent", PARENT)]
    assert messaging.carrier(twice) == {"traceparent": [PARENT, PARENT]}  # more than one is none


# The program's headers


def test_headers_of_a_record_are_never_the_programs_own():
    given = [("mine", b"1")]
    found = messaging.records(given, ADD)
    assert given == [("mine", b"1")]
    assert [name for name, _ in found] == ["mine", "traceparent", "tracestate", "elasticapmtraceparent"]
    given = {"mine": b"1"}
    found = messaging.records(given, ADD)
    assert given == {"mine": b"1"}
    assert list(found) == ["mine", "traceparent", "tracestate", "elasticapmtraceparent"]


@pytest.mark.parametrize("given", [(), (("a", b"b"),), 5, "text", [("traceparent", b"x")], {"Traceparent": b"x"}])
def test_headers_that_are_left_alone(given):
    assert messaging.records(given, ADD) is None


def test_odd_headers_are_the_librarys_to_refuse():
    found = messaging.records([5, (), ("tracestate", b"theirs")], ADD)
    assert found[:3] == [5, (), ("tracestate", b"theirs")]
    assert [name for name, _ in found[3:]] == ["traceparent", "elasticapmtraceparent"]


def test_headers_of_a_message_of_rabbitmq():
    given = {"mine": 1, "tracestate": "theirs"}
    assert messaging.table(given, ADD) == {"traceparent": PARENT, **given}
    assert given == {"mine": 1, "tracestate": "theirs"}
    assert messaging.table(None, ADD) == ADD
    assert messaging.table({"traceparent": "theirs"}, ADD) is None
    assert messaging.table({5: 5}, ADD) == {**ADD, 5: 5}
    assert messaging.table([], ADD) is None


# Names


def test_18_3_names_of_what_is_sent():
    draft = messaging.send("RabbitMQ", "rabbitmq", messaging.exchange("orders"), routing_key="a.b")
    assert (draft.name, draft.type, draft.subtype, draft.action) == (
        "RabbitMQ SEND to orders",
        "messaging",
        "rabbitmq",
        "send",
    )
    assert draft.context == {"message": {"queue": {"name": "orders"}, "routing_key": "a.b"}}
    assert draft.target() == ("rabbitmq", "orders")
    assert messaging.send("RabbitMQ", "rabbitmq", messaging.exchange("")).name == "RabbitMQ SEND to <default>"
    assert messaging.send("RabbitMQ", "rabbitmq", messaging.exchange(None)) is None
    assert messaging.send("Kafka", "kafka", 5) is None


def test_18_3_temporary_queues_are_grouped():
    assert messaging.grouped("amq.gen-jx8fVzbB5Yqp") == "amq.gen-*"
    assert messaging.grouped("") == "amq.gen-*"  # the one that the server has named last
    assert messaging.grouped("orders") == "orders"


def test_18_3_a_poll_is_named_by_what_it_asks_for_or_by_what_has_come():
    assert messaging.poll("Kafka", "kafka").name == "Kafka POLL"
    assert messaging.poll("Kafka", "kafka").target() == ("kafka", "")
    draft = messaging.poll("Kafka", "kafka", ["b", "a", "a"])
    assert (draft.name, draft.target()) == ("Kafka POLL from a, b", ("kafka", "a, b"))
    messaging.polled(draft, "Kafka", [])
    assert draft.name == "Kafka POLL from a, b"
    messaging.polled(draft, "Kafka", [messaging.Message("a", headers=[("traceparent", PARENT)])])
    assert draft.name == "Kafka POLL from a"
    assert draft.links == [{"traceparent": [PARENT]}]
    draft = messaging.poll("Kafka", "kafka", action="receive")
    messaging.polled(draft, "Kafka", [messaging.Message(queue) for queue in "abcde"])
    assert draft.name == "Kafka RECEIVE from a, b, c and 2 more"
    assert draft.context == {"message": {"queue": {"name": "a, b, c and 2 more"}}}


def test_18_3_a_span_shows_neither_headers_nor_body():
    draft = messaging.poll("Kafka", "kafka")
    message = messaging.Message("a", headers=[("a", b"b")], body=b"body", timestamp_ms=1, routing_key="key")
    messaging.polled(draft, "Kafka", [message])
    assert draft.context["message"] == {
        "queue": {"name": "a"},
        "age": {"ms": message.age_ms},
        "routing_key": "key",
    }


# Transactions


def begun(draft, **options):
    engine = Engine(**options)
    transaction = entries.begin(engine.tracer, draft)
    entries.end(transaction)
    return encoded.transaction(transaction, [])


def test_18_3_a_single_message_is_the_parent():
    message = messaging.Message("orders", headers=[("traceparent", PARENT)], body=b"{}")
    event = begun(messaging.received("Kafka", [message]))
    assert (event["name"], event["type"]) == ("Kafka RECEIVE from orders", "messaging")
    assert (event["trace_id"], event["parent_id"]) == (TRACE, SPAN)
    assert "links" not in event
    assert event["context"] == {
        "message": {"queue": {"name": "orders"}, "headers": {"traceparent": PARENT}},
        "service": {"framework": {"name": "Kafka"}},
    }


def test_18_3_a_batch_is_linked_even_if_it_is_one():
    message = messaging.Message("orders", headers=[("traceparent", PARENT)])
    for messages, batch in (([message], True), ([message, messaging.Message("orders")], False)):
        event = begun(messaging.received("Kafka", messages, batch=batch))
        assert event["links"] == [{"trace_id": TRACE, "span_id": SPAN}]
        assert "parent_id" not in event
        assert event["trace_id"] != TRACE
        assert event["context"]["message"] == {"queue": {"name": "orders"}}
    assert messaging.received("Kafka", []) is None
    assert messaging.received("Kafka", [], batch=True) is None


def test_16_at_most_1000_messages_are_inspected():
    headers = [("traceparent", PARENT)]
    messages = [messaging.Message("orders", headers=headers) for _ in range(1500)]
    assert len(begun(messaging.received("Kafka", messages))["links"]) == 1000
    draft = messaging.poll("Kafka", "kafka")
    messaging.polled(draft, "Kafka", messages)
    assert len(draft.links) == 1000


def test_18_3_age():
    assert messaging.Message("q", timestamp_ms=10**15).context(whole=True)["age"] == {"ms": 0}
    assert messaging.Message("q", timestamp_ms=1).age_ms > 10**12
    for unknown in (None, 0, -1, "5", True):
        assert "age" not in messaging.Message("q", timestamp_ms=unknown).context(whole=True)


def test_18_3_body():
    message = messaging.Message("q", body="ü" * 20_000)
    assert "body" not in shown(message)
    assert "body" not in shown(message, capture_body="errors")
    for option in ("transactions", "all"):
        assert shown(message, capture_body=option)["body"] == "ü" * 9_999 + "\u2026"
    assert shown(message, capture_body="all", long_field_max_length=5)["body"] == "üüüü\u2026"
    for body, text in (
        (b"plain", "plain"),
        ("text", "text"),
        (bytearray(b"array"), "array"),
        (memoryview(b"view"), "view"),
        (("ü" * 20_000).encode(), "ü" * 9_999 + "\u2026"),
        (b'{"password": "x", "a": 1}', '{"password": "[REDACTED]", "a": 1}'),
        (b"[INFO] no JSON", "[INFO] no JSON"),
    ):
        assert shown(messaging.Message("q", body=body), capture_body="all")["body"] == text
    for body in (b"\xff\xfe", b"", None, 5, {"a": 1}):
        assert "body" not in shown(messaging.Message("q", body=body), capture_body="all")


def test_22_message_headers_are_sanitised():
    headers = [
        ("Authorization", b"Bearer x"),
        ("password", "x"),
        ("count", 5),
        ("text", b"\xc3\xbc"),
        ("table", {"token": "x", "a": [1]}),
        ("none", None),
        ("other", object()),
        (messaging.BINARY, BINARY),
        (5, 5),
    ]
    message = messaging.Message("q", headers=headers)
    assert shown(message)["headers"] == {
        "authorization": "[REDACTED]",
        "password": "[REDACTED]",
        "count": "5",
        "text": "ü",
        "table": "{'token': '[REDACTED]', 'a': [1]}",
    }
    assert "headers" not in shown(message, capture_headers="false")


def test_18_3_errors_show_neither_headers_nor_body():
    context = {"message": messaging.Message("q", headers=[("a", b"b")], body=b"x").context(whole=True)}
    assert of_event(context, "error")["message"] == {"queue": {"name": "q"}}


def test_what_can_not_be_made_readable_is_left_out(monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})

    def broken():
        raise LookupError
        yield

    message = messaging.Message("q", headers=broken(), body=b"x")
    monkeypatch.setattr(messaging, "cut", lambda *_: 1 / 0)
    assert shown(message, capture_body="all") == {"queue": {"name": "q"}}
    assert set(guard.failures) == {"message headers", "message body"}


def test_a_function_that_returns_messages():
    """What comes in a list or a dictionary is a batch, everything else a message."""
    found = messaging.receive(
        "library:Consumer.poll",
        "Kafka",
        "kafka",
        lambda call, result: [messaging.Message("orders")] if result else [],
        queues=lambda call: ["asked"],
        loop="__iter__",
        leave=("close",),
        through="inner",
    )
    assert (found.path, found.loop, found.leave, found.through) == (
        "library:Consumer.poll",
        "__iter__",
        ("close",),
        "inner",
    )
    draft = found.poll(None)
    assert draft.name == "Kafka POLL from asked"
    for nothing in (None, ValueError("x"), []):
        found.observe(None, nothing, draft)
    assert draft.name == "Kafka POLL from asked"
    found.observe(None, ["message"], draft)
    assert draft.name == "Kafka POLL from orders"
    assert found.received(None, []) is None
    assert found.received(None, "message").carrier == {}
    for batch in (["message"], {"partition": ["message"]}):
        assert found.received(None, batch).carrier is None
    plain = messaging.receive("library:get", "Kafka", "kafka", lambda call, result: [])
    assert plain.poll(None).name == "Kafka POLL"


def test_18_3_what_is_no_queue_has_no_name():
    assert messaging.grouped(5) == ""
    assert messaging.poll("RabbitMQ", "rabbitmq", [messaging.grouped(None)]).name == "RabbitMQ POLL"
