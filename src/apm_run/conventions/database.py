"""Database spans: ``type db``, named by the statement's signature (spec 18.2, 21)."""

from __future__ import annotations

from apm_run.conventions.sql import LIMIT, signature
from apm_run.intake.limits import cut
from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import Call

    Facts = tuple[str | None, str | None, str | None, int | None]

#: How the names of statements that change rows begin: for others a driver's row count is the size of a result.
_CHANGING = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")

#: Characters that the statements which are remembered may have in all, each counted with what it costs besides.
_BUDGET = 500_000
_ENTRY = 800
#: What kind of database a statement is for, where that is, and its text -> the facts of all its spans.
_drafts: dict[tuple[str, Facts, str], SpanDraft] = {}
_room = [_BUDGET]


def text(sql: object) -> str | None:
    """A statement as an exact ``str``, where the driver takes bytes as well; None for what is neither."""
    if type(sql) is str:
        return sql
    if isinstance(sql, str):
        return str.__str__(sql)  # a subclass may hash or compare as it likes
    if type(sql) is bytes:
        return sql[: 4 * LIMIT].decode("utf-8", "replace")
    if isinstance(sql, (bytes, bytearray)):
        return bytes(memoryview(sql)[: 4 * LIMIT]).decode("utf-8", "replace")
    return None


class Place:
    """Where a connection leads: what is known of it, the rest is None."""

    __slots__ = ("address", "facts", "instance", "port", "user")

    def __init__(self, instance: object, user: object, address: object, port: object) -> None:
        """Keep what is of the right type.

        :param instance: the current database. :param address: of the server; a socket in the file system is no
            address.
        """
        self.instance = instance if type(instance) is str else text(instance)
        self.user = user if type(user) is str else text(user)
        address = address if type(address) is str else text(address)
        self.address = None if not address or address[0] in "/@" else address
        self.port = port if type(port) is int and port > 0 and self.address else None
        self.facts: Facts = (self.instance, self.user, self.address, self.port)

    def fill(self, draft: SpanDraft) -> SpanDraft:
        """Say it of a span."""
        db: dict[str, Any] = draft.db  # type: ignore[assignment]
        if self.instance:
            db["instance"] = self.instance
        if self.user:
            db["user"] = self.user
        draft.address = self.address
        draft.port = self.port
        return draft


#: A connection that is closed, or is none.
NOWHERE = Place(None, None, None, None)


def statement(subtype: str, sql: Any) -> SpanDraft | None:
    """A span for an SQL statement of a database in a file; None for what is no text, which the driver will refuse."""
    if sql.__class__ is not str:
        sql = str.__str__(sql) if isinstance(sql, str) else None
    return executed(subtype, sql, NOWHERE)


def executed(subtype: str, sql: str | None, place: Place) -> SpanDraft | None:
    """A span for an SQL statement of a connection, from :func:`text` or its like.

    One draft serves all spans of a statement; but for those that change rows, whose number differs.
    """
    if sql is None:
        return None
    # One character over the limit says that there is more text, and keeps a cut statement apart from a whole one.
    head = sql if len(sql) <= LIMIT else sql[: LIMIT + 1]
    key = (subtype, place.facts, head)
    found = _drafts.get(key)
    if found is None:
        db = {"type": "sql", "statement": cut(head, LIMIT)}
        found = place.fill(SpanDraft(signature(head), "db", subtype, "query", db=db))
        _remember(key, found)
    if found.encoded is None:
        return place.fill(SpanDraft(found.name, "db", subtype, "query", db=dict(found.db or {})))
    return found


def _remember(key: tuple[str, Facts, str], draft: SpanDraft) -> None:
    if not draft.name.startswith(_CHANGING):
        draft.encoded = (None, "")
    # Emptied as a whole: the statements in use come back within microseconds, and no order must be kept.
    size = 2 * len(key[2]) + _ENTRY  # as it is, and encoded
    _room[0] -= size
    if _room[0] < 0:
        _drafts.clear()
        _room[0] = _BUDGET - size
    _drafts[key] = draft


def query(call: Call, *names: str) -> str | None:
    """The statement that a method is called with: its first argument, or one by any of these names."""
    return text(call.args[1] if len(call.args) > 1 else next(filter(None, map(call.kwargs.get, names)), None))


def procedure(subtype: str, name: object, place: Place) -> SpanDraft | None:
    """A span for the call of a stored procedure or function by its name."""
    if type(name) is not str:
        return None
    call = f"CALL {name}"
    return place.fill(SpanDraft(cut(call), "db", subtype, "exec", db={"type": "sql", "statement": cut(call, LIMIT)}))


def connect(library: str, subtype: str, place: Place) -> SpanDraft:
    """A span for making a connection."""
    return _reached(SpanDraft(f"{library}.connect", "db", subtype, "connect", db={"type": "sql"}), place)


def connected(draft: SpanDraft, place: Place) -> None:
    """Say where a connection that has been made really leads: an option file, say, knew more than the arguments."""
    draft.name = draft.name.partition(" ")[0]
    _reached(draft, place)


def _reached(draft: SpanDraft, place: Place) -> SpanDraft:
    if place.address:
        draft.name = f"{draft.name} {place.address}:{place.port}" if place.port else f"{draft.name} {place.address}"
    return place.fill(draft)


def rows(call: Call, result: object, draft: SpanDraft) -> None:
    """The rows that a cursor's statement has changed."""
    if draft.name.startswith(_CHANGING) and not isinstance(result, BaseException):
        affected(draft, getattr(call.instance, "rowcount", None))


def affected(draft: SpanDraft, rowcount: object) -> None:
    """Add ``rows_affected`` to a statement that changes rows, where the driver knows how many."""
    if type(rowcount) is int and rowcount >= 0 and draft.db is not None and draft.name.startswith(_CHANGING):
        draft.db["rows_affected"] = rowcount
