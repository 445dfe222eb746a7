"""Statements that are put together, and where connection strings lead."""

from __future__ import annotations

import types

import pytest

from apm_run.conventions import libpq
from apm_run.conventions.sql import LIMIT


def composable(module, attribute):
    """Stand-ins of a driver's types: what is looked at are their names and what they hold."""

    def kind(name):
        def init(self, held):
            setattr(self, attribute, held)

        return type(name, (), {"__init__": init, "__module__": module})

    return types.SimpleNamespace(
        **{name: kind(name) for name in ("SQL", "Identifier", "Literal", "Placeholder", "Composed", "Unheard")}
    )


@pytest.fixture(params=[("psycopg2.sql", "_wrapped"), ("psycopg.sql", "_obj")])
def sql(request):
    return composable(*request.param)


class Watched:
    def __repr__(self):
        raise AssertionError("looked into")

    __str__ = __repr__


def test_composed(sql):
    statement = sql.Composed(
        [
            sql.SQL("select "),
            sql.Identifier(("s", 'a"b')),
            sql.SQL(" from t where x = "),
            sql.Placeholder(None),
            sql.SQL(" and y = "),
            sql.Placeholder("name"),
            sql.Composed([sql.SQL(" in "), sql.Literal("it's"), sql.Literal(5), sql.Literal(None), sql.Literal(True)]),
            sql.Literal(Watched()),
            sql.Unheard("x"),
            sql.Identifier((Watched(),)),
            Watched(),
        ]
    )
    assert libpq.text(statement) == (
        """select "s"."a""b" from t where x = %s and y = %(name)s in 'it\'\'s'5NULLTrue????""".replace("\\", "")
    )


def test_what_the_program_derives(sql):
    class Mine(sql.SQL):
        pass

    class Odd(sql.Unheard):
        pass

    assert libpq.text(Mine("select 1")) == "select 1"
    assert libpq.text(sql.Composed([Mine("select "), Odd("x")])) == "select ?"


def test_text_and_bytes():
    class Text(str):
        def __str__(self):
            return "another"

    assert libpq.text("select 1") == "select 1"
    assert type(libpq.text(Text("select 1"))) is str
    assert libpq.text(Text("select 1")) == "select 1"
    assert libpq.text("sélect".encode()) == "sélect"
    assert libpq.text(bytearray(b"select \xff")) == "select \ufffd"
    for other in (None, 5, object(), Watched(), ["select"]):
        assert libpq.text(other) is None


def test_what_is_huge_or_deep_is_cut(sql):
    huge = sql.Composed([sql.Literal("x" * 1000)] * 100_000)
    assert LIMIT < len(libpq.text(huge)) < LIMIT + 2000
    deep = sql.SQL("x")
    for _ in range(5000):
        deep = sql.Composed([sql.SQL("("), deep])
    assert libpq.text(deep) == "(" * 20 + "?"
    assert len(libpq.text(b"x" * 10_000_000)) == 4 * LIMIT


def test_template_strings(sql):
    class Template(list):
        __module__ = "string.templatelib"

    def interpolation(value, form=""):
        return types.SimpleNamespace(value=value, format_spec=form)

    inner = Template([" order by ", interpolation("id", "i")])
    statement = Template(
        [
            "select ",
            interpolation(sql.Identifier(("t", "x"))),
            " from ",
            interpolation("items", "i"),
            " where a = ",
            interpolation(Watched()),
            " and b = ",
            interpolation("it's", "l"),
            interpolation(inner, "q"),
            interpolation(Watched(), "i"),
        ]
    )
    assert libpq.text(statement) == ("""select "t"."x" from "items" where a = %s and b = 'it''s' order by "id"%s""")


@pytest.mark.parametrize(
    ("conninfo", "arguments", "expected"),
    [
        ("host=db port=5433 dbname=shop user=me", {}, ("shop", "me", "db", 5433)),
        ("host = 'my db' dbname='it\\'s' password='a b'", {}, ("it's", None, "my db", None)),
        ("hostaddr=10.0.0.1 dbname=shop", {"port": "99"}, ("shop", None, "10.0.0.1", 99)),
        ("", {"host": "db", "port": 5432, "database": "shop", "user": "me"}, ("shop", "me", "db", 5432)),
        ("host=/var/run port=5432", {}, (None, None, None, None)),
        ("postgresql://me:secret@db:5433/shop?sslmode=disable", {}, ("shop", "me", "db", 5433)),
        ("postgres://[::1]:5433/shop", {}, ("shop", None, "::1", 5433)),
        ("postgresql://db/shop?port=77&user=you&host=db2", {}, ("shop", "you", "db2", 77)),
        ("postgresql:///shop", {}, ("shop", None, None, None)),
        ("postgresql://%2Fvar%2Frun/shop", {}, ("shop", None, None, None)),
        ("nonsense", {}, (None, None, None, None)),
        ("host=db port=many", {}, (None, None, "db", None)),
        (None, {"host": None, "dbname": "shop"}, ("shop", None, None, None)),
        (object(), {"host": object(), "port": 1.5, "user": b"me"}, (None, "me", None, None)),
    ],
)
def test_where_a_connection_leads(conninfo, arguments, expected):
    found = libpq.place(conninfo, arguments)
    assert (found.instance, found.user, found.address, found.port) == expected
