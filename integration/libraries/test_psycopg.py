"""psycopg 3 against PostgreSQL, synchronous and asynchronous: a span per statement, stream, COPY and connection."""

from __future__ import annotations

import asyncio
import gc

import pytest
from integration.libraries.sql import facts, fast, same_program, whole
from tests.instrumentations.recorder import instrumented

psycopg = pytest.importorskip("psycopg")
sql = pytest.importorskip("psycopg.sql")


@pytest.fixture
def recorder():
    with instrumented("psycopg", "threading") as recorder:
        yield recorder


@pytest.fixture
def connection(recorder, postgres):
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("create temp table items (id int, name text)")
        connection.commit()
        yield connection


def test_whole_spans(recorder, postgres):
    with recorder.running():
        connection = psycopg.Connection.connect(postgres.dsn)
        cursor = connection.cursor()
        cursor.execute("create temp table items (id int, name text)")
        cursor.execute("insert into items values (%s, %s), (2, 'b')", (1, "a"))
        cursor.executemany("insert into items values (%s, %s)", [(3, "c"), (4, "d"), (5, "e")])
        assert connection.execute("select name from items where id = %s", (1,)).fetchone() == ("a",)
        connection.close()
    assert fast(recorder.snapshot(postgres.port)) == [
        whole("psycopg.connect 127.0.0.1:9999", "postgresql", None, action="connect"),
        whole("CREATE", "postgresql", "create temp table items (id int, name text)"),
        whole("INSERT INTO items", "postgresql", "insert into items values (%s, %s), (2, 'b')", rows=2),
        whole("INSERT INTO items", "postgresql", "insert into items values (%s, %s)", rows=3),
        whole("SELECT FROM items", "postgresql", "select name from items where id = %s"),
    ]


def test_whole_spans_of_asynchronous_ones(recorder, postgres):
    async def main():
        connection = await psycopg.AsyncConnection.connect(postgres.dsn)
        async with connection, connection.cursor() as cursor:
            await cursor.execute("create temp table items (id int, name text)")
            await cursor.executemany("insert into items values (%s, %s)", [(3, "c"), (4, "d")])
            async with cursor.copy("copy items from stdin") as copy:
                await copy.write_row((9, "z"))
            assert [row async for row in cursor.stream("select id from items order by 1")] == [(3,), (4,), (9,)]

    with recorder.running():
        asyncio.run(main())
    assert fast(recorder.snapshot(postgres.port)) == [
        whole("psycopg.connect 127.0.0.1:9999", "postgresql", None, action="connect", sync=False),
        whole("CREATE", "postgresql", "create temp table items (id int, name text)", sync=False),
        whole("INSERT INTO items", "postgresql", "insert into items values (%s, %s)", rows=2, sync=False),
        whole("COPY", "postgresql", "copy items from stdin", sync=False),
        whole("SELECT FROM items", "postgresql", "select id from items order by 1", sync=False),
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
        for refused in (None, 5, ["select 1"]):
            with pytest.raises(TypeError):
                cursor.execute(refused)
    assert facts(recorder) == [
        ("SELECT FROM pg_temp.items", "success", composed.as_string(connection)),
        ("SELECT", "success", "select 1"),
    ]


@pytest.mark.parametrize("kind", ["Cursor", "ClientCursor", "RawCursor", "ServerCursor", "named"])
def test_one_span_whatever_the_cursor(recorder, connection, kind):
    if kind != "named" and not hasattr(psycopg, kind):
        pytest.skip(f"this release has no {kind}")
    make = {
        "named": lambda: connection.cursor("on_the_server"),
        "ServerCursor": lambda: psycopg.ServerCursor(connection, "on_the_server"),
    }.get(kind, lambda: getattr(psycopg, kind)(connection))
    with recorder.running(), make() as cursor:
        cursor.execute("select generate_series(1, 5)")
        assert len(cursor.fetchmany(2)) == 2
        assert len(cursor.fetchall()) == 3
    assert facts(recorder) == [("SELECT", "success", "select generate_series(1, 5)")]


def test_a_cursor_of_the_programs(recorder, connection):
    class Mine(psycopg.Cursor):
        def execute(self, query, params=None, **rest):
            return super().execute(f"{query} -- mine", params, **rest)

    connection.cursor_factory = Mine
    with recorder.running():
        assert connection.execute("select 1").fetchone() == (1,)
    assert facts(recorder) == [("SELECT", "success", "select 1 -- mine")]


def test_copy_lasts_as_long_as_the_with(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        with cursor.copy("copy items from stdin") as copy:
            for number in range(100):
                copy.write_row((number, "x"))
        with cursor.copy("copy items to stdout") as copy:
            assert sum(1 for _ in copy) >= 1
        error = KeyError("mine")
        with pytest.raises(KeyError) as caught, cursor.copy("copy items from stdin"):
            raise error
        assert caught.value is error
    assert facts(recorder) == [
        ("COPY", "success", "copy items from stdin"),
        ("COPY", "success", "copy items to stdout"),
        ("COPY", "failure", "copy items from stdin"),
    ]


def test_a_stream_that_is_left(recorder, connection):
    with recorder.running(), connection.cursor() as cursor:
        rows = cursor.stream("select generate_series(1, 100)")
        assert next(rows) == (1,)
        assert recorder.spans == []
        rows.close()
        for _ in cursor.stream("select generate_series(1, 3)"):
            break
        gc.collect()
    assert facts(recorder) == [
        ("SELECT", "success", "select generate_series(1, 100)"),
        ("SELECT", "success", "select generate_series(1, 3)"),
    ]


def test_a_pipeline(recorder, connection):
    if not hasattr(connection, "pipeline"):
        pytest.skip("this release has no pipelines")
    with recorder.running(), connection.pipeline():
        first = connection.execute("select 1")
        connection.cursor().executemany("insert into items values (%s, 'x')", [(1,), (2,)])
        second = connection.execute("select 2")
        assert (first.fetchall(), second.fetchall()) == ([(1,)], [(2,)])
    assert [name for name, *_ in facts(recorder)] == ["SELECT", "INSERT INTO items", "SELECT"]
    assert "rows_affected" not in recorder.spans[1]["context"]["db"]


def test_transactions_are_no_spans(recorder, connection):
    with recorder.running():
        with connection.transaction(), connection.transaction():
            connection.execute("select 1")
        connection.commit()
        connection.rollback()
    assert [name for name, *_ in facts(recorder)] == ["SELECT"]


def test_a_bad_statement(recorder, connection):
    with recorder.running(), pytest.raises(psycopg.errors.UndefinedTable) as caught:
        connection.execute("select * from nowhere")
    assert caught.value.sqlstate == "42P01"
    assert facts(recorder) == [("SELECT FROM nowhere", "failure", "select * from nowhere")]


def test_a_statement_that_takes_too_long(recorder, connection):
    with recorder.running():
        connection.execute("set statement_timeout = 50")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")
    assert [fact[:2] for fact in facts(recorder)] == [("SET", "success"), ("SELECT", "failure")]


def test_a_task_that_is_cancelled(recorder, postgres):
    async def main():
        async with await psycopg.AsyncConnection.connect(postgres.dsn) as connection:
            task = asyncio.ensure_future(connection.execute("select pg_sleep(30)"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with recorder.running():
        asyncio.run(main())
    assert [fact[:2] for fact in facts(recorder)][1:] == [("SELECT", "unknown")]


def test_a_server_that_is_down(recorder, postgres):
    async def main():
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect("host=127.0.0.1 port=1 dbname=shop password=secret")

    with recorder.running():
        with pytest.raises(psycopg.OperationalError):
            psycopg.Connection.connect("postgresql://me:secret@127.0.0.1:1/shop")
        with pytest.raises(psycopg.OperationalError):
            psycopg.Connection.connect(host="127.0.0.1", port=1, dbname="shop", password="secret")
        asyncio.run(main())
    assert [(span["name"], span["outcome"], span["context"]["db"].get("instance")) for span in recorder.spans] == [
        ("psycopg.connect 127.0.0.1:1", "failure", "shop")
    ] * 3
    assert "secret" not in repr(recorder.spans)


def test_a_connection_that_breaks(recorder, postgres, connection):
    with psycopg.connect(postgres.dsn) as killer:
        killer.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with recorder.running():
        cursor = connection.cursor()
        for _ in range(7):
            with pytest.raises(psycopg.OperationalError):
                cursor.execute("select 1")
        connection.close()
        with pytest.raises(psycopg.OperationalError):
            cursor.execute("select 1")
    assert [fact[:2] for fact in facts(recorder)] == [("SELECT", "failure")] * 8


def test_a_pool(recorder, postgres):
    pools = pytest.importorskip("psycopg_pool")
    with pools.ConnectionPool(postgres.dsn, min_size=1, max_size=1) as pool:
        pool.wait()
        with recorder.running(), pool.connection() as connection:
            connection.execute("select 1")
    assert [name for name, *_ in facts(recorder)] == ["SELECT"]


def test_many_tasks_on_a_pool(recorder, postgres):
    pools = pytest.importorskip("psycopg_pool")

    async def main():
        pool = pools.AsyncConnectionPool(postgres.dsn, min_size=3, max_size=3, open=False)
        await pool.open()
        await pool.wait()

        async def ask(number):
            with recorder.running(f"task {number}"):
                for _ in range(3):
                    async with pool.connection() as connection:
                        cursor = await connection.execute(f"select {number}")
                        assert await cursor.fetchone() == (number,)

        await asyncio.gather(*(ask(number) for number in range(50)))
        await pool.close()

    asyncio.run(main())
    asked = {transaction["id"]: transaction["name"] for transaction in recorder.transactions}
    assert len(recorder.spans) == 150
    for span in recorder.spans:
        number = span["context"]["db"]["statement"].split()[1]
        assert asked[span["transaction_id"]] == f"task {number}"


def test_a_program_that_looks_closely(sink, postgres):
    spans = same_program("program_psycopg.py", sink, postgres.dsn)
    assert [(span["name"].partition(" 127")[0], span["outcome"]) for span in spans] == [
        ("psycopg.connect", "success"),
        ("CREATE", "success"),
        ("INSERT INTO items", "success"),
        ("COPY", "success"),
        ("COPY", "failure"),
        ("SELECT FROM items", "success"),
        ("SELECT FROM nowhere", "failure"),
        ("SELECT", "failure"),
        ("psycopg.connect", "success"),
        ("SELECT", "success"),
        ("SELECT", "success"),
    ]
