"""The transactions and spans that a program holds in its hands."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal, Union

    Outcome = Literal["success", "failure", "unknown"]
    Label = Union[str, bool, int, float]
    #: Where in a trace something is: a ``traceparent``, headers that hold one, a transaction or a span.
    Place = Union[str, Mapping[str, str], "Transaction", "Span"]


def working() -> Any:
    """What does the work, or None: the agent runs where it has been started before the program."""
    agent = sys.modules.get("apm_run.agent")
    if agent is None or agent.running is None:
        return None
    from apm_run.api import live

    return live


class _Handle:
    """A transaction or span, or one that is none: then it does nothing."""

    __slots__ = ("_begun", "_item", "_previous", "_sender")

    def __init__(self, item: Any = None, previous: Any = None, begun: Any = None) -> None:
        """:param item: of the tracer's. :param previous: what was current before. :param begun: the place."""
        self._begun = begun
        self._item = item
        self._previous = previous
        # Whose trace context goes out with a request.
        self._sender = previous if item is None else item

    def __bool__(self) -> bool:
        """Whether it is recorded; false where there is none."""
        return self._item is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Handle):
            return NotImplemented
        return self is other if self._item is None else self._item is other._item

    def __hash__(self) -> int:
        return hash(id(self._item))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>" if self else f"<no {type(self).__name__}>"

    def _told(self, field: str) -> Any:
        return None if self._item is None else working().told(self._item, field)

    def _put(self, field: str, value: object) -> None:
        if self._item is not None:
            working().put(self._item, field, value)

    def _is_here(self) -> bool:
        """Whether the calling code is where this has begun, be it anything or nothing."""
        live = working()
        return live is not None and live.current() is self._sender

    def is_current(self) -> bool:
        """Whether the calling code runs in it, and in no span below it."""
        return self._item is not None and self._is_here()

    @property
    def id(self) -> str:
        """16 hex digits; empty where there is none."""
        found: str = self._item.id if self else ""
        return found

    @property
    def trace_id(self) -> str:
        """32 hex digits: what logs and other services can be found by; empty where there is none."""
        found: str = self._item.transaction.trace_id if self else ""
        return found

    @property
    def parent_id(self) -> str | None:
        """The id of what it happened in; None for the root of a trace."""
        found: str | None = self._item.parent_id if self else None
        return found

    @property
    def sampled(self) -> bool:
        """Whether it is recorded in full."""
        return self._item is not None and bool(self._item.transaction.sampled)

    @property
    def name(self) -> str:
        """What it is called in Kibana: few different names, without ids. Yours stands, whatever is found out later."""
        return self._told("name") or ""

    @name.setter
    def name(self, name: str) -> None:
        self._put("name", name)

    @property
    def type(self) -> str:
        """Its type, such as ``request``, ``messaging``, ``db`` or ``custom``."""
        return self._told("type") or ""

    @type.setter
    def type(self, type: str) -> None:
        self._put("type", type)

    @property
    def outcome(self) -> str | None:
        """``success``, ``failure`` or ``unknown``; None while it is to be found out. Yours stands."""
        found: str | None = self._told("outcome")
        return found

    @outcome.setter
    def outcome(self, outcome: Outcome) -> None:
        self._put("outcome", outcome)

    def set_label(self, key: str, value: Label | None) -> None:
        """Add a label, which can be searched for.

        :param key: ``.``, ``*`` and ``"`` in it become ``_``.
        :param value: a text, a boolean or a number, other things as their text; None takes the label back.
        """
        if self._item is not None:
            working().set_label(self._item, key, value)

    def add_links(self, places: Iterable[Place]) -> None:
        """Link it to other transactions and spans, such as those that have sent the messages of a batch.

        :param places: each a ``traceparent``, headers with one, a transaction or a span.
        """
        if self._item is not None:
            working().add_links(self._item, places)

    def outgoing_headers(self) -> dict[str, str]:
        """The headers that make what another service does for it a part of this trace. Send all of them."""
        return {} if self._sender is None else working().headers(self._sender) or {}

    def capture_exception(self, error: BaseException | None = None, *, handled: bool = True) -> None:
        """As the function of this name, for this transaction or span."""
        if self._item is not None:
            working().capture_exception(self._item, error, handled)

    def capture_message(
        self, message: str, *, param_message: str | None = None, level: str = "error", logger_name: str | None = None
    ) -> None:
        """As the function of this name, for this transaction or span."""
        if self._item is not None:
            working().capture_message(self._item, message, param_message, level, logger_name)

    def end(self, error: BaseException | None = None) -> None:
        """End it. What was current before it began is current again. A second call does nothing.

        :param error: why it has failed. A transaction reports it as an error.
        """
        if self._item is not None:
            working().end(self._item, self._previous, error, self._begun)


class Transaction(_Handle):
    """A unit of work of this service: a request, a job, the program itself.

    Where there is none, it is an object that does nothing, and false: ``if transaction:`` tells.
    """

    __slots__ = ()

    @property
    def result(self) -> str | None:
        """How it has ended, in a word such as ``HTTP 2xx`` or ``success``. Yours stands."""
        found: str | None = self._told("result")
        return found

    @result.setter
    def result(self, result: str) -> None:
        self._put("result", result)

    def set_custom(self, key: str, value: object) -> None:
        """Add to the custom context: anything that JSON can say. It is shown, and can not be searched for.

        :param key: ``.``, ``*`` and ``"`` in it become ``_``.
        """
        if self._item is not None:
            working().set_custom(self._item, key, value)

    def set_user(
        self,
        id: str | int | None = None,
        *,
        username: str | None = None,
        email: str | None = None,
        domain: str | None = None,
    ) -> None:
        """Say who the user is that this is done for; its errors tell so too."""
        if self._item is not None:
            working().set_user(self._item, id=id, username=username, email=email, domain=domain)

    def set_service(self, name: str, version: str | None = None) -> None:
        """Report it, its spans and its errors as those of another service: where one process runs several."""
        if self._item is not None:
            working().set_service(self._item, name, version)

    @property
    def baggage(self) -> dict[str, str]:
        """What goes along with the trace, from service to service (W3C baggage): a copy, by key."""
        return {} if self._item is None else working().baggage(self._item) or {}

    def set_baggage(self, key: str, value: str | None) -> None:
        """Add to the baggage, or change it: it goes out with whatever is sent from now on, to be read there.

        :param key: a token, such as ``tenant``. :param value: any text; None removes it.
        """
        if self._item is not None:
            working().set_baggage(self._item, key, value)

    def ensure_parent_id(self) -> str:
        """The id of its parent, which is made up where it has none.

        A page that this transaction renders can carry it, so that the browser's own transaction becomes the parent.
        """
        found: str | None = working().ensure_parent_id(self._item) if self else None
        return found or ""


class Span(_Handle):
    """A part of a transaction. Where there is none, it is an object that does nothing, and false."""

    __slots__ = ()

    @property
    def subtype(self) -> str | None:
        """A closer word for its type, such as ``postgresql``."""
        found: str | None = self._told("subtype")
        return found

    @subtype.setter
    def subtype(self, subtype: str | None) -> None:
        self._put("subtype", subtype)

    @property
    def action(self) -> str | None:
        """What was done, such as ``query``."""
        found: str | None = self._told("action")
        return found

    @action.setter
    def action(self, action: str | None) -> None:
        self._put("action", action)

    @property
    def transaction(self) -> Transaction:
        """The transaction that it belongs to."""
        return Transaction(self._item.transaction) if self else Transaction()

    def set_service_target(self, type: str | None, name: str | None) -> None:
        """Say what an exit span calls, as the service map shows it; both empty: nothing that is to be shown there."""
        if self._item is not None:
            working().set_target(self._item, type, name)

    def set_destination_resource(self, resource: str | None) -> None:
        """Deprecated: as :meth:`set_service_target`, in one text, for servers before 8.3."""
        if self._item is not None:
            working().set_resource(self._item, resource)

    def set_destination(self, address: str | None, port: int | None = None) -> None:
        """Say to which network address an exit span goes; None or a port of 0 takes back what is known."""
        if self._item is not None:
            working().set_destination(self._item, address, port)

    def set_db(
        self,
        *,
        instance: str | None = None,
        statement: str | None = None,
        type: str | None = None,
        user: str | None = None,
        rows_affected: int | None = None,
    ) -> None:
        """Say what was asked of a database.

        :param instance: its name, which an exit span's service target follows from.
        :param type: ``sql`` for SQL.
        """
        if self._item is not None:
            working().set_db(
                self._item, instance=instance, statement=statement, type=type, user=user, rows_affected=rows_affected
            )
