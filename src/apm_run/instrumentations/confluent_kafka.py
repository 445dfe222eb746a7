"""confluent-kafka: a span per record that is produced, a transaction per record or batch that a consumer returns.

Its producers and consumers are C types: subclasses take their places while the module is being imported.
"""

from __future__ import annotations

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import (
    Call,
    Instrumentation,
    Receive,
    SpanDraft,
    Subclass,
    Target,
    TransactionDraft,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAME = "Kafka"


def produce(call: Call) -> SpanDraft | None:
    """The span of a ``produce`` or ``produce_batch``, which returns before anything is delivered."""
    return messaging.send(_NAME, "kafka", call.argument(1, "topic"))


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in headers of its own."""
    found = messaging.records(call.argument(8, "headers"), add)
    return None if found is None else call.replaced(8, "headers", found)


def messages(result: Any) -> list[messaging.Message]:
    """The records among what a ``poll`` or ``consume`` returns; what tells of an error is none."""
    found = result[: messaging.INSPECTED] if type(result) is list else () if result is None else (result,)
    return [message(record) for record in found if record.error() is None]


def message(record: Any) -> messaging.Message:
    """One record."""
    return messaging.Message(
        record.topic(), headers=record.headers() or (), body=record.value(), timestamp_ms=record.timestamp()[1]
    )


def polling(call: Call) -> SpanDraft:
    """The span of a ``poll`` or ``consume``; to ask what the consumer has subscribed to would take its time."""
    return messaging.poll(_NAME, "kafka")


def polled(call: Call, result: Any, draft: SpanDraft) -> None:
    """What has come, unless it has raised."""
    if not isinstance(result, BaseException):
        messaging.polled(draft, _NAME, messages(result))


def received(call: Call, result: Any) -> TransactionDraft | None:
    """The transaction of a record, or of a batch where a list was asked for."""
    return messaging.received(_NAME, messages(result), batch=type(result) is list)


_LEAVE = ("close", "unsubscribe", "__exit__")
_AIO = "confluent_kafka.aio._AIOConsumer:AIOConsumer"

INSTRUMENTATION = Instrumentation(
    library="confluent-kafka",
    versions="1.9 to 2.16",
    targets=(
        Subclass(
            "confluent_kafka.cimpl:Producer",
            (Target("produce", produce, rewrite=headers), Target("produce_batch", produce)),
        ),
        Subclass(
            "confluent_kafka.cimpl:Consumer",
            (
                Receive("poll", polling, received, observe=polled, leave=_LEAVE),
                Receive("consume", polling, received, observe=polled),
            ),
        ),
        # They work through a consumer and a producer in other threads.
        Receive(f"{_AIO}.poll", polling, received, observe=polled, through="_consumer", leave=("close", "unsubscribe")),
        Receive(f"{_AIO}.consume", polling, received, observe=polled, through="_consumer"),
        Target("confluent_kafka.aio.producer._AIOProducer:AIOProducer.produce", produce),
    ),
)
