"""What a program can do with psycopg 3, and see of its functions: all of it the same with us and without."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback

import psycopg
from psycopg import sql

DSN = sys.argv[1]


def attempt(function, *args, **kwargs):
    """Say what a call raises, and through which functions it came."""
    try:
        print("returned", type(function(*args, **kwargs)))
    except Exception as error:
        print(type(error).__module__, type(error).__qualname__, str(error), error.__cause__, error.__context__)
        if sys.version_info >= (3, 11):
            print([frame.name for frame in traceback.extract_tb(error.__traceback__)])


def functions():
    for kind in (psycopg.Cursor, psycopg.AsyncCursor, psycopg.ServerCursor, psycopg.Connection):
        for name in ("execute", "executemany", "stream", "copy", "connect"):
            function = getattr(kind, name, None)
            print(kind.__name__, name, inspect.iscoroutinefunction(function), inspect.isgeneratorfunction(function))
            if function is not None:
                print(inspect.signature(function), function.__qualname__, function.__module__, function.__doc__)
    print(psycopg.connect.__self__ is psycopg.Connection)


def statements():
    with psycopg.connect(DSN) as connection:
        with connection.cursor() as cursor:
            print(cursor.execute("create temp table items (id int, name text)") is cursor)
            cursor.executemany("insert into items values (%s, %s)", [(1, "a"), (2, "b")])
            with cursor.copy("copy items from stdin") as copy:
                print(type(copy))
                copy.write_row((3, "c"))
            print(cursor.rowcount)
            try:
                with connection.transaction(), cursor.copy("copy items from stdin"):
                    raise KeyError("mine")
            except KeyError as error:
                print(error, error.__context__, error.__cause__)
            for row in cursor.stream(sql.SQL("select * from {} order by id").format(sql.Identifier("items"))):
                print(row)
        attempt(connection.execute, "select * from nowhere")
        connection.rollback()
        attempt(connection.execute, "select %s", ())
        attempt(connection.execute)


async def asynchronous():
    async with await psycopg.AsyncConnection.connect(DSN) as connection:
        print(await (await connection.execute("select 1")).fetchone())
        async with connection.cursor("named") as cursor:
            await cursor.execute("select generate_series(1, 3)")
            print([row async for row in cursor])


functions()
statements()
asyncio.run(asynchronous())
