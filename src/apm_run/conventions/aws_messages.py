"""Messages that go through SQS and SNS (spec 18.3): their spans, and the trace context among a message's attributes."""

from __future__ import annotations

from apm_run import log
from apm_run.model import SpanDraft
from apm_run.propagation import TRACEPARENT, TRACESTATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.model import Carrier

SERVICES = ("sqs", "sns")

#: Operation on a queue -> how a name says it.
_QUEUE = {
    "SendMessage": ("SEND to", "send"),
    "SendMessageBatch": ("SEND_BATCH to", "send_batch"),
    "ReceiveMessage": ("RECEIVE from", "receive"),
    "DeleteMessage": ("DELETE from", "delete"),
    "DeleteMessageBatch": ("DELETE_BATCH from", "delete_batch"),
}

#: So many attributes a message may have; SNS does not deliver it to SQS with more.
_ATTRIBUTES = 10
_DIGEST = "MD5OfMessageAttributes"
#: What a service counts of a message, how many bytes a request may have (the newer limit and the older one), and how
#: near to one of them there is no room for the trace context.
_COUNTED = ("MessageBody", "Message", "MessageAttributes")
_LIMITS = (1 << 20, 1 << 18)
_ROOM = 8192


def request(service: str, operation: str, params: dict[str, Any]) -> SpanDraft | None:
    """The span of an operation on messages; None for the others, such as creating a queue."""
    if service == "sns":
        topic = _topic(params) if operation == "Publish" else None
        return None if topic is None else _span("SNS", service, topic, "PUBLISH to", "publish")
    url = params.get("QueueUrl")
    if operation not in _QUEUE or type(url) is not str:
        return None
    return _span("SQS", service, url.rpartition("/")[2], *_QUEUE[operation])


def _span(framework: str, service: str, queue: str, doing: str, action: str) -> SpanDraft:
    name = f"{framework} {doing} {queue}"
    return SpanDraft(name, "messaging", service, action, message={"queue": {"name": queue}})


def _topic(params: dict[str, Any]) -> str | None:
    """Where a message is published: a topic, an application without its device, no phone number."""
    if "PhoneNumber" in params:
        return "[PHONENUMBER]"
    topic, target = params.get("TopicArn"), params.get("TargetArn")
    if type(topic) is str:
        return topic.rpartition(":")[2]
    return target.rpartition(":")[2].rsplit("/", 1)[0] if type(target) is str else None


# Sent


def carrying(service: str, operation: str, params: Any, add: Mapping[str, str]) -> dict[str, Any] | None:
    """The parameters with the trace context in each message, or with what asks for it; None where they stay.

    Nothing of the program's is changed: what differs is a copy.
    """
    if type(params) is not dict:
        return None
    if (service, operation) == ("sqs", "ReceiveMessage"):
        return {**params, "MessageAttributeNames": [TRACEPARENT, TRACESTATE]} if asks_for_none(params) else None
    if (service, operation) == ("sqs", "SendMessageBatch"):
        entries = params.get("Entries")
        if type(entries) is not list or _full(entries):
            return None
        return {**params, "Entries": [_carrying(entry, add) for entry in entries]}
    topic = (service, operation) == ("sns", "Publish") and _to_topic(params)
    sent = topic or (service, operation) == ("sqs", "SendMessage")
    return _carrying(params, add) if sent and not _full([params]) else None


def _to_topic(params: dict[str, Any]) -> bool:
    """Whether a message goes to a topic: telephones and their applications read no attributes of ours."""
    found = params.get("TopicArn") or params.get("TargetArn")
    return type(found) is str and ":endpoint/" not in found


def _carrying(entry: Any, add: Mapping[str, str]) -> Any:
    """A message with the trace context among its attributes, as far as there is room; its own stay."""
    given = entry.get("MessageAttributes") if type(entry) is dict else ()
    if (given is not None and type(given) is not dict) or (given and TRACEPARENT in given):
        return entry
    found = {} if given is None else {**given}
    for name in (TRACEPARENT, TRACESTATE):
        value = add.get(name)
        if value and name not in found:
            if len(found) >= _ATTRIBUTES:
                log.write("debug", "message.attributes", f"No room for {name}: {_ATTRIBUTES} attributes are there")
                break
            found[name] = {"DataType": "String", "StringValue": value}
    return {**entry, "MessageAttributes": found}


def _full(entries: list[Any]) -> bool:
    """Whether what is sent is so near to a limit of its size that it would be refused with more."""
    size = sum(_size(entry.get(part)) for entry in entries if type(entry) is dict for part in _COUNTED)
    return any(limit - _ROOM < size <= limit for limit in _LIMITS)


def _size(value: Any) -> int:
    """The bytes of a message's body or attributes, about."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if type(value) is dict:
        return sum(len(key) + _size(item) for key, item in value.items() if type(key) is str)
    return len(value) if type(value) in (bytes, bytearray) else 0


def sent(params: Any, result: Any) -> None:
    """Let the digests that SQS answers with be those of the attributes that the program has sent."""
    if type(params) is not dict or type(result) is not dict:
        return
    _digest(params, result)
    entries = params.get("Entries")
    if type(entries) is list:
        known = {entry.get("Id"): entry for entry in entries if type(entry) is dict}
        for answer in result.get("Successful", ()):
            _digest(known.get(answer.get("Id")), answer)


def _digest(message: Any, answer: dict[str, Any]) -> None:
    told = answer.get(_DIGEST)
    if type(message) is not dict or type(told) is not str or len(told) != 32:
        return
    attributes = message.get("MessageAttributes")
    if not attributes:
        del answer[_DIGEST]
    elif type(attributes) is dict:
        answer[_DIGEST] = digest(attributes) or told


def digest(attributes: dict[str, Any]) -> str | None:
    """The MD5 of a message's attributes as SQS defines it: each part behind its length, in order of their names.

    None where a value is nothing that can be read again, such as a file.
    """
    from hashlib import md5

    found = md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        text = attribute.get("StringValue")
        value = attribute.get("BinaryValue") if text is None else text.encode()
        if type(value) is not bytes and type(value) is not bytearray:
            return None
        _feed(found, name.encode())
        _feed(found, attribute["DataType"].encode())
        found.update(b"\2" if text is None else b"\1")
        _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, part: bytes | bytearray) -> None:
    found.update(len(part).to_bytes(4, "big") + part)


# Received


def asks_for_none(params: Any) -> bool:
    """Whether the program wants no attributes of the messages that it asks for."""
    return type(params) is dict and not params.get("MessageAttributeNames")


def received(draft: SpanDraft, params: Any, result: Any) -> None:
    """Link to what has sent the messages, and take out what only we have asked for."""
    messages = result.get("Messages") if type(result) is dict else None
    if not messages:
        return
    draft.links = [_carrier(message.get("MessageAttributes") or {}) for message in messages]
    if asks_for_none(params):
        for message in messages:
            _without(message)


def _carrier(attributes: dict[str, Any]) -> Carrier:
    return {
        name: [attributes[name]["StringValue"]]
        for name in (TRACEPARENT, TRACESTATE)
        if "StringValue" in attributes.get(name, ())
    }


def _without(message: dict[str, Any]) -> None:
    attributes = message.get("MessageAttributes")
    if attributes and not attributes.keys() - {TRACEPARENT, TRACESTATE}:
        del message["MessageAttributes"]
        message.pop(_DIGEST, None)
