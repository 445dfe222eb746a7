"""pika: a span per message that is published or asked for, a transaction per message that is delivered."""

from __future__ import annotations

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import Call, Claim, Deliver, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.instrument.vocabulary import Describe

_RABBITMQ = ("RabbitMQ", "rabbitmq")


def publish(call: Call) -> SpanDraft | None:
    """The span of a ``basic_publish``."""
    exchange = messaging.exchange(call.argument(1, "exchange"))
    return messaging.send(*_RABBITMQ, exchange, routing_key=call.argument(2, "routing_key"))


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with a copy of its properties that has the trace context; the program's stay as they are."""
    from pika import BasicProperties  # type: ignore[import-untyped]

    given = call.argument(4, "properties") or BasicProperties()
    table = messaging.table(given.headers, add) if isinstance(given, BasicProperties) else None
    if table is None:
        return None
    copied = object.__new__(type(given))
    copied.__dict__.update(given.__dict__)
    copied.headers = table
    return call.replaced(4, "properties", copied)


def consumer(call: Call) -> Describe | None:
    """How the messages of a ``basic_consume`` are described, unless pika itself deals with them."""
    if getattr(call.argument(2, "on_message_callback"), "__module__", None) == "pika.adapters.blocking_connection":
        return None
    queue = call.argument(1, "queue")
    return lambda delivery: messaging.received("RabbitMQ", message(queue, delivery.args[1:4]))


def messages(call: Call, result: Any) -> list[messaging.Message]:
    """The message that a ``basic_get`` or a step of ``consume`` gives."""
    return message(call.argument(1, "queue"), result)


def message(queue: Any, found: Any) -> list[messaging.Message]:
    """The message in a ``(method, properties, body)``; none where these are None."""
    if type(queue) is not str or type(found) is not tuple or len(found) != 3 or found[1] is None:
        return []
    return [
        messaging.Message(
            messaging.grouped(queue),
            headers=(found[1].headers or {}).items(),
            body=found[2],
            timestamp_ms=(found[1].timestamp or 0) * 1000,
            routing_key=found[0].routing_key,
        )
    ]


def queues(call: Call) -> list[str]:
    """What is asked for."""
    return [messaging.grouped(call.argument(1, "queue"))]


_BLOCKING = "pika.adapters.blocking_connection:BlockingChannel"
_CALLBACK = (2, "on_message_callback")

INSTRUMENTATION = Instrumentation(
    library="pika",
    versions="1.0 to 1.4",
    targets=(
        # The channel below adds the headers to what a blocking one publishes.
        Target(f"{_BLOCKING}.basic_publish", publish),
        Target("pika.channel:Channel.basic_publish", publish, rewrite=headers),
        Deliver(f"{_BLOCKING}.basic_consume", consumer, argument=_CALLBACK),
        Deliver("pika.channel:Channel.basic_consume", consumer, argument=_CALLBACK),
        messaging.receive(f"{_BLOCKING}.basic_get", *_RABBITMQ, messages, queues=queues),
        messaging.receive(f"{_BLOCKING}.consume", *_RABBITMQ, messages, queues=queues, leave=("cancel", "close")),
        Claim(f"{_BLOCKING}.start_consuming"),
    ),
)
