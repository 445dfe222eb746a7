"""Facts of database spans (spec 18.2)."""

from __future__ import annotations

import pytest

from apm_run.conventions import database


def test_a_statement():
    draft = database.statement("postgresql", "SELECT 1 FROM a", instance="shop", address="db.example", port=5432)
    assert (draft.name, draft.type, draft.subtype, draft.action) == ("SELECT FROM a", "db", "postgresql", "query")
    assert draft.db == {"type": "sql", "statement": "SELECT 1 FROM a", "instance": "shop"}
    assert (draft.address, draft.port, draft.exit) == ("db.example", 5432, True)


def test_no_instance_is_left_out():
    assert "instance" not in database.statement("sqlite", "SELECT 1").db


@pytest.mark.parametrize("sql", [None, 5, b"SELECT 1", ["SELECT 1"], object()])
def test_what_is_no_text_is_no_span(sql):
    assert database.statement("sqlite", sql) is None


def test_a_huge_statement_is_not_kept_alive():
    draft = database.statement("sqlite", "SELECT " + "x" * 1_000_000)
    assert len(draft.db["statement"]) == 10_000
    assert draft.db["statement"].endswith("x\u2026")


def test_a_subclass_of_text_is_read_as_text():
    class Text(str):
        __slots__ = ()

        def __str__(self):
            return "other"

        __hash__ = None

    draft = database.statement("sqlite", Text("SELECT 1 FROM a"))
    assert draft.name == "SELECT FROM a"
    assert type(draft.db["statement"]) is str


@pytest.mark.parametrize(
    ("sql", "rowcount", "expected"),
    [
        ("INSERT INTO a VALUES (1)", 1, 1),
        ("UPDATE a SET b = 1", 0, 0),
        ("DELETE FROM a", 7, 7),
        ("REPLACE INTO a VALUES (1)", 1, 1),
        ("SELECT * FROM a", 5, None),
        ("WITH x AS (SELECT 1) SELECT * FROM x", 5, None),
        ("INSERT INTO a VALUES (1)", -1, None),
        ("INSERT INTO a VALUES (1)", None, None),
        ("INSERT INTO a VALUES (1)", "1", None),
        ("INSERT INTO a VALUES (1)", True, None),
    ],
)
def test_rows_affected(sql, rowcount, expected):
    draft = database.statement("sqlite", sql)
    database.affected(draft, rowcount)
    assert draft.db.get("rows_affected") == expected
