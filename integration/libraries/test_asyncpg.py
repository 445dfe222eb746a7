"""asyncpg against PostgreSQL: a span per statement, prepared or not, per cursor, COPY and connection."""

from __future__ import annotations

import asyncio
import functools
import io

import pytest
from integration.libraries.sql import facts, fast, same_program, whole
from tests.instrumentations.recorder import instrumented

asyncpg = pytest.importorskip("asyncpg")
exceptions = pytest.importorskip("asyncpg.exceptions._base")
#: What it says of a connection that is gone.
REFUSED = (asyncpg.PostgresError, exceptions.InterfaceError, exceptions.InternalClientError, OSError)


@pytest.fixture
def recorder():
    with instrumented("asyncpg") as recorder:
        yield recorder


@pytest.fixture
def run(recorder, postgres):
    """Run a coroutine function with a connection, in a transaction; the facts of its spans."""

    def run(main):
        async def whole_program():
            connection = await asyncpg.connect(postgres.url)
            try:
                await connection.execute("create temp table items (id int, name text)")
                with recorder.running():
                    await main(connection)
            finally:
                await connection.close()

        asyncio.run(whole_program())
        return facts(recorder)

    return run


def test_whole_spans(recorder, postgres):
    async def main():
        connection = await asyncpg.connection.connect(postgres.url)
        await connection.execute("create temp table items (id int, name text)")
        assert await connection.execute("insert into items values (1, 'a'), (2, 'b')") == "INSERT 0 2"
        assert await connection.execute("insert into items values ($1, $2)", 3, "c") == "INSERT 0 1"
        await connection.executemany("insert into items values ($1, $2)", [(4, "d"), (5, "e")])
        assert await connection.fetchval("select name from items where id = $1", 1) == "a"
        await connection.close()

    with recorder.running():
        asyncio.run(main())
    statement = functools.partial(whole, subtype="postgresql", sync=False)
    assert fast(recorder.snapshot(postgres.port)) == [
        statement("asyncpg.connect 127.0.0.1:9999", statement=None, action="connect"),
        statement("CREATE", statement="create temp table items (id int, name text)"),
        statement("INSERT INTO items", statement="insert into items values (1, 'a'), (2, 'b')", rows=2),
        statement("INSERT INTO items", statement="insert into items values ($1, $2)", rows=1),
        statement("INSERT INTO items", statement="insert into items values ($1, $2)"),
        statement("SELECT FROM items", statement="select name from items where id = $1"),
    ]


def test_one_span_whatever_is_asked_for(run):
    async def main(connection):
        assert len(await connection.fetch("select 1")) == 1
        assert (await connection.fetchrow("select 2"))[0] == 2
        assert await connection.fetchval("select 3") == 3
        assert await connection.fetchval(query="select 4") == 4
        statement = await connection.prepare("select $1::int")
        assert await statement.fetchval(5) == 5
        assert len(await statement.fetch(6)) == 1
        assert (await statement.fetchrow(7))[0] == 7

    assert [text for _, _, text in run(main)] == [
        "select 1",
        "select 2",
        "select 3",
        "select 4",
        *["select $1::int"] * 3,
    ]


def test_cursors(run):
    async def main(connection):
        async with connection.transaction():
            assert len([row async for row in connection.cursor("select generate_series(1, 100)", prefetch=30)]) == 100
            cursor = await connection.cursor("select generate_series(1, 10)")
            assert len(await cursor.fetch(3)) == 3
            assert len(await cursor.fetch(3)) == 3
            statement = await connection.prepare("select generate_series(1, 5)")
            assert len([row async for row in statement.cursor()]) == 5

    assert run(main) == [("SELECT", "success", f"select generate_series(1, {count})") for count in (100, 10, 5)]


def test_copy(run):
    async def main(connection):
        assert await connection.copy_records_to_table("items", records=[(8, "h")]) == "COPY 1"
        assert await connection.copy_to_table("items", source=io.BytesIO(b"9\tz\n")) == "COPY 1"
        assert await connection.copy_from_table("items", output=io.BytesIO()) == "COPY 2"
        assert await connection.copy_from_query("select * from items", output=io.BytesIO()) == "COPY 2"

    assert [name for name, *_ in run(main)] == ["COPY"] * 4


def test_what_it_sends_on_its_own_account_is_no_span(run, recorder, postgres):
    async def main(connection):
        async with connection.transaction():
            await connection.execute("select 1")
            with pytest.raises(KeyError):
                async with connection.transaction():
                    raise KeyError
        transaction = connection.transaction()
        await transaction.start()
        await transaction.rollback()
        await connection.execute("create type mood as enum ('sad')")
        await connection.set_type_codec("mood", encoder=str, decoder=str)
        await connection.execute("drop type mood")
        async with asyncpg.create_pool(postgres.url, min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 2") == 2
            async with pool.acquire() as acquired:
                assert await acquired.fetchval("select 3") == 3
        await connection.execute("begin")
        await connection.execute("commit")

    found = [statement for name, _, statement in run(main) if not name.startswith("asyncpg.connect")]
    assert found == [
        "select 1",
        "create type mood as enum ('sad')",
        "drop type mood",
        "select 2",
        "select 3",
        "begin",
        "commit",
    ]


def test_a_transaction_that_can_not_begin_raises_as_bare(run):
    async def main(connection):
        await connection.execute("begin")
        with pytest.raises(asyncpg.InterfaceError, match="manually started"):
            await connection.transaction().start()
        await connection.execute("rollback")

    assert [name for name, *_ in run(main)] == ["BEGIN", "ROLLBACK"]


def test_bad_statements(run):
    async def main(connection):
        for call in (connection.fetch, connection.execute, connection.prepare):
            with pytest.raises(asyncpg.UndefinedTableError) as caught:
                await call("select * from nowhere")
            assert caught.value.sqlstate == "42P01"
        async with connection.transaction():
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.cursor("select * from nowhere")
        for refused in (None, 5, b"select 1"):
            with pytest.raises((TypeError, AttributeError)):
                await connection.fetch(refused)

    assert run(main)[:4] == [("SELECT FROM nowhere", "failure", "select * from nowhere")] * 4


def test_statements_that_take_too_long(run):
    async def main(connection):
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("select pg_sleep(30)", timeout=0.1)
        await connection.execute("set statement_timeout = 50")
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.fetch("select pg_sleep(30)")

    assert [fact[:2] for fact in run(main)] == [("SELECT", "failure"), ("SET", "success"), ("SELECT", "failure")]


def test_a_task_that_is_cancelled(run):
    async def main(connection):
        task = asyncio.ensure_future(connection.fetch("select pg_sleep(30)"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [fact[:2] for fact in run(main)] == [("SELECT", "unknown")]


def test_many_tasks_on_a_pool(recorder, postgres):
    async def main():
        async with asyncpg.create_pool(postgres.url, min_size=3, max_size=3) as pool:

            async def ask(number):
                with recorder.running(f"task {number}"):
                    for _ in range(3):
                        async with pool.acquire() as connection, connection.transaction():
                            assert await connection.fetchval(f"select {number}") == number

            await asyncio.gather(*(ask(number) for number in range(50)))

    asyncio.run(main())
    asked = {transaction["id"]: transaction["name"] for transaction in recorder.transactions}
    assert len(recorder.spans) == 150
    for span in recorder.spans:
        number = span["context"]["db"]["statement"].split()[1]
        assert asked[span["transaction_id"]] == f"task {number}"
        assert span["parent_id"] == span["transaction_id"]


def test_a_server_that_is_down(recorder):
    async def main():
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncpg.connection.connect("postgresql://me:secret@127.0.0.1:1/shop")
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncpg.connection.connect(host="127.0.0.1", port=1, database="shop", user="me", password="secret")

    with recorder.running():
        asyncio.run(main())
    assert [(span["name"], span["outcome"], span["context"]["db"].get("instance")) for span in recorder.spans] == [
        ("asyncpg.connect 127.0.0.1:1", "failure", "shop")
    ] * 2
    assert "secret" not in repr(recorder.spans)


def test_a_connection_that_breaks(run, postgres):
    async def main(connection):
        killer = await asyncpg.connect(postgres.url)
        await killer.execute("select pg_terminate_backend($1)", connection.get_server_pid())
        await killer.close()
        for _ in range(7):
            with pytest.raises(REFUSED):
                await connection.execute("select 1")

    assert [outcome for _, outcome, statement in run(main) if statement == "select 1"] == ["failure"] * 7


def test_a_program_that_looks_closely(sink, postgres):
    spans = same_program("program_asyncpg.py", sink, postgres.url)
    assert [(span["name"].partition(" 127")[0], span["outcome"]) for span in spans] == [
        ("asyncpg.connect", "success"),
        ("CREATE", "success"),
        ("INSERT INTO items", "success"),
        ("SELECT FROM items", "success"),
        ("SELECT FROM nowhere", "failure"),
        ("SELECT", "failure"),
        ("asyncpg.connect", "success"),
        ("SELECT", "success"),
        ("asyncpg.connect", "failure"),
    ]
