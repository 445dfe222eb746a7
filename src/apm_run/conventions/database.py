"""Database spans: ``type db``, named by the statement's signature (spec 18.2, 21)."""

from __future__ import annotations

from apm_run.conventions.sql import LIMIT, signature
from apm_run.intake.limits import cut
from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How the names of statements that change rows begin: for others a driver's row count is the size of a result.
_CHANGING = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")


def statement(
    subtype: str,
    sql: Any,
    *,
    instance: str | None = None,
    address: str | None = None,
    port: int | None = None,
) -> SpanDraft | None:
    """A span for an SQL statement; None for what is no text, which the driver will refuse.

    :param instance: the current database, where there is one.
    """
    if type(sql) is not str:
        if not isinstance(sql, str):
            return None
        sql = str.__str__(sql)  # a subclass may hash or compare as it likes
    db: dict[str, Any] = {"type": "sql", "statement": cut(sql, LIMIT)}
    if instance:
        db["instance"] = instance
    return SpanDraft(signature(sql), "db", subtype, "query", db=db, address=address, port=port)


def affected(draft: SpanDraft, rowcount: object) -> None:
    """Add ``rows_affected`` to a statement that changes rows, where the driver knows how many."""
    if type(rowcount) is int and rowcount >= 0 and draft.db is not None and draft.name.startswith(_CHANGING):
        draft.db["rows_affected"] = rowcount
