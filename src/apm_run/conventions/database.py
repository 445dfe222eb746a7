"""Database spans: ``type db``, named by the statement's signature (spec 18.2, 21)."""

from __future__ import annotations

from apm_run.conventions.sql import signature
from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    if not isinstance(sql, str):
        return None
    db: dict[str, Any] = {"type": "sql", "statement": sql}
    if instance:
        db["instance"] = instance
    return SpanDraft(signature(sql), "db", subtype, "query", db=db, address=address, port=port)


def affected(draft: SpanDraft, rowcount: object) -> None:
    """Add ``rows_affected``, where the driver knows it."""
    if type(rowcount) is int and rowcount >= 0 and draft.db is not None:
        draft.db["rows_affected"] = rowcount
