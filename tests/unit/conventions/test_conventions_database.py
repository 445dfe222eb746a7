"""Facts of database spans (spec 18.2)."""

from __future__ import annotations

from time import perf_counter

import pytest
from tests import encoded
from tests.engine import Engine

from apm_run.api import live
from apm_run.conventions import database


def test_a_statement():
    place = database.Place("shop", None, "db.example", 5432)
    draft = database.executed("postgresql", "SELECT 1 FROM a", place)
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


def test_what_is_remembered_is_bounded():
    for number in range(5000):
        database.statement("sqlite", f"SELECT {number} FROM orders")
    assert 0 < held() <= database._BUDGET
    for number in range(200):
        database.statement("sqlite", f"SELECT {number} FROM orders WHERE a = '{'x' * 100_000}'")
    assert held() <= database._BUDGET
    assert max(len(text) for _, _, text in database._drafts) <= 10_001


def held():
    """Characters, as the budget counts them."""
    return sum(2 * len(text) + database._ENTRY for _, _, text in database._drafts)


@pytest.mark.timing
def test_a_known_statement_costs_under_a_microsecond():
    statement = "SELECT a.id, a.name, a.value FROM items AS a WHERE a.id = ? ORDER BY a.name"
    best = 1.0
    for _ in range(20):
        began = perf_counter()
        for _ in range(1000):
            database.statement("sqlite", statement)
        best = min(best, perf_counter() - began)
    assert best / 1000 < 1e-6


def test_spans_of_a_statement_share_their_facts_until_one_is_told_another():
    engine = Engine()
    transaction = engine.begin("name")
    spans = [engine.tracer.begin(database.statement("sqlite", "SELECT 1 FROM a"), transaction) for _ in range(3)]
    live.set_label(spans[1], "only", "here")
    live.set_db(spans[1], rows_affected=None, instance="mine")
    live.put(spans[1], "name", "mine")
    for span in spans:
        engine.tracer.end(span)
    first, second, third = (encoded.span(span) for span in spans)
    assert spans[0].draft is spans[2].draft
    assert (first["name"], first["context"]) == (third["name"], third["context"])
    assert "tags" not in first["context"]
    assert (second["name"], second["context"]["tags"]) == ("mine", {"only": "here"})
    assert second["context"]["db"] == {**first["context"]["db"], "instance": "mine"}
    other = Engine(long_field_max_length="8")
    transaction = other.begin("name")
    span = other.tracer.begin(database.statement("sqlite", "SELECT 1 FROM a"), transaction)
    other.tracer.end(span)
    assert encoded.span(span)["context"]["db"]["statement"] == "SELECT \u2026"


def test_rows_affected_are_a_spans_own():
    drafts = [database.statement("sqlite", "INSERT INTO a VALUES (1)") for _ in range(2)]
    for number, draft in enumerate(drafts):
        database.affected(draft, number)
    assert [draft.db["rows_affected"] for draft in drafts] == [0, 1]


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
