"""sqlite3: one span per statement; connections and cursors behave as the C types that they stand for."""

from __future__ import annotations

import gc
import os
import pickle
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.instrumentations.recorder import instrumented

from apm_run.tracer import current

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorder():
    with instrumented("sqlite3") as recorder:
        yield recorder


@pytest.fixture
def connection(recorder):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table items (id integer primary key, name text)")
    yield connection
    connection.close()


def names(recorder):
    return [span["name"] for span in recorder.spans]


def test_whole_span(recorder, connection):
    with recorder.running():
        connection.execute("select name from items where id = ?", (1,)).fetchall()
    assert recorder.snapshot() == [
        {
            "name": "SELECT FROM items",
            "type": "db",
            "subtype": "sqlite",
            "action": "query",
            "outcome": "success",
            "sync": True,
            "sample_rate": 1.0,
            "context": {
                "db": {"type": "sql", "statement": "select name from items where id = ?"},
                "destination": {"service": {"resource": "sqlite", "name": "", "type": ""}},
                "service": {"target": {"type": "sqlite"}},
            },
        }
    ]


def test_one_span_per_statement(recorder, connection):
    cursor = connection.cursor()
    with recorder.running():
        connection.execute("insert into items values (1, 'a')")
        cursor.execute("insert into items values (2, 'b')")
        connection.executemany("insert into items values (?, ?)", [(3, "c"), (4, "d")])
        cursor.executemany("update items set name = ? where id = ?", [("e", 3), ("f", 4)])
        cursor.executescript("delete from items where id = 1; select 1")
        connection.executescript("drop table if exists other")
        connection.cursor().execute("select 1").fetchone()
        connection.commit()
    assert recorder.tree() == (
        "test [test] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "  UPDATE items [db/sqlite/query] success\n"
        "  DELETE FROM items [db/sqlite/query] success\n"
        "  DROP [db/sqlite/query] success\n"
        "  SELECT [db/sqlite/query] success"
    )


def test_rows_affected_of_statements_that_change_rows(recorder, connection):
    with recorder.running():
        connection.execute("insert into items values (1, 'a'), (2, 'b')")
        connection.executemany("insert into items values (?, 'c')", [(3,), (4,), (5,)])
        connection.execute("update items set name = 'd' where id > 3")
        connection.execute("update items set name = 'd' where id > 30")
        connection.execute("select * from items")
        connection.execute("create table other (id)")
        connection.executescript("delete from items")
    assert [(span["name"], span["context"]["db"].get("rows_affected")) for span in recorder.spans] == [
        ("INSERT INTO items", 2),
        ("INSERT INTO items", 3),
        ("UPDATE items", 2),
        ("UPDATE items", 0),
        ("SELECT FROM items", None),
        ("CREATE", None),
        ("DELETE FROM items", None),
    ]


def test_a_failing_statement(recorder, connection):
    with recorder.running() as transaction:
        with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere") as caught:
            connection.execute("select * from nowhere")
        assert current.get() is transaction
    assert [(span["name"], span["outcome"]) for span in recorder.spans] == [("SELECT FROM nowhere", "failure")]
    if sys.version_info >= (3, 11):
        assert len(caught.traceback) == 1


def test_what_is_no_text_is_no_span(recorder, connection):
    with recorder.running():
        for statement in (None, 5, b"select 1", object()):
            with pytest.raises(TypeError, match="argument 1 must be str"):
                connection.execute(statement)
        with pytest.raises(TypeError):
            connection.execute()
    assert recorder.spans == []


def test_odd_statements(recorder, connection):
    class Text(str):
        def __str__(self):
            raise AssertionError("the agent called the program's method")

        __slots__ = ()

    with recorder.running():
        assert connection.execute(Text("select 1")).fetchone() == (1,)
        assert connection.execute("").fetchone() is None
        with pytest.raises((UnicodeEncodeError, sqlite3.Warning)):
            connection.execute("select '\ud800'")
        huge = f"select {','.join('1' * 50)}, '{'x' * 900_000}'"
        assert len(connection.execute(huge).fetchone()[-1]) == 900_000
    assert names(recorder) == ["SELECT", "unnamed", "SELECT", "SELECT"]
    assert [len(span["context"]["db"]["statement"]) for span in recorder.spans] == [8, 0, 10, 10_000]


def test_outside_of_a_transaction_and_unsampled(recorder, connection):
    connection.execute("select 1")
    with recorder.running(sampled=False):
        connection.execute("select 1")
    assert recorder.spans == []


def test_a_statement_inside_of_a_statement_belongs_to_it(recorder, connection):
    connection.create_function("inner_query", 0, lambda: connection.execute("select 9").fetchone()[0])
    with recorder.running():
        assert connection.execute("select inner_query()").fetchone() == (9,)
    # Reading the row is outside of the span of the statement, unless the first row is read by it.
    assert set(names(recorder)) == {"SELECT"}


class UserConnection(sqlite3.Connection):
    def __init__(self, database, *args, extra="none", **kwargs):
        super().__init__(database, *args, **kwargs)
        self.extra = extra


class OwnExecute(sqlite3.Connection):
    def execute(self, statement, *values):
        return super().execute(statement.replace("{table}", "items"), *values)

    def cursor(self, *args):
        return super().cursor(*args)


class WrappedCursor(sqlite3.Cursor):
    """As Django does it: other parameters, other placeholders."""

    def execute(self, query, params=None):
        return super().execute(query) if params is None else super().execute(query.replace("%s", "?"), params)

    def executemany(self, query, param_list):
        return super().executemany(query.replace("%s", "?"), param_list)


@pytest.mark.parametrize("kind", [UserConnection, OwnExecute])
def test_a_connection_type_of_the_programs(recorder, kind):
    connection = sqlite3.connect(":memory:", factory=kind)
    assert isinstance(connection, kind)
    with recorder.running():
        connection.execute("select 1")
        connection.cursor().execute("select 2")
    connection.close()
    # What overrides a method keeps its say, and is traced where it calls ours.
    assert names(recorder) == ["SELECT"] * (1 if kind is OwnExecute else 2)


def test_a_cursor_type_of_the_programs(recorder, connection):
    with recorder.running():
        cursor = connection.cursor(factory=WrappedCursor)
        cursor.execute("insert into items values (%s, %s)", (1, "a"))
        cursor.executemany("insert into items values (%s, %s)", [(2, "b")])
        assert isinstance(cursor, WrappedCursor)
        assert connection.cursor(WrappedCursor).execute("select 1").fetchone() == (1,)
    assert names(recorder) == ["INSERT INTO items", "INSERT INTO items", "SELECT"]


def test_a_type_that_is_called_itself_is_left_alone(recorder):
    connection = UserConnection(":memory:", extra="mine")
    assert type(connection) is UserConnection
    with recorder.running():
        connection.execute("select 1")
    connection.close()
    assert recorder.spans == []


def test_types_that_mind_subclasses_are_left_alone(recorder):
    made = []

    class Registering(sqlite3.Connection):
        def __init_subclass__(cls, **kwargs):
            made.append(cls)

    class Meta(type):
        def __new__(cls, *args):
            made.append(args)
            return super().__new__(cls, *args)

    class Made(sqlite3.Connection, metaclass=Meta):
        pass

    made.clear()
    for kind in (Registering, Made):
        connection = sqlite3.connect(":memory:", factory=kind)
        assert type(connection) is kind
        connection.close()
    assert made == []


def test_connecting_makes_no_type_each_time(recorder):
    def connect(factory):
        connection = sqlite3.connect(":memory:", factory=factory)
        connection.cursor(WrappedCursor)
        connection.cursor()
        connection.close()
        return type(connection)

    assert len({connect(sqlite3.Connection) for _ in range(20)}) == 1
    assert len({connect(UserConnection) for _ in range(20)}) == 1
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        connect(type("Own", (sqlite3.Connection,), {}))
    gc.collect()
    assert len(gc.get_objects()) - before < 50
    assert len(WrappedCursor.__subclasses__()) <= 2


def test_the_same_function_under_every_name(recorder):
    import _sqlite3

    assert sqlite3.connect is sqlite3.dbapi2.connect is _sqlite3.connect
    assert not hasattr(sqlite3.connect.__wrapped__, "__wrapped__")
    assert pickle.loads(pickle.dumps(sqlite3.connect)) is sqlite3.connect
    assert recorder.results == dict.fromkeys(
        ("_sqlite3:connect", "sqlite3.dbapi2:connect", "sqlite3:connect"), "wrapped"
    )


def test_a_program_sees_no_difference(tmp_path):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ELASTIC_APM", "APM_RUN"))}
    traced = {
        **plain,
        "PYTHONPATH": str(ROOT / "bootstrap"),
        "APM_RUN_STRICT": "1",
        "APM_RUN_STATE_DIR": str(tmp_path),
        "ELASTIC_APM_DISABLE_SEND": "true",
    }

    def run(env, *arguments):
        return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True)

    program = str(Path(__file__).with_name("identity_sqlite3.py"))
    bare, ours = run(plain, program), run(traced, program)
    assert ours.stdout == bare.stdout
    assert re.sub(r"0x[0-9a-f]+", "0x", ours.stderr) == re.sub(r"0x[0-9a-f]+", "0x", bare.stderr)
    assert ours.returncode == bare.returncode
    assert run(traced, "-c", "import sqlite3; print(sqlite3.connect.__wrapped__)").stdout.startswith(
        "<built-in function"
    )
