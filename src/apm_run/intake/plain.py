"""Values as the server takes them. What a library or the program has put into an event may be of any type: one wrong
value would cost the whole event.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

from apm_run.intake.limits import KEYWORD, LONG, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_INT64 = 1 << 63
#: How deep a value of the program's is followed, where it is no JSON as it stands.
_DEPTH = 20


class Shown(dict[str, "Any"]):
    """Facts that are as the server takes them already: text that was cut, whole numbers."""

    __slots__ = ()


def line(kind: str, event: dict[str, Any]) -> bytes:
    """One ND-JSON line.

    :param kind: the root key: ``transaction``, ``span``, ``error``, ``metricset``, ``log``, ``metadata``.
    """
    # Half a surrogate pair, as in an undecodable file name, becomes a question mark.
    return f'{{"{kind}":{dumped(event)}}}\n'.encode("utf-8", "replace")


def dumped(value: Any) -> str:
    """A value as JSON."""
    try:
        return "".join(_json(value, 0))
    except Exception:  # NaN, an endless structure, a key of another type: rare, so that it may take its time
        return "".join(_json(mended(value, 0), 0))


def quoted(value: Any, limit: int = KEYWORD) -> str:
    """A value as a string of JSON of at most ``limit`` code points."""
    if value.__class__ is not str:
        value = _text(value)
    return encode_basestring(value if len(value) <= limit else cut(value, limit))


class _Scanning:
    """What the scanner behind ``json`` asks of a decoder."""

    strict = False
    object_hook = object_pairs_hook = parse_constant = None
    parse_float = float
    parse_int = int


def parsed(text: str) -> dict[str, Any]:
    """An object from JSON that is known to be whole."""
    found: dict[str, Any] = make_scanner(_Scanning)(text, 0)[0]  # type: ignore[arg-type]
    return found


def text(value: Any, limit: int = KEYWORD) -> str:
    """A value as a string of at most ``limit`` code points."""
    if value.__class__ is not str:
        value = _text(value)
    return value if len(value) <= limit else cut(value, limit)


def _text(value: Any) -> str:
    try:
        return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
    except Exception:  # a type of the program's
        return f"<unprintable {type(value).__name__} object>"


def long(value: Any) -> str:
    """A value as a string of the long kind (spec 2)."""
    return text(value, LONG)


_json: Callable[[Any, int], tuple[str, ...]] = make_encoder(
    None, long, encode_basestring, None, ":", ",", False, True, False
)


def mended(value: Any, depth: int = 0) -> Any:
    """A value as JSON can say it."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return value if -_INT64 <= value < _INT64 else long(value)
    if depth < _DEPTH and isinstance(value, dict):
        return {text(key): mended(item, depth + 1) for key, item in value.items()}
    if depth < _DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [mended(item, depth + 1) for item in value]
    return long(value)


def labels(tags: dict[Any, Any]) -> dict[str, Any]:
    """Labels: strings, booleans and numbers (spec 2)."""
    return {text(key): value if value is None else _label(value) for key, value in dict(tags).items()}


def _label(value: Any) -> Any:
    number = value.__class__ in (bool, int, float) and -_INT64 <= value < _INT64  # NaN compares as neither
    return value if number else text(value)


def whole(value: Any) -> bool:
    """Whether a value is an integer that the server can take."""
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
