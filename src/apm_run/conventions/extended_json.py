"""MongoDB's extended JSON, relaxed, of what a command holds: as much of it as is shown, and nothing of it is called."""

from __future__ import annotations

from _json import encode_basestring

from apm_run.intake.limits import LONG
from apm_run.sanitize import REDACTED, is_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.sanitize import Names

_DEPTH = 20


def _utc(value: Any) -> str:
    """A moment; without a time zone it is in UTC."""
    text: str = value.isoformat()
    return text.replace("+00:00", "Z") if value.tzinfo else f"{text}Z"


#: Types of the package bson, by their names: how each is said, given what it is made of.
_BSON: dict[str, Any] = {
    "ObjectId": lambda value: {"$oid": value.binary.hex()},
    "Decimal128": lambda value: {"$numberDecimal": str(value)},
    "Timestamp": lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
    "Regex": lambda value: {"$regularExpression": {"pattern": value.pattern, "options": ""}},
    "Code": lambda value: {"$code": str.__str__(value)},
    "DBRef": lambda value: {"$ref": value.collection, "$id": value.id},
    "MinKey": lambda value: {"$minKey": 1},
    "MaxKey": lambda value: {"$maxKey": 1},
    "DatetimeMS": lambda value: {"$date": {"$numberLong": str(int(value))}},
}
#: And of the standard library.
_STANDARD: dict[tuple[str, str], Any] = {
    ("datetime", "datetime"): lambda value: {"$date": _utc(value)},
    ("uuid", "UUID"): lambda value: {"$uuid": str(value)},
    ("re", "Pattern"): lambda value: {"$regularExpression": {"pattern": value.pattern, "options": ""}},
}


_NO_JSON = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class _Enough(Exception):
    """There is more than is shown."""


class _Writer:
    __slots__ = ("_left", "_parts", "_secret")

    def __init__(self, limit: int, secret: Names) -> None:
        self._left = limit
        self._parts: list[str] = []
        self._secret = secret

    def text(self) -> str:
        return "".join(self._parts)

    def _say(self, part: str) -> None:
        self._parts.append(part)
        self._left -= len(part)
        if self._left < 0:
            raise _Enough

    def value(self, value: Any, depth: int = 0) -> None:
        kind = type(value)
        if depth > _DEPTH:
            self._say('"..."')
        elif kind is str:
            self._say(encode_basestring(value if len(value) <= self._left else value[: self._left + 1]))
        elif value is None or kind is bool:
            self._say("null" if value is None else "true" if value else "false")
        elif isinstance(value, int):
            self._say(int.__repr__(value))
        elif isinstance(value, float):
            number = float.__repr__(value)
            self._say(f'{{"$numberDouble":"{_NO_JSON[number]}"}}' if number in _NO_JSON else number)
        elif isinstance(value, dict):
            self._object(value, depth)
        elif kind is list or kind is tuple:
            self._array(value, depth)
        elif isinstance(value, bytes):
            self._binary(bytes(value), getattr(value, "subtype", 0))
        else:
            self._other(value, kind, depth)

    def _object(self, value: dict[Any, Any], depth: int) -> None:
        self._say("{")
        mark = ""
        for key, item in dict.items(value):
            if type(key) is str:
                self._say(f"{mark}{encode_basestring(key)}:")
                # A command's own words are above, as the key of distinct, or begin so, as $maxKey: no names of fields.
                hidden = depth and key[:1] != "$" and is_secret(key, self._secret)
                self.value(REDACTED if hidden else item, depth + 1)
                mark = ","
        self._say("}")

    def _array(self, value: Any, depth: int) -> None:
        self._say("[")
        for number, item in enumerate(value):
            if number:
                self._say(",")
            self.value(item, depth + 1)
        self._say("]")

    def _binary(self, value: bytes, subtype: Any) -> None:
        from binascii import b2a_base64

        shown = b2a_base64(value[: self._left + 1], newline=False).decode("ascii")
        self._say(f'{{"$binary":{{"base64":"{shown}","subType":"{subtype if type(subtype) is int else 0:02x}"}}}}')

    def _other(self, value: Any, kind: type, depth: int) -> None:
        module, name = kind.__module__, kind.__name__
        said = _BSON.get(name) if module.partition(".")[0] == "bson" else _STANDARD.get((module, name))
        if said is None:
            self._say(encode_basestring(f"<{name}>"))
        else:
            self.value(said(value), depth + 1)


def text(value: Any, secret: Names, limit: int = LONG) -> str:
    """A document as extended JSON, values under secret names redacted; it breaks off at ``limit`` characters.

    Of a type that is none of MongoDB's only the name is shown.
    """
    writer = _Writer(limit, secret)
    try:
        writer.value(value)
    except _Enough:
        return writer.text()[:limit]
    return writer.text()
