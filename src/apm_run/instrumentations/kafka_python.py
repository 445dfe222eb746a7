"""kafka-python and kafka-python-ng: a span per record that is sent, a transaction per record or batch received."""

from __future__ import annotations

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_KAFKA = ("Kafka", "kafka")


def send(call: Call) -> SpanDraft | None:
    """The span of a ``send``, which returns before the record is delivered."""
    return messaging.send(*_KAFKA, call.argument(1, "topic"))


def sent(call: Call, result: Any, draft: SpanDraft) -> None:
    """Where a record was refused at once, the future says so."""
    draft.outcome = "failure" if getattr(result, "failed", bool)() else None


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in a list of headers of its own; brokers before 0.11 know none."""
    given, version = call.argument(4, "headers"), call.instance.config.get("api_version")
    old = type(version) is tuple and version < (0, 11)
    found = None if old or type(given) is dict else messaging.records(given, add)
    return None if found is None else call.replaced(4, "headers", found)


def messages(call: Call, result: Any) -> list[messaging.Message]:
    """The records that a ``poll`` returns by their partitions; an iteration gives one."""
    batches = result.values() if type(result) is dict else ((result,),)
    return [
        messaging.Message(each.topic, headers=each.headers or (), body=each.value, timestamp_ms=each.timestamp)
        for batch in batches
        for each in batch[: messaging.INSPECTED]
    ]


def topics(call: Call) -> set[str]:
    """What a consumer has subscribed to or was given."""
    return call.instance.subscription() or {partition.topic for partition in call.instance.assignment()}


_CONSUMER = "kafka.consumer.group:KafkaConsumer"

INSTRUMENTATION = Instrumentation(
    library="kafka-python",
    versions="2.0.2 to 3.0, kafka-python-ng 2.2",
    targets=(
        Target("kafka.producer.kafka:KafkaProducer.send", send, rewrite=headers, observe=sent),
        messaging.receive(f"{_CONSUMER}.poll", *_KAFKA, messages, queues=topics, leave=("close", "unsubscribe")),
        messaging.receive(f"{_CONSUMER}.__next__", *_KAFKA, messages, queues=topics, action="receive", loop="__iter__"),
    ),
)
