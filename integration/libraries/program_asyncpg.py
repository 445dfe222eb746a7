"""What a program can do with asyncpg, and see of its functions: all of it the same with us and without."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback

import asyncpg

URL = sys.argv[1]


async def attempt(function, *args, **kwargs):
    """Say what a call raises, and through which functions it came."""
    try:
        print("returned", type(await function(*args, **kwargs)))
    except Exception as error:
        print(type(error).__module__, type(error).__qualname__, str(error), error.__cause__, error.__context__)
        if sys.version_info >= (3, 11):
            print([frame.name for frame in traceback.extract_tb(error.__traceback__)])


def functions():
    kinds = (asyncpg.Connection, asyncpg.transaction.Transaction, asyncpg.prepared_stmt.PreparedStatement)
    for kind in kinds:
        for name in ("execute", "fetch", "start", "commit", "reset", "_execute"):
            function = getattr(kind, name, None)
            print(kind.__name__, name, inspect.iscoroutinefunction(function))
            if function is not None:
                print(inspect.signature(function), function.__qualname__, function.__module__, function.__doc__)
    print(asyncpg.connect.__name__, inspect.signature(asyncpg.connect), asyncpg.connect is asyncpg.connection.connect)


async def main():
    connection = await asyncpg.connect(URL)
    await connection.execute("create temp table items (id int, name text)")
    print(await connection.execute("insert into items values ($1, $2)", 1, "a"))
    async with connection.transaction() as transaction:
        print(transaction, await connection.fetch("select * from items"))
    await attempt(connection.fetch, "select * from nowhere")
    await attempt(connection.fetch, "select $1::int", "x")
    await attempt(connection.fetch)
    await connection.close()
    async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
        print(await pool.fetchval("select 2"))
        async with pool.acquire() as acquired:
            print(type(acquired), isinstance(acquired, asyncpg.Connection))
        await attempt(acquired.fetch, "select 1")
    await attempt(asyncpg.connect, "postgresql://me@127.0.0.1:1/shop")


functions()
asyncio.run(main())
