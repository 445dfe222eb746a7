"""kafka-python and kafka-python-ng: a span per record that is sent, a transaction per record or batch received."""

from __future__ import annotations

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import Call, Instrumentation, Receive, SpanDraft, Target, TransactionDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAME = "Kafka"


def send(call: Call) -> SpanDraft | None:
    """The span of a ``send``, which returns before the record is delivered."""
    return messaging.send(_NAME, "kafka", call.argument(1, "topic"))


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in a list of headers of its own; brokers before 0.11 know none."""
    given = call.argument(4, "headers")
    version = call.instance.config.get("api_version")
    if type(given) is dict or (type(version) is tuple and version < (0, 11)):
        return None
    found = messaging.records(given, add)
    return None if found is None else call.replaced(4, "headers", found)


def sent(call: Call, result: Any, draft: SpanDraft) -> None:
    """Where a record was refused at once, the future says so."""
    failed = getattr(result, "failed", None)
    if failed is not None and failed():
        draft.outcome = "failure"


def message(record: Any) -> messaging.Message:
    """One record."""
    return messaging.Message(
        record.topic, headers=record.headers or (), body=record.value, timestamp_ms=record.timestamp
    )


def records(result: Any) -> list[messaging.Message]:
    """The records that a ``poll`` returns."""
    found: list[messaging.Message] = []
    for batch in result.values() if type(result) is dict else ():
        found += map(message, batch[: messaging.INSPECTED])
    return found


def topics(consumer: Any) -> set[str]:
    """What a consumer has subscribed to or was given."""
    return consumer.subscription() or {partition.topic for partition in consumer.assignment()}


def polling(call: Call) -> SpanDraft:
    """The span of a ``poll``."""
    return messaging.poll(_NAME, "kafka", topics(call.instance))


def polled(call: Call, result: object, draft: SpanDraft) -> None:
    """What has come."""
    messaging.polled(draft, _NAME, records(result))


def batch(call: Call, result: object) -> TransactionDraft | None:
    """The transaction of a batch."""
    return messaging.received(_NAME, records(result), batch=True)


def stepping(call: Call) -> SpanDraft:
    """The span of a step of an iteration."""
    return messaging.poll(_NAME, "kafka", topics(call.instance), action="receive")


def stepped(call: Call, result: Any, draft: SpanDraft) -> None:
    """The record that has come; the iteration may have ended instead."""
    if hasattr(result, "topic"):
        messaging.polled(draft, _NAME, [message(result)])


def single(call: Call, result: Any) -> TransactionDraft | None:
    """The transaction of a record."""
    return messaging.received(_NAME, [message(result)])


_CONSUMER = "kafka.consumer.group:KafkaConsumer"

INSTRUMENTATION = Instrumentation(
    library="kafka-python",
    versions="2.0.2 to 3.0, kafka-python-ng 2.2",
    targets=(
        Target("kafka.producer.kafka:KafkaProducer.send", send, rewrite=headers, observe=sent),
        Receive(f"{_CONSUMER}.poll", polling, batch, observe=polled, leave=("close", "unsubscribe")),
        Receive(f"{_CONSUMER}.__next__", stepping, single, observe=stepped, loop="__iter__"),
    ),
)
