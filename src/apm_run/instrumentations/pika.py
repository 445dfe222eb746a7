"""pika: a span per message that is published or asked for, a transaction per message that is delivered."""

from __future__ import annotations

from functools import partial

from apm_run.conventions import messaging
from apm_run.instrument.vocabulary import (
    Call,
    Callback,
    Claim,
    Instrumentation,
    Receive,
    SpanDraft,
    Target,
    TransactionDraft,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_NAME = "RabbitMQ"


def publish(call: Call) -> SpanDraft | None:
    """The span of a ``basic_publish``; the exchange without a name delivers to the queue of the routing key."""
    exchange = messaging.exchange(call.argument(1, "exchange"))
    return messaging.send(_NAME, "rabbitmq", exchange, routing_key=call.argument(2, "routing_key"))


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


def consumer(call: Call) -> Callable[[Call], TransactionDraft | None] | None:
    """How the messages of a ``basic_consume`` are described, unless pika itself handles them."""
    callback = call.argument(2, "on_message_callback")
    if getattr(callback, "__module__", None) == "pika.adapters.blocking_connection":
        return None
    return partial(delivery, call.argument(1, "queue"))


def delivery(queue: Any, call: Call) -> TransactionDraft | None:
    """The transaction of a message that a callback is called with: channel, method, properties, body."""
    return messaging.received(_NAME, messages(queue, call.args[1:4]))


def messages(queue: Any, delivered: Any) -> list[messaging.Message]:
    """The message in a ``(method, properties, body)``; none where these are None, or anything else."""
    if type(delivered) is not tuple or len(delivered) != 3 or delivered[1] is None or type(queue) is not str:
        return []
    method, properties, body = delivered
    sent = getattr(properties, "timestamp", None)
    return [
        messaging.Message(
            messaging.grouped(queue),
            headers=(getattr(properties, "headers", None) or {}).items(),
            body=body,
            timestamp_ms=sent * 1000 if type(sent) is int else None,
            routing_key=getattr(method, "routing_key", None),
        )
    ]


def asking(call: Call) -> SpanDraft | None:
    """The span of a ``basic_get``, or of a step of ``consume``."""
    queue = call.argument(1, "queue")
    return messaging.poll(_NAME, "rabbitmq", [messaging.grouped(queue)]) if type(queue) is str else None


def got(call: Call, result: object, draft: SpanDraft) -> None:
    """What has come."""
    messaging.polled(draft, _NAME, messages(call.argument(1, "queue"), result))


def received(call: Call, result: object) -> TransactionDraft | None:
    """The transaction of what has come."""
    return messaging.received(_NAME, messages(call.argument(1, "queue"), result))


_BLOCKING = "pika.adapters.blocking_connection:BlockingChannel"
_CALLBACK = (2, "on_message_callback")

INSTRUMENTATION = Instrumentation(
    library="pika",
    versions="1.0 to 1.4",
    targets=(
        # The channel below adds the headers to what a blocking one publishes.
        Target(f"{_BLOCKING}.basic_publish", publish),
        Target("pika.channel:Channel.basic_publish", publish, rewrite=headers),
        Callback(f"{_BLOCKING}.basic_consume", consumer, argument=_CALLBACK),
        Callback("pika.channel:Channel.basic_consume", consumer, argument=_CALLBACK),
        Receive(f"{_BLOCKING}.basic_get", asking, received, observe=got),
        Receive(f"{_BLOCKING}.consume", asking, received, observe=got, leave=("cancel", "close")),
        Claim(f"{_BLOCKING}.start_consuming"),
    ),
)
