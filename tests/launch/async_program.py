"""Does with tasks, streams and generators all that leaves them half way; prints the same traced and bare.

Each part is a transaction of its own, named after it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx

import apm_run

URL = sys.argv[1]
PARTS = []


def part(function):
    PARTS.append(function)
    return function


def query(value):
    connection = sqlite3.connect(":memory:")
    found = connection.execute(f"SELECT {value} FROM sqlite_master").fetchall()
    connection.close()
    return found


@apm_run.start_span("rows")
async def rows(count):
    try:
        async with apm_run.start_span("inside"):
            for number in range(count):
                query(number)
                yield number
    finally:
        await asyncio.sleep(0)
        print("rows closed")


@apm_run.start_span("work")
async def work(seconds=0, error=None):
    await asyncio.sleep(seconds)
    query(0)
    if error is not None:
        raise error
    return "worked"


async def collect():
    """What nobody holds any more is closed by the loop."""
    gc.collect()
    for _ in range(20):
        await asyncio.sleep(0)


def http():
    return httpx.AsyncClient(trust_env=False, timeout=None)


@part
async def left_early():
    async for number in rows(9):
        if number == 1:
            break
    await collect()
    query(2)


@part
async def streams():
    async with http() as client:
        async with client.stream("GET", URL) as response:
            async for _ in response.aiter_bytes(1):
                break
        response = await client.send(client.build_request("GET", URL), stream=True)
        pieces = response.aiter_bytes(1)
        await pieces.__anext__()
        del pieces
        await collect()
        await response.aclose()
    query(3)


@part
async def cancelled():
    started = asyncio.ensure_future(work(60))
    never = asyncio.ensure_future(work(60))
    never.cancel()
    await asyncio.sleep(0)
    started.cancel()
    print(await asyncio.gather(started, never, work(), return_exceptions=True))
    try:
        await asyncio.wait_for(work(60), 0.01)
    except asyncio.TimeoutError as error:
        print(repr(error))
    inner = asyncio.ensure_future(work(0.2))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 0.01)
    except asyncio.TimeoutError:
        print(await inner)


@part
async def groups():
    if sys.version_info >= (3, 11):
        try:
            async with asyncio.TaskGroup() as outer:
                outer.create_task(work(60))
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(work(60))
                    inner.create_task(work(0.01, LookupError("inner")))
        except BaseException as error:
            print(repr(error))
        try:
            async with asyncio.timeout(0.01):
                await work(60)
        except TimeoutError as error:
            print(repr(error))
    with anyio.move_on_after(0.01) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(work, 60)
            await work(60)
    print(scope.cancel_called)


@part
async def threads():
    async with apm_run.start_span("block"):
        await asyncio.to_thread(query, 4)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, query, 5)
        with ThreadPoolExecutor(1) as pool:
            await loop.run_in_executor(pool, asyncio.run, work())
        contextvars.copy_context().run(query, 6)
        await anyio.to_thread.run_sync(query, 7)


@part
async def left_behind():
    async def plain():
        async with apm_run.start_span("plain"):
            yield 1

    async for _ in plain():
        break
    await collect()
    query(8)


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda _, context: print("complaint", context))
    for function in PARTS:
        async with apm_run.start_transaction(function.__name__, "part") as transaction:
            await function()
            assert transaction.is_current() == bool(transaction)
            assert not apm_run.current_span()
        assert not apm_run.current_span()
    # The loop ends with these half way.
    made = rows(3)
    await made.__anext__()
    task = asyncio.ensure_future(work(60))
    await asyncio.sleep(0)
    return made, task


kept = asyncio.run(main())
print("end")
