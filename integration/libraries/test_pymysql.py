"""PyMySQL against MariaDB: a span per statement of a cursor and per connection."""

from __future__ import annotations

import pytest
from integration.libraries.sql import facts, fast, same_program, whole
from tests.instrumentations.recorder import instrumented

pymysql = pytest.importorskip("pymysql")
cursors = pytest.importorskip("pymysql.cursors")


@pytest.fixture
def recorder():
    with instrumented("pymysql") as recorder:
        yield recorder


@pytest.fixture
def where(mariadb):
    return {"host": "127.0.0.1", "port": mariadb.port, "user": "root", "database": "shop"}


@pytest.fixture
def connection(recorder, where):
    connection = pymysql.connect(**where)
    with connection.cursor() as cursor:
        cursor.execute("create temporary table items (id int, name text)")
    yield connection
    if connection.open:
        connection.close()


def test_whole_spans(recorder, where, mariadb):
    with recorder.running():
        connection = pymysql.connect(init_command="set @a = 1", **where)
        with connection.cursor() as cursor:
            cursor.execute("create temporary table items (id int, name text)")
            assert cursor.execute("insert into items values (%s, %s), (2, 'b')", (1, "a")) == 2
            assert cursor.executemany("insert into items values (%s, %s)", [(3, "c"), (4, "d"), (5, "e")]) == 3
            assert cursor.executemany("update items set name = %s where id = %s", [("x", 3), ("y", 4)]) == 2
            cursor.execute("select name from items where id = %s", (1,))
            assert cursor.fetchall() == (("a",),)
        connection.commit()
        connection.close()
    snapshot = fast(recorder.snapshot(mariadb.port))
    expected = [
        ("pymysql.connect 127.0.0.1:9999", None, {"action": "connect"}),
        ("CREATE", "create temporary table items (id int, name text)", {}),
        ("INSERT INTO items", "insert into items values (%s, %s), (2, 'b')", {"rows": 2}),
        ("INSERT INTO items", "insert into items values (%s, %s)", {"rows": 3}),
        ("UPDATE items", "update items set name = %s where id = %s", {"rows": 2}),
        ("SELECT FROM items", "select name from items where id = %s", {}),
    ]
    assert snapshot == [
        whole(name, "mariadb", text, instance="shop", user="root", **more) for name, text, more in expected
    ]


@pytest.mark.parametrize("kind", ["Cursor", "DictCursor", "SSCursor", "SSDictCursor"])
def test_one_span_whatever_the_cursor(recorder, connection, kind):
    with recorder.running(), connection.cursor(getattr(cursors, kind)) as cursor:
        cursor.execute("select 1 as x union select 2")
        assert len(cursor.fetchall()) == 2
    assert facts(recorder) == [("SELECT", "success", "select 1 as x union select 2")]


def test_a_cursor_of_the_programs(recorder, connection):
    class Mine(cursors.Cursor):
        def execute(self, query, args=None):
            return super().execute(f"{query} -- mine", args)

    with recorder.running(), connection.cursor(Mine) as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    assert facts(recorder) == [("SELECT", "success", "select 1 -- mine")]


def test_the_current_database(recorder, connection):
    with connection.cursor() as cursor:
        cursor.execute("create database if not exists other")
        with recorder.running():
            cursor.execute("USE `other`;")
            cursor.execute("select 1")
            with pytest.raises(pymysql.err.MySQLError):
                cursor.execute("use nowhere")
            cursor.execute("select database()")
            assert cursor.fetchone() == ("other",)
    found = [(span["context"]["db"]["statement"], span["context"]["db"]["instance"]) for span in recorder.spans]
    assert found == [
        ("USE `other`;", "shop"),
        ("select 1", "other"),
        ("use nowhere", "other"),
        ("select database()", "other"),
    ]


def test_procedures(recorder, connection):
    with connection.cursor() as cursor:
        cursor.execute("create or replace procedure add_one(in a int) select a + 1")
        with recorder.running():
            cursor.callproc("add_one", (1,))
            assert cursor.fetchall() == ((2,),)
    (span,) = recorder.spans
    assert (span["name"], span["action"], span["context"]["db"]["statement"]) == (
        "CALL add_one",
        "exec",
        "CALL add_one",
    )


def test_statements_without_a_cursor_and_as_bytes(recorder, connection):
    with recorder.running():
        connection.query("select 3")
        with connection.cursor() as cursor:
            cursor.execute(b"select 4")
            assert cursor.fetchone() == (4,)
    assert [text for _, _, text in facts(recorder)] == ["select 3", "select 4"]


def test_transactions_are_no_spans(recorder, connection):
    with recorder.running():
        connection.begin()
        connection.commit()
        connection.rollback()
        connection.ping(reconnect=False)
        connection.autocommit(True)
    assert recorder.spans == []


def test_bad_statements(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        with pytest.raises(pymysql.err.ProgrammingError) as caught:
            cursor.execute("select * from nowhere")
        assert caught.value.args[0] == 1146
        with pytest.raises((TypeError, pymysql.err.ProgrammingError)):
            cursor.execute("select %s", (1, 2))
    assert [fact[:2] for fact in facts(recorder)] == [("SELECT FROM nowhere", "failure"), ("SELECT", "failure")]


def test_a_statement_that_takes_too_long(recorder, connection, where):
    with recorder.running():
        with connection.cursor() as cursor, pytest.raises(pymysql.err.MySQLError, match="max_statement_time"):
            cursor.execute("set statement max_statement_time = 0.1 for select sleep(30)")
        impatient = pymysql.connect(read_timeout=1, **where)
        with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
            impatient.cursor().execute("select sleep(30)")
    found = [fact[:2] for fact in facts(recorder) if not fact[0].startswith("pymysql")]
    assert found == [("SET", "failure"), ("SELECT", "failure")]


def test_a_server_that_is_down(recorder, where):
    with recorder.running():
        with pytest.raises(pymysql.err.OperationalError, match="refused"):
            pymysql.connect(**{**where, "port": 1, "password": "secret"})
        with pytest.raises(pymysql.err.MySQLError, match="Unknown database"):
            pymysql.connect(**{**where, "database": "nowhere"})
    assert [(span["subtype"], span["outcome"], span["context"]["db"]["instance"]) for span in recorder.spans] == [
        ("mysql", "failure", "shop"),  # which of the two it would be only a server can say
        ("mariadb", "failure", "nowhere"),
    ]
    assert "secret" not in repr(recorder.spans)


def test_a_connection_that_breaks(recorder, connection, where):
    killer = pymysql.connect(**where)
    killer.kill(connection.thread_id())
    killer.close()
    cursor = connection.cursor()
    with recorder.running():
        for _ in range(7):
            with pytest.raises(pymysql.err.Error):
                cursor.execute("select 1")
        cursor.close()
        with pytest.raises(pymysql.err.Error):
            cursor.execute("select 1")
    assert [fact[:2] for fact in facts(recorder)] == [("SELECT", "failure")] * 8


def test_a_socket_in_the_file_system_is_no_address(recorder, where, mariadb):
    with recorder.running():
        pymysql.connect(**where, unix_socket=str(mariadb.folder / "s.sock")).close()
    (span,) = recorder.spans
    assert span["name"] == "pymysql.connect"
    assert "address" not in span["context"]["destination"]


def test_a_program_that_looks_closely(sink, mariadb):
    spans = same_program("program_pymysql.py", sink, mariadb.port)
    assert [(span["name"].partition(" 127")[0], span["outcome"]) for span in spans] == [
        ("pymysql.connect", "success"),
        ("CREATE", "success"),
        ("INSERT INTO items", "success"),
        ("SELECT FROM items", "success"),
        ("SELECT FROM nowhere", "failure"),
        ("SELECT", "failure"),
        ("pymysql.connect", "failure"),
    ]
