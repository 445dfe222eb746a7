"""What a program gives, as what it should be: at most left out and logged, never refused."""

from __future__ import annotations

from apm_run import log, propagation
from apm_run.intake import plain
from apm_run.intake.limits import KEYWORD
from apm_run.propagation import TraceContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Optional

    Place = tuple[Optional[TraceContext], Optional[dict[str, str]]]

_NOWHERE: Place = (None, None)
#: Characters of a header that are looked at.
_ROOM = 65536
#: What keys of labels and of custom context can not hold.
_KEYS = {ord(letter): "_" for letter in '.*"'}


def misused(what: str, value: object, wanted: str) -> None:
    """Tell the user, in the log, what could not be used."""
    log.write("warning", "api.misuse", f"{what}: {type(value).__name__} is no {wanted}")


def text(what: str, value: object, limit: int = KEYWORD) -> str | None:
    """A text; what is none is made one, and None stays None."""
    if value is None:
        return None
    if not isinstance(value, str):
        misused(what, value, "text")
    return plain.text(value, limit)


def key(value: object) -> str:
    """The key of a label."""
    return plain.text(value).translate(_KEYS)


def label(value: object) -> str | bool | int | float:
    """The value of a label: a text, a boolean or a number."""
    if isinstance(value, (bool, str)):
        return value
    try:
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
    except Exception:  # a type of the program's
        misused("label", value, "number")
    return plain.text(value)


def custom(value: object) -> object:
    """A value as JSON can say it, as it is now."""
    try:
        return plain.mended(value)
    except Exception:  # a type of the program's
        misused("custom", value, "value that can be read")
        return plain.text(value)


def whole(what: str, value: object) -> int | None:
    """A whole number, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    misused(what, value, "whole number")
    return None


def flag(what: str, value: object) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    misused(what, value, "boolean")
    return False


def is_handle(value: object) -> bool:
    """Whether it is a transaction or span of the API's; that of another module is told by its name."""
    return type(value).__module__ == "apm_run.api.handles"


def place(what: str, value: Any) -> Place:
    """A place in a trace: that of a transaction or span, of a ``traceparent``, or of headers; and the baggage there."""
    if value is None:
        return _NOWHERE
    try:
        return _place(what, value)
    except Exception:  # a type of the program's
        misused(what, value, "place in a trace")
        return _NOWHERE


def _place(what: str, value: Any) -> Place:
    if is_handle(value):
        item = value._sender
        if item is None:
            return _NOWHERE
        of = item.transaction
        return TraceContext(of.trace_id, item.id, of.sampled, of.tracestate, own=True), of.baggage
    if isinstance(value, str):
        return propagation.parse([value]), None
    if not (hasattr(value, "items") or isinstance(value, (list, tuple))):
        misused(what, value, "place in a trace")
        return _NOWHERE
    return propagation.incoming(_carrier(value.items() if hasattr(value, "items") else value))


def _carrier(pairs: Iterable[Any]) -> dict[str, list[str]]:
    """The values of headers, by their names in lower case."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            name, value = pair
            values = value if isinstance(value, (list, tuple)) else [value]
            found.setdefault(plain.text(name).lower(), []).extend([plain.text(each, _ROOM) for each in values])
    return found


def links(value: Any) -> list[dict[str, str]]:
    """Links of an event, of a sequence of places."""
    if value is None:
        return []
    try:
        places = [value] if is_handle(value) or isinstance(value, (str, dict)) else list(value)
    except Exception:  # no sequence, or one of the program's that fails
        misused("links", value, "sequence of places in traces")
        return []
    found = [place("links", each)[0] for each in places]
    return [{"trace_id": each.trace_id, "span_id": each.parent_id} for each in found if each is not None]
