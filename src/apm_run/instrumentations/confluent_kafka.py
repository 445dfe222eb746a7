"""confluent-kafka: a span per record produced, a transaction per record or batch; its C types get subclasses."""

from __future__ import annotations

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Subclass, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_KAFKA = ("Kafka", "kafka")


def produce(call: Call) -> SpanDraft | None:
    """The span of a ``produce`` or ``produce_batch``, which returns before anything is delivered."""
    return messaging.send(*_KAFKA, call.argument(1, "topic"))


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in headers of its own."""
    found = messaging.records(call.argument(8, "headers"), add)
    return None if found is None else call.replaced(8, "headers", found)


def messages(call: Call, result: Any) -> list[messaging.Message]:
    """The records among what a ``poll`` or ``consume`` returns; what tells of an error is none."""
    found = result[: messaging.INSPECTED] if type(result) is list else () if result is None else (result,)
    return [
        messaging.Message(
            each.topic(), headers=each.headers() or (), body=each.value(), timestamp_ms=each.timestamp()[1]
        )
        for each in found
        if each.error() is None
    ]


_AIO, _LEAVE = "confluent_kafka.aio._AIOConsumer:AIOConsumer", ("close", "unsubscribe")
_PRODUCE = (Target("produce", produce, rewrite=headers), Target("produce_batch", produce))

INSTRUMENTATION = Instrumentation(
    library="confluent-kafka",
    versions="1.9 to 2.16",
    targets=(
        Subclass("confluent_kafka.cimpl:Producer", _PRODUCE),
        Subclass(  # what it has subscribed to would take its time to ask for
            "confluent_kafka.cimpl:Consumer",
            (
                messaging.receive("poll", *_KAFKA, messages, leave=(*_LEAVE, "__exit__")),
                messaging.receive("consume", *_KAFKA, messages),
            ),
        ),
        # They work through a consumer and a producer in other threads.
        messaging.receive(f"{_AIO}.poll", *_KAFKA, messages, through="_consumer", leave=_LEAVE),
        messaging.receive(f"{_AIO}.consume", *_KAFKA, messages, through="_consumer"),
        Target("confluent_kafka.aio.producer._AIOProducer:AIOProducer.produce", produce),
    ),
)
