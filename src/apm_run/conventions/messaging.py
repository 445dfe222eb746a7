"""Messages that are sent and received (spec 18.3): names, the context of a message, and where trace context travels.

What only transactions show, a message's headers and its body, is made readable when one is encoded, by the options.
"""

from __future__ import annotations

from time import time_ns

from apm_run import sanitize
from apm_run.conventions import headers
from apm_run.guard import failed
from apm_run.instrument.entries import DEFAULT_EXCHANGE
from apm_run.instrument.vocabulary import Receive
from apm_run.intake.limits import LONG, cut
from apm_run.model import Call, SpanDraft, TransactionDraft
from apm_run.propagation import CARRIED, TRACEPARENT, traceparent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from apm_run.config import Settings

    Pairs = Iterable[tuple[Any, Any]]

TYPE = "messaging"

#: Messages of a batch that are looked at (spec 16).
INSPECTED = 1000
#: Queues that a name shows, of a batch from several; the others are counted.
_SHOWN = 3
#: Bytes of the longest character.
_WIDEST = 4

#: The header of Kafka's that older agents of Elastic's read, and its length (spec 14).
BINARY = "elasticapmtraceparent"
_LENGTH = 29
#: The prefix of the names that RabbitMQ makes for queues, and what stands for them.
_GENERATED = "amq.gen-"


class Message:
    """One message, as its library knows it."""

    __slots__ = ("age_ms", "body", "headers", "queue", "routing_key")

    def __init__(
        self,
        queue: str,
        *,
        headers: Pairs = (),
        body: Any = None,
        timestamp_ms: Any = None,
        routing_key: str | None = None,
    ) -> None:
        """Facts of a message.

        :param queue: or topic. :param headers: as pairs. :param body: bytes or text; other objects are not shown.
        :param timestamp_ms: when it was sent, in milliseconds since the epoch; what is no positive number is unknown.
        """
        self.queue = queue
        self.headers = headers
        self.body = body
        known = (type(timestamp_ms) is int or type(timestamp_ms) is float) and timestamp_ms > 0
        self.age_ms: int | None = max(0, time_ns() // 1_000_000 - int(timestamp_ms)) if known else None
        self.routing_key = routing_key

    def context(self, *, whole: bool) -> dict[str, Any]:
        """``context.message``.

        :param whole: with what only transactions show.
        """
        found: dict[str, Any] = {"queue": {"name": self.queue}}
        if self.age_ms is not None:
            found["age"] = {"ms": self.age_ms}
        if self.routing_key:
            found["routing_key"] = self.routing_key
        if whole:
            if self.headers:
                found["headers"] = Headers(self.headers)
            if type(self.body) in (bytes, str, bytearray, memoryview) and len(self.body):
                found["body"] = Body(self.body)
        return found


class Headers:
    """A message's headers, until an event shows them."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Pairs) -> None:
        """:param pairs: of which only text and bytes, numbers, and what is made of them is shown."""
        self._pairs = pairs

    def __call__(self, settings: Settings) -> headers.Headers | None:
        """What a transaction shows of them: secrets are so by their names (spec 22)."""
        if not settings.capture_headers:
            return None
        matchers = settings.sanitize_field_names
        try:
            return headers.of_pairs(self._shown(sanitize.names(matchers)), matchers)
        except Exception:
            failed("message headers")
            return None

    def _shown(self, secret: sanitize.Names) -> Iterable[tuple[str, str]]:
        for name, value in self._pairs:
            if type(name) is str and name != BINARY:
                kind = type(value)
                if kind is bytes or kind is bytearray:
                    yield name, value.decode("utf-8", "replace")
                elif kind is dict or kind is list or kind is tuple:
                    yield name, str(sanitize.sanitized(value, secret))
                elif kind in (str, int, float, bool):
                    yield name, str(value)


class Body:
    """A message's body, until an event shows it."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes | str | bytearray | memoryview) -> None:
        """:param data: what was received; what is no UTF-8 is not shown."""
        self._data = data

    def __call__(self, settings: Settings) -> str | None:
        """What a transaction shows of it (``capture_body``); None: that there was one is no news of a message."""
        if settings.capture_body not in ("transactions", "all"):
            return None
        try:
            return self._readable(min(settings.long_field_max_length, LONG), settings)
        except Exception:
            failed("message body")
            return None

    def _readable(self, limit: int, settings: Settings) -> str | None:
        from apm_run.conventions import body_text

        data = self._data
        room = (limit + 1) * _WIDEST
        if isinstance(data, str):
            text: str | None = data[:room]
        else:
            text = body_text.decoded(bytes(data[:room]), "utf-8", whole=len(data) <= room)
        if text is None:
            return None
        text = cut(text, limit)
        if text.lstrip()[:1] in ("{", "["):
            shown = body_text.json(text, sanitize.names(settings.sanitize_field_names))
            return text if shown is None else cut(shown, limit)
        return text


def send(framework: str, subtype: str, queue: Any, *, routing_key: Any = None) -> SpanDraft | None:
    """The span of a message that is sent.

    :param framework: its name as names show it. :param queue: the topic, queue or exchange; None where that is no
        text, which the library will refuse.
    """
    if type(queue) is not str:
        return None
    message: dict[str, Any] = {"queue": {"name": queue}}
    if type(routing_key) is str and routing_key:
        message["routing_key"] = routing_key
    return SpanDraft(f"{framework} SEND to {queue}", TYPE, subtype, "send", message=message)


def poll(framework: str, subtype: str, queues: Iterable[str] = (), *, action: str = "poll") -> SpanDraft:
    """The span of a program's asking for messages, in a transaction: there is one even if none comes.

    :param queues: what it asks for, as far as that is known. :param action: ``poll`` or ``receive``.
    """
    queue = joined(queues)
    name = f"{framework} {action.upper()} from {queue}" if queue else f"{framework} {action.upper()}"
    return SpanDraft(name, TYPE, subtype, action, message={"queue": {"name": queue}} if queue else None)


def polled(draft: SpanDraft, framework: str, messages: Sequence[Message]) -> None:
    """Add to such a span what has come."""
    if not messages:
        return
    looked_at = messages[:INSPECTED]
    queue = joined([message.queue for message in looked_at])
    draft.name = f"{framework} {(draft.action or '').upper()} from {queue}"
    draft.links = [carrier(message.headers) for message in looked_at]
    shown = looked_at[0].context(whole=False) if len(messages) == 1 else {"queue": {"name": queue}}
    draft.context = {**(draft.context or {}), "message": shown}


def received(framework: str, messages: Sequence[Message], *, batch: bool = False) -> TransactionDraft | None:
    """The transaction in which the program deals with what has come: a single message is its cause.

    :param batch: a list was asked for: each of them is linked to, even if there is one (spec 18.3).
    """
    if not messages:
        return None
    if not batch and len(messages) == 1:
        (message,) = messages
        return TransactionDraft(
            f"{framework} RECEIVE from {message.queue}",
            TYPE,
            carrier=carrier(message.headers),
            message=message.context(whole=True),
            framework=(framework, ""),
        )
    looked_at = messages[:INSPECTED]
    queue = joined([message.queue for message in looked_at])
    return TransactionDraft(
        f"{framework} RECEIVE from {queue}",
        TYPE,
        links=[carrier(message.headers) for message in looked_at],
        message={"queue": {"name": queue}},
        framework=(framework, ""),
    )


def receive(
    path: str,
    framework: str,
    subtype: str,
    messages: Callable[[Call, Any], Sequence[Message]],
    *,
    queues: Callable[[Call], Iterable[str]] | None = None,
    action: str = "poll",
    loop: str | None = None,
    leave: tuple[str, ...] = (),
    through: str | None = None,
) -> Receive:
    """A function that returns messages: what it returns in a list or a dictionary is a batch.

    :param messages: what has come, from the call and its result; of a batch at least the first :data:`INSPECTED`.
    :param queues: what a call asks for, where that is known. The rest as for
        :class:`~apm_run.instrument.vocabulary.Receive`.
    """

    def asking(call: Call) -> SpanDraft:
        return poll(framework, subtype, queues(call) if queues is not None else (), action=action)

    def come(call: Call, result: Any, draft: SpanDraft) -> None:
        if result is not None and not isinstance(result, BaseException):
            polled(draft, framework, messages(call, result))

    def begun(call: Call, result: Any) -> TransactionDraft | None:
        return received(framework, messages(call, result), batch=type(result) is list or type(result) is dict)

    return Receive(path, asking, begun, observe=come, loop=loop, leave=leave, through=through)


def joined(queues: Iterable[str]) -> str:
    """Several queues as one name, which stays short."""
    found = sorted(filter(None, set(queues)))
    if len(found) <= _SHOWN:
        return ", ".join(found)
    return f"{', '.join(found[:_SHOWN])} and {len(found) - _SHOWN} more"


def exchange(name: Any) -> Any:
    """An exchange as names show it; where it has no name, RabbitMQ delivers to the queue of the routing key."""
    return DEFAULT_EXCHANGE if name == "" else name


def grouped(queue: Any) -> str:
    """The name of a queue; those that RabbitMQ has made names for are one (spec 18.3), and no text is none."""
    if not isinstance(queue, str):
        return ""
    return f"{_GENERATED}*" if queue.startswith(_GENERATED) or not queue else queue


# Where trace context travels


def carrier(pairs: Pairs) -> dict[str, list[str]]:
    """The headers of trace context among a message's; a binary one counts where there is no textual (spec 14)."""
    found: dict[str, list[str]] = {}
    binary: Any = None
    for name, value in pairs:
        if type(name) is not str:
            continue
        lower = name.lower()
        if lower == BINARY:
            binary = value
        elif lower in CARRIED:
            text = value.decode("latin-1") if type(value) is bytes else value
            if type(text) is str:
                found.setdefault(lower, []).append(text)
    if binary is not None and TRACEPARENT not in found:
        found = {} if (text := from_binary(binary)) is None else {TRACEPARENT: [text]}
    return found


def from_binary(value: Any) -> str | None:
    """The ``traceparent`` that a binary header says; None where it is none."""
    if type(value) is not bytes or len(value) != _LENGTH or value[0]:
        return None
    if (value[1], value[18], value[27]) != (0, 1, 2):
        return None
    return traceparent(value[2:18].hex(), value[19:27].hex(), bool(value[28] & 1))


def to_binary(header: str) -> bytes:
    """The binary form of a ``traceparent`` of ours: fields 0 to 2, each behind its number."""
    _, trace_id, span_id, flags = header.split("-")
    return b"".join((b"\0\0", bytes.fromhex(trace_id), b"\1", bytes.fromhex(span_id), b"\2", bytes.fromhex(flags)))


def records(given: Any, add: Mapping[str, str]) -> Any:
    """The headers of a record of Kafka's with the trace context, as a list or dictionary of its own, as the given one.

    Theirs win: None where the program has put a ``traceparent`` there, or what is neither list nor dictionary.
    """
    if given is not None and type(given) is not list and type(given) is not dict:
        return None
    names = [pair[0] for pair in given if type(pair) is tuple and pair] if type(given) is list else given or ()
    if any(type(name) is str and name.lower() in (TRACEPARENT, BINARY) for name in names):
        return None
    ours: list[tuple[str, bytes]] = [(name, value.encode("ascii")) for name, value in add.items() if name not in names]
    ours.append((BINARY, to_binary(add[TRACEPARENT])))
    return {**given, **dict(ours)} if type(given) is dict else [*(given or ()), *ours]


def table(given: Any, add: Mapping[str, str]) -> dict[str, Any] | None:
    """The headers of a message of RabbitMQ's with the trace context; None as for :func:`records`."""
    if given is not None and type(given) is not dict:
        return None
    if any(type(name) is str and name.lower() == TRACEPARENT for name in given or ()):
        return None
    return {**add, **(given or {})}
