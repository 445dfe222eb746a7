"""The signature of an SQL statement, used as the span's name (spec 21)."""

from __future__ import annotations


def signature(sql: str) -> str:
    """``SELECT FROM table``, ``INSERT INTO table`` and so on; the bare verb on any doubt."""
    return sql.split(None, 1)[0].upper()[:30] if sql.strip() else ""
