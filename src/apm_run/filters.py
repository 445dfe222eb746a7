"""What the program's own filters leave of an event (design 3, step 12). Loaded where there is a filter."""

from __future__ import annotations

from apm_run import log
from apm_run.intake import nodes, schema
from apm_run.intake.plain import Shown, labels, mended, text
from apm_run.intake.validate import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Event = dict[str, Any]


def passed(kind: str, event: Event, functions: list[Callable[[Event], Any]]) -> Event | None:
    """The event as the filters leave it; None where one of them drops it.

    A filter that raises counts for nothing, but for what it has changed before.

    :param kind: the root key. :param functions: are called one after the other, the first with a copy.
    """
    found: Any = _own(event)
    for function in list(functions):
        try:
            kept = function(found)
        except (Exception, SystemExit) as error:
            log.write("warning", "filter.failed", f"{kind}: {_name(function)} has raised {type(error).__name__}")
            continue
        if kept is None:
            return None
        if isinstance(kept, dict):
            found = {**kept}
        else:
            log.write("warning", "filter.failed", f"{kind}: {_name(function)} has returned a {type(kept).__name__}")
    if "id" in event:  # its open record is found by it, as the first thing in its line
        found = {"id": event["id"], **{key: value for key, value in found.items() if key != "id"}}
    return _valid(kind, _fitting(schema.KINDS[kind], found))


def _valid(kind: str, event: Event) -> Event | None:
    """The event, unless the server would refuse it for what a filter has put there: then the log says why.

    Judged is what is sent: a value that JSON has no word for becomes a text.
    """
    found: Event = mended(event)
    wrong = validate(kind, found)
    if wrong:
        log.write("warning", "filter.failed", f"{kind}: is left out as a filter has left it: {wrong[0]}")
        return None
    return found


def _own(value: Any) -> Any:
    """A copy of what an event is made of: parts of it are shared with others."""
    if type(value) in (dict, Shown):
        return {key: _own(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_own(item) for item in value]
    return value


def _fitting(node: Any, value: Any) -> Any:
    """A value with its texts cut to what the server takes; one that is too long would cost the whole event."""
    if value is None:
        return None
    if isinstance(node, nodes.Text):
        value = text(value, node.limit) if node.limit else value
    elif isinstance(node, nodes.TextOrWhole):
        value = value if isinstance(value, int) else text(value)
    elif type(value) is dict:
        if isinstance(node, nodes.Record):
            return {key: _fitting(node.fields.get(key), item) for key, item in value.items()}
        if isinstance(node, nodes.Labels):
            return labels(value)
        if isinstance(node, nodes.MapOf):
            return {key: _fitting(node.item, item) for key, item in value.items()}
    elif type(value) is list and isinstance(node, nodes.ListOf):
        return [_fitting(node.item, item) for item in value]
    return value


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__
