"""aiosqlite: what its thread does belongs to the span that has asked for it."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from tests.instrumentations.recorder import instrumented

aiosqlite = pytest.importorskip("aiosqlite")


@pytest.fixture
def recorder():
    with instrumented("aiosqlite", "sqlite3", "threading") as recorder:
        yield recorder


def test_each_statement_in_its_own_transaction(recorder):
    async def main():
        async with aiosqlite.connect(":memory:") as connection:
            await connection.execute("create table items (id)")
            with recorder.running("first"):
                await connection.execute("insert into items values (1)")
                await connection.executemany("insert into items values (?)", [(2,), (3,)])
                await connection.commit()
            with recorder.running("second"):
                async with connection.execute("select * from items") as cursor:
                    assert len(await cursor.fetchall()) == 3
                async with connection.cursor() as cursor:
                    await cursor.execute("delete from items")
                with pytest.raises(aiosqlite.OperationalError):
                    await connection.execute("select * from nowhere")

    asyncio.run(main())
    assert recorder.tree() == (
        "first [test] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "second [test] success\n"
        "  SELECT FROM items [db/sqlite/query] success\n"
        "  DELETE FROM items [db/sqlite/query] success\n"
        "  SELECT FROM nowhere [db/sqlite/query] failure"
    )


def test_two_tasks_on_one_connection(recorder):
    async def main():
        async with aiosqlite.connect(":memory:") as connection:

            async def ask(number):
                with recorder.running(f"task {number}"):
                    for _ in range(5):
                        await connection.execute(f"select {number}")

            await asyncio.gather(*(ask(number) for number in range(10)))

    asyncio.run(main())
    asked = {transaction["id"]: transaction["name"] for transaction in recorder.transactions}
    assert len(recorder.spans) == 50
    for span in recorder.spans:
        number = span["context"]["db"]["statement"].split()[1]
        assert asked[span["transaction_id"]] == f"task {number}"


def test_it_is_the_function_it_was(recorder):
    execute = aiosqlite.core.Connection._execute
    assert execute.__name__ == "_execute"
    assert list(inspect.signature(execute).parameters) == ["self", "fn", "args", "kwargs"]
