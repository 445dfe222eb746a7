"""Judge one event as APM Server 8 does (spec.md section 2), by the tables of :mod:`apm_run.intake.schema`.

Only the receiver and the tests import this module: the agent does not check its own events while the program
runs.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from apm_run.intake import nodes, schema
from apm_run.intake.limits import KEYWORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_INT64 = 2**63
_LARGEST = 1.7976931348623157e308
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):?(\d\d)?)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def validate(kind: str, obj: object) -> list[str]:
    """Return what APM Server would object to in ``obj``, the object inside the root key ``kind``.

    ``kind`` is a key of :data:`apm_run.intake.schema.KINDS`; another one raises KeyError. The server stops at
    the first objection, we list all of them. Each reads like ``span: 'id': expects a string, found null``.
    """
    errors: list[str] = []
    if not _check(schema.KINDS[kind], obj, "", kind, errors) and not errors:
        errors.append(f"'{kind}' required")
    return errors


def micros(value: object) -> int | None:
    """Return a timestamp as microseconds since the epoch: an integer as it is, an RFC 3339 string read.

    None when it is neither (the zone may be written ``Z``, ``+01:00``, ``+0100`` or ``+01``).
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_INT64 <= value < _INT64 else None
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = match.groups()
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=timezone.utc)
    except ValueError:
        return None
    seconds = (moment - _EPOCH) - (-offset if sign == "-" else offset)
    return seconds // _MICROSECOND + int((fraction or "0")[:6].ljust(6, "0"))


def _found(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    for kind, words in ((str, "a string"), (int, "an integer"), (float, "a number"), (dict, "an object")):
        if isinstance(value, kind):
            return words
    return "null" if value is None else "an array"


def _wrong(path: str, name: str, expected: str, value: object, errors: list[str]) -> bool:
    errors.append(f"{path}'{name}': expects {expected}, found {_found(value)}")
    return True


def _violated(path: str, name: str, rule: str, errors: list[str]) -> None:
    errors.append(f"{path}'{name}': validation rule '{rule}' violated")


def _text(node: nodes.Text, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, str):
        return _wrong(path, name, "a string", value, errors)
    if node.limit and len(value) > node.limit:
        _violated(path, name, f"maxLength({node.limit})", errors)
    if len(value) < node.least:
        _violated(path, name, f"minLength({node.least})", errors)
    if node.alphabet is not None and not node.alphabet.issuperset(value):
        _violated(path, name, "pattern(a-z A-Z 0-9 space _ -)", errors)
    # The empty string passes the server's enumeration: it is the zero value there.
    if node.choices and value and value not in node.choices:
        _violated(path, name, f"enum({';'.join(node.choices)})", errors)
    return True


def _whole(node: nodes.Whole, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return _wrong(path, name, "an integer", value, errors)
    if not -_INT64 <= value < _INT64:
        _violated(path, name, "64 bits", errors)
    if node.least is not None and value < node.least:
        _violated(path, name, f"min({node.least})", errors)
    return True


def _number(node: nodes.Number, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _wrong(path, name, "a number", value, errors)
    if not -_LARGEST <= value <= _LARGEST:
        _violated(path, name, "finite", errors)
    if node.least is not None and value < node.least:
        _violated(path, name, f"min({node.least})", errors)
    return True


def _flag(_node: nodes.Flag, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, bool):
        return _wrong(path, name, "a boolean", value, errors)
    return True


def _time(_node: nodes.Time, value: object, path: str, name: str, errors: list[str]) -> bool:
    if micros(value) is None:
        return _wrong(path, name, "integer microseconds or an RFC 3339 string", value, errors)
    return True


def _anything(*_ignored: object) -> bool:
    return True


def _text_or_whole(node: nodes.TextOrWhole, value: object, path: str, name: str, errors: list[str]) -> bool:
    if isinstance(value, str):
        if len(value) > KEYWORD:
            _violated(path, name, f"maxLength({KEYWORD})", errors)
        if node.numeric and not (_DECIMAL.fullmatch(value) and -_INT64 <= int(value) < _INT64):
            _violated(path, name, "targetType(int)", errors)
        return True
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 <= value < _INT64:
        return _wrong(path, name, "a string or an integer", value, errors)
    return True


def _text_or_map(_node: nodes.TextOrMap, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, (str, dict)):
        return _wrong(path, name, "a string or an object", value, errors)
    return True


def _headers(_node: nodes.Headers, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, dict):
        return _wrong(path, name, "an object", value, errors)
    for key, item in value.items():
        if item is None:
            continue
        parts = item if isinstance(item, list) else [item]
        if not all(isinstance(part, str) for part in parts):
            _wrong(f"{path}{name}: ", key, "a string or an array of strings", item, errors)
    return True


def _labels(_node: nodes.Labels, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, dict):
        return _wrong(path, name, "an object", value, errors)
    for key, item in value.items():
        if isinstance(item, str):
            if len(item) > KEYWORD:
                _violated(path, name, f"maxLengthVals({KEYWORD})", errors)
        elif isinstance(item, (dict, list)):
            _violated(path, name, "inputTypesVals(string;bool;number)", errors)
            errors[-1] += f" for key {key}"
    return bool(value)


def _free_map(_node: nodes.FreeMap, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, dict):
        return _wrong(path, name, "an object", value, errors)
    return bool(value)


def _map_of(node: nodes.MapOf, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, dict):
        return _wrong(path, name, "an object", value, errors)
    inner = f"{path}{name}: "
    for key, item in value.items():
        if any(character in key for character in node.forbidden):
            _violated(path, name, f"patternKeys(no {' or '.join(node.forbidden)})", errors)
        if not _check(node.item, item, inner, key, errors) and node.item.required:
            errors.append(f"{inner}'{key}' required")
    return bool(value)


def _list_of(node: nodes.ListOf, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, list):
        return _wrong(path, name, "an array", value, errors)
    for item in value:
        if not _check(node.item, item, path, name, errors) and node.item.required:
            errors.append(f"{path}{name} slice element required")
    return bool(value)


def _record(node: nodes.Record, value: object, path: str, name: str, errors: list[str]) -> bool:
    if not isinstance(value, dict):
        return _wrong(path, name, "an object", value, errors)
    inner = f"{path}{name}: "
    fields = node.fields
    present = set()
    for key, item in value.items():
        field = fields.get(key)
        if field is not None and _check(field, item, inner, key, errors):
            present.add(key)
    if not present:
        return False
    for key, field in fields.items():
        if field.required and key not in present:
            errors.append(f"{inner}'{key}' required")
    if node.any_of and not present.intersection(node.any_of):
        errors.append(f"{inner}requires at least one of the fields '{';'.join(node.any_of)}'")
    for key, others in node.needs:
        if key not in present and present.intersection(others):
            errors.append(f"{inner}'{key}' required when one of '{';'.join(others)}' is set")
    return True


_CHECKS: dict[type, Callable[[Any, object, str, str, list[str]], bool]] = {
    nodes.Text: _text,
    nodes.Whole: _whole,
    nodes.Number: _number,
    nodes.Flag: _flag,
    nodes.Time: _time,
    nodes.Anything: _anything,
    nodes.TextOrWhole: _text_or_whole,
    nodes.TextOrMap: _text_or_map,
    nodes.Headers: _headers,
    nodes.Labels: _labels,
    nodes.FreeMap: _free_map,
    nodes.MapOf: _map_of,
    nodes.ListOf: _list_of,
    nodes.Record: _record,
}


def _check(node: nodes.Node, value: object, path: str, name: str, errors: list[str]) -> bool:
    """Append what is wrong with ``value`` to ``errors``; return whether the server takes the field as set."""
    if value is None:
        return False
    return _CHECKS[type(node)](node, value, path, name, errors)
