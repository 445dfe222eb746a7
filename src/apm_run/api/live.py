"""What the API does under ``apm-run``: on the tracer's own transactions and spans.

Nothing here raises. What a program gives that can not be used is left out and logged; what fails is the agent's own.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from _weakref import ref

from apm_run import agent, propagation
from apm_run.api import convert
from apm_run.config.service import clean
from apm_run.guard import failed
from apm_run.intake import plain
from apm_run.intake.limits import LONG
from apm_run.model import FAILURE, SUCCESS, UNKNOWN
from apm_run.tracer import Span, settled
from apm_run.tracer import current as _current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Union

    from apm_run.tracer import Tracer, Transaction

    Item = Union[Span, Transaction]

_get, _set = _current.get, _current.set

OUTCOMES = (SUCCESS, FAILURE, UNKNOWN)
#: What may be taken back by None.
_OPTIONAL = ("action", "result", "subtype")
KINDS = ("transaction", "span", "error", "metricset")
#: Seconds that a flush takes at most where it is not said in seconds.
_FLUSH = 10.0


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the agent's own failures from the program: then the function gives None."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            failed(f"api: {function.__name__}")
            return None

    return call


@guarded
def tracer() -> Tracer | None:
    """The tracer of this process; None where nothing is recorded."""
    running = agent.running
    found = None if running is None else running.serving
    return found if found is not None and found.active else None


@guarded
def current() -> Item | None:
    """What the calling code runs in."""
    found = tracer()
    item = None if found is None else _get() or found.ambient
    return item if found is None or item is None or item.left is None else found.resume(item)


def place() -> tuple[int, Any]:
    """Where the calling code runs: its thread and its task."""
    tasks = sys.modules.get("asyncio.tasks")
    task = None
    if tasks is not None:
        try:
            task = ref(tasks.current_task())
        except (AttributeError, RuntimeError, TypeError):  # it is being imported; no loop runs; none of its tasks
            pass
    return get_ident(), task


# Ends


@guarded
def end(item: Item, previous: Item | None, error: object = None, begun: object = None) -> None:
    """End a transaction or span.

    :param previous: what was current when it began. :param error: that its block has raised.
    :param begun: the place.
    """
    here = _get() is item
    # A generator that is left half way is closed elsewhere, or in a copy of the context.
    if not item.end_ns and (not here or (begun is not None and begun != place())):
        item.left = (settled(previous),)
    if here:
        _set(settled(previous))
    ending = item.transaction.tracer
    if ending.ambient is item:  # from now on the program has none of its own
        ending.ambient = None
    if error is not None and not isinstance(error, BaseException):
        convert.misused("end", error, "exception")
        error = None
    if isinstance(error, GeneratorExit):  # the consumer of a generator has had enough, which is no failure
        error = None
    if isinstance(item, Span):
        if error is not None:
            ending.fail(item, error)
        ending.end(item)
        return
    if isinstance(error, Exception):
        item.capture(error, handled=False)
    elif error is not None:
        item.outcome = item.outcome or UNKNOWN
    ending.end_transaction(item)


# Facts. What the user says stands: whatever is inferred afterwards only fills in what is missing.


@guarded
def put(item: Item, field: str, value: object) -> None:
    """Set the name, type, result, outcome and so on."""
    found = convert.text(field, value)
    if found is None and field not in _OPTIONAL:
        return
    if field == "outcome" and found not in OUTCOMES:
        convert.misused(field, value, "outcome: success, failure or unknown")
        return
    if isinstance(item, Span):
        setattr(item if field == "outcome" else item.own(), field, found)
        return
    setattr(item, field, found)
    if field == "name":
        item.named_by_user = True


@guarded
def told(item: Item, field: str) -> str | None:
    """What :func:`put` sets, as far as it is known."""
    found = getattr(item if field == "outcome" or not isinstance(item, Span) else item.draft, field)
    return None if found is None else plain.text(found)


def _add(item: Item, part: str, facts: dict[str, Any]) -> None:
    """Add to a part of the context; None takes back. Threads may do so at once, and while it is encoded."""
    owner = item.own() if isinstance(item, Span) else item
    if owner.context is None:
        owner.context = {}
    found = owner.context.setdefault(part, {})
    for key, value in facts.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value


@guarded
def set_label(item: Item, key: object, value: object) -> None:
    """Set a label, or with None take it back."""
    found = convert.key(key)
    _add(item, "tags", {found: None if value is None else convert.label(value)})


@guarded
def set_custom(item: Transaction, key: object, value: object) -> None:
    """Set an item of the custom context, as it is now."""
    _add(item, "custom", {convert.key(key): convert.custom(value)})


@guarded
def set_user(item: Transaction, **facts: object) -> None:
    """Say who the user is."""
    found = {
        name: value
        if name == "id" and type(value) is int and plain.whole(value)
        else convert.text(f"user {name}", value)
        for name, value in facts.items()
        if value is not None
    }
    _add(item, "user", found)


@guarded
def set_service(item: Transaction, name: object, version: object) -> None:
    """Report it as another service's."""
    found = {"name": convert.text("service name", name), "version": convert.text("service version", version)}
    if found["name"]:
        found["name"] = clean(found["name"])
    _add(item, "service", {key: value for key, value in found.items() if value})


@guarded
def baggage(item: Transaction) -> dict[str, str]:
    """The baggage of its trace, as far as it is known here."""
    return {key: propagation.value(member) for key, member in (item.baggage or {}).items()}


@guarded
def set_baggage(item: Transaction, key: object, value: object) -> None:
    """Add to the baggage, or with None take it out."""
    name, said = convert.text("baggage", key) or "", convert.text("baggage", value, LONG)
    found = propagation.with_member(item.baggage or {}, name, said)
    if found is None:
        convert.misused(f"baggage {name}", value, "member that fits")
    else:
        item.tracer.attach(item, found)


@guarded
def set_target(item: Span, type: object, name: object) -> None:
    """Set the service target; both empty: there is none."""
    draft = item.own()
    draft.target_type = convert.text("target type", type) or ""
    draft.target_name = convert.text("target name", name) or ""


@guarded
def set_resource(item: Span, resource: object) -> None:
    """Set ``destination.service.resource``, and the target where the user has not done so (spec 19)."""
    draft = item.own()
    draft.resource = convert.text("resource", resource) or ""
    if draft.resource and draft.target_type is None:
        draft.target_type, draft.target_name = "", draft.resource


@guarded
def set_destination(item: Span, address: object, port: object) -> None:
    """Set where the call has gone to."""
    draft = item.own()
    draft.address = convert.text("address", address)
    draft.port = convert.whole("port", port)


@guarded
def set_db(item: Span, **facts: object) -> None:
    """Say what was asked of a database."""
    draft = item.own()
    db = draft.db = dict(draft.db or {})
    rows = convert.whole("rows_affected", facts.pop("rows_affected"))
    if rows is not None:
        db["rows_affected"] = rows
    for name, value in facts.items():
        found = convert.text(f"db {name}", value, LONG if name == "statement" else 1024)
        if found is not None:
            db[name] = found


@guarded
def add_links(item: Item, places: object) -> None:
    """Add links to other places in traces."""
    item.links = [*(item.links or []), *convert.links(places)]


@guarded
def ensure_parent_id(item: Transaction) -> str:
    """The id of its parent, which is made up where it has none."""
    return item.tracer.ensure_parent(item)


@guarded
def headers(item: Item) -> dict[str, str]:
    """The trace context headers of an outgoing call."""
    return item.transaction.tracer.headers(item)


# Errors


@guarded
def capture_exception(item: Item | None, error: object, handled: object) -> None:
    """Report an exception, by default the one that is being handled."""
    if isinstance(error, tuple) and len(error) == 3:  # as sys.exc_info() gives it
        error = error[1]
    if error is None:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        _capture(item, error, convert.flag("handled", handled))
    else:
        convert.misused("capture_exception", error, "exception")


class Message:
    """What :func:`capture_message` reports, in the form of a record of a log."""

    def __init__(self, message: str, template: str | None, level: str | None, logger: str | None) -> None:
        self.message = message
        self.msg = template
        self.args = ()
        self.levelname = level
        self.name = logger


@guarded
def capture_message(item: Item | None, message: object, template: object, level: object, logger: object) -> None:
    """Report a message as an error."""
    found = convert.text("message", message, LONG)
    if not found:
        convert.misused("capture_message", message, "message")
        return
    record = Message(
        found,
        convert.text("param_message", template),
        convert.text("level", level),
        convert.text("logger_name", logger),
    )
    _capture(item, None, True, record, sys._getframe(1))


def _capture(item: Item | None, error: BaseException | None, handled: bool, *record: Any) -> None:
    found = tracer()
    if found is None:
        return
    previous = _get()
    if item is not None:
        _set(item)
    try:
        found.capture(error, None if item is None else item.transaction, handled, *record)
    finally:
        if item is not None:
            _set(previous)


# The process


@guarded
def add_filter(kind: object, function: object) -> None:
    """Have a function see the events of a kind before they are sent."""
    running = agent.running
    if kind not in KINDS:
        convert.misused("add_filter", kind, "kind of event: transaction, span, error or metricset")
    elif not callable(function):
        convert.misused("add_filter", function, "function")
    elif running is not None:
        running.filters.setdefault(str(kind), []).append(function)


@guarded
def flush(timeout: object) -> bool:
    """Send what waits."""
    found, running = tracer(), agent.running
    if found is None or running is None or running.exporter is None:
        return True
    seconds = float(timeout) if isinstance(timeout, (int, float)) and timeout >= 0 else _FLUSH
    found.collect()
    return running.exporter.flush(seconds)
