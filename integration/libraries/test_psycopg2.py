"""psycopg2 against PostgreSQL: a span per statement and connection; nobody can tell its types from the bare ones."""

from __future__ import annotations

import io
import re

import pytest
from integration.libraries.sql import facts, fast, same_program, whole
from tests.instrumentations.recorder import instrumented

psycopg2 = pytest.importorskip("psycopg2")
errors, extras, sql = (pytest.importorskip(f"psycopg2.{name}") for name in ("errors", "extras", "sql"))


@pytest.fixture
def recorder():
    with instrumented("psycopg2") as recorder:
        yield recorder


@pytest.fixture
def connection(recorder, postgres):
    connection = psycopg2.connect(postgres.dsn)
    with connection.cursor() as cursor:
        cursor.execute("create temp table items (id int, name text)")
    connection.commit()
    yield connection
    connection.close()


def test_whole_spans(recorder, postgres):
    with recorder.running():
        connection = psycopg2.connect(postgres.dsn)
        with connection.cursor() as cursor:
            cursor.execute("create temp table items (id int, name text)")
            cursor.execute("insert into items values (%s, %s), (2, 'b')", (1, "a"))
            cursor.executemany("insert into items values (%s, %s)", [(3, "c"), (4, "d"), (5, "e")])
            cursor.execute("select name from items where id = %s", (1,))
            assert cursor.fetchone() == ("a",)
            cursor.callproc("abs", [-5])
            assert cursor.fetchone() == (5,)
        connection.close()
    assert fast(recorder.snapshot(postgres.port)) == [
        whole("psycopg2.connect 127.0.0.1:9999", "postgresql", None, action="connect"),
        whole("CREATE", "postgresql", "create temp table items (id int, name text)"),
        whole("INSERT INTO items", "postgresql", "insert into items values (%s, %s), (2, 'b')", rows=2),
        whole("INSERT INTO items", "postgresql", "insert into items values (%s, %s)", rows=3),
        whole("SELECT FROM items", "postgresql", "select name from items where id = %s"),
        whole("CALL abs", "postgresql", "CALL abs", action="exec"),
    ]


def test_statements_that_are_no_text(recorder, connection):
    composed = sql.SQL("select {} from {} where id = {} and name in ({})").format(
        sql.Identifier("id"),
        sql.Identifier("pg_temp", "items"),
        sql.Literal(1),
        sql.SQL(", ").join([sql.Placeholder()]),
    )
    with recorder.running(), connection.cursor() as cursor:
        cursor.execute(composed, ("a",))
        cursor.execute(b"select 1")
        cursor.executemany(sql.SQL("delete from {}").format(sql.Identifier("items")), [()])
        for refused in (None, 5, ["select 1"]):
            with pytest.raises((TypeError, psycopg2.ProgrammingError)):
                cursor.execute(refused)
    statement = composed.as_string(connection)
    assert facts(recorder) == [
        ("SELECT FROM pg_temp.items", "success", statement),
        ("SELECT", "success", "select 1"),
        ("DELETE FROM items", "success", 'delete from "items"'),
    ]


def test_copy(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        cursor.copy_from(io.StringIO("5\tz\n"), "items")
        cursor.copy_to(io.StringIO(), "items")
        cursor.copy_expert("copy items to stdout", io.StringIO())
        cursor.copy_expert(sql.SQL("copy items to stdout"), io.StringIO())
    assert facts(recorder) == [
        ("COPY", "success", "COPY items FROM stdin"),
        ("COPY", "success", "COPY items TO stdout"),
        ("COPY", "success", "copy items to stdout"),
        ("COPY", "success", "copy items to stdout"),
    ]


class Mine(extras.RealDictCursor):
    def execute(self, query, vars=None):
        return super().execute(f"{query} -- mine", vars)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"cursor_factory": extras.DictCursor},
        {"cursor_factory": extras.NamedTupleCursor},
        {"cursor_factory": Mine},
        {"name": "on_the_server"},
    ],
)
def test_one_span_whatever_the_cursor(recorder, connection, arguments):
    with recorder.running():
        cursor = connection.cursor(**arguments)
        cursor.execute("select 1 as x")
        assert isinstance(cursor, arguments.get("cursor_factory", psycopg2.extensions.cursor))
        assert len(cursor.fetchall()) == 1
        cursor.close()
    assert [name for name, *_ in facts(recorder)] == ["SELECT"]


def test_the_connections_own_cursor_factory(recorder, connection):
    connection.cursor_factory = extras.DictCursor
    with recorder.running(), connection.cursor() as cursor:
        cursor.execute("select 1 as x")
        assert cursor.fetchone()["x"] == 1
    assert len(recorder.spans) == 1


def test_a_bad_statement(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        with pytest.raises(errors.UndefinedTable) as caught:
            cursor.execute("select * from nowhere")
        assert caught.value.cursor is cursor
        assert caught.value.pgcode == "42P01"
    assert facts(recorder) == [("SELECT FROM nowhere", "failure", "select * from nowhere")]
    assert "rows_affected" not in recorder.spans[0]["context"]["db"]


def test_a_statement_that_takes_too_long(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 50")
        with pytest.raises(errors.QueryCanceled):
            cursor.execute("select pg_sleep(30)")
    assert [fact[:2] for fact in facts(recorder)] == [("SET", "success"), ("SELECT", "failure")]
    assert 40 < recorder.spans[1]["duration"] < 20_000


def test_a_server_that_is_down(recorder, postgres):
    with recorder.running():
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            psycopg2.connect(host="127.0.0.1", port=1, dbname="shop", user="me", password="secret")
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            psycopg2.connect("postgresql://me:secret@127.0.0.1:1/shop")
        with pytest.raises(psycopg2.Error, match="invalid dsn"):
            psycopg2.connect("nonsense")
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            psycopg2.connect(postgres.dsn, dbname="nowhere")
    assert [(span["name"], span["outcome"], span["context"]["db"].get("instance")) for span in recorder.spans] == [
        ("psycopg2.connect 127.0.0.1:1", "failure", "shop"),
        ("psycopg2.connect 127.0.0.1:1", "failure", "shop"),
        ("psycopg2.connect", "failure", None),
        (f"psycopg2.connect 127.0.0.1:{postgres.port}", "failure", "nowhere"),
    ]
    assert "secret" not in repr(recorder.spans)


def test_a_connection_that_breaks(recorder, postgres, connection):
    killer = psycopg2.connect(postgres.dsn)
    with killer.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
    killer.close()
    with recorder.running():
        cursor = connection.cursor()
        for _ in range(7):
            with pytest.raises((psycopg2.OperationalError, psycopg2.InterfaceError)):
                cursor.execute("select 1")
    assert [fact[:2] for fact in facts(recorder)] == [("SELECT", "failure")] * 7


def test_a_socket_in_the_file_system_is_no_address(recorder, postgres):
    with recorder.running():
        psycopg2.connect(postgres.dsn, host=str(postgres.folder)).close()
    (span,) = recorder.spans
    assert span["name"] == "psycopg2.connect"
    assert "address" not in span["context"]["destination"]


def test_nothing_outside_of_a_transaction(recorder, connection):
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    assert recorder.spans == []


def test_a_program_that_looks_closely(sink, postgres):
    spans = same_program("program_psycopg2.py", sink, postgres.dsn)
    names = [re.sub(r" 127.*", "", span["name"]) for span in spans]
    assert names == [
        *["psycopg2.connect"] * 4,  # none of them leads anywhere
        "psycopg2.connect",
        "CREATE",
        *["INSERT INTO items"] * 2,
        "SELECT FROM items",
        *["SELECT"] * 2,
        "CALL abs",
        *["COPY"] * 3,
        "INSERT INTO items",
        "UPDATE items",
        *["SELECT"] * 6,  # three factories, three times the connection's own
        *["psycopg2.connect", "SELECT"] * 3,
        "psycopg2.connect",
        "SELECT",
        "SELECT FROM nowhere",
        *["SELECT"] * 2,
        "unnamed",
        "SELECT",
        *["psycopg2.connect"] * 2,
        "SELECT",
    ]
