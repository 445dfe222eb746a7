"""anyio, httpx and Starlette where tasks are cancelled and streams are left early or collected.

What was current is so again, spans hang where they have begun, and a cancellation is no failure.
"""

from __future__ import annotations

import asyncio
import gc

import anyio
import anyio.from_thread
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tests.instrumentations.recorder import instrumented

from apm_run.tracer import current

CALL = "  GET 127.0.0.1 [external/http]"


@pytest.fixture
def recorder():
    with instrumented("httpx", "threading", "concurrent_futures") as recorder:
        yield recorder


def run(recorder, main):
    """Run a program in a transaction; the tree. The loop has nothing to complain of."""
    complaints = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        before = current.get()
        await main()
        assert current.get() is before

    with recorder.running() as transaction:
        asyncio.run(watched())
        gc.collect()
        assert current.get() is transaction
    assert complaints == []
    assert len({span["id"] for span in recorder.spans}) == len(recorder.spans)
    return recorder.tree()


def client():
    return httpx.AsyncClient(trust_env=False, timeout=None)


def tree(*outcomes):
    return "\n".join(["test [test] success", *(f"{CALL} {outcome}" for outcome in outcomes)])


@pytest.mark.parametrize("how", ["left", "broken out of", "raised", "cancelled", "collected"])
def test_a_stream_of_httpx_that_is_not_read_to_its_end(recorder, server, how):
    async def main():
        before = current.get()
        async with client() as http:

            async def read():
                async with http.stream("GET", server.url) as response:
                    assert current.get() is before
                    if how == "broken out of":
                        async for _ in response.aiter_bytes(1):
                            break
                    elif how == "raised":
                        raise LookupError
                    elif how == "cancelled":
                        await asyncio.Event().wait()

            if how == "collected":
                response = await http.send(http.build_request("GET", server.url), stream=True)
                rows = response.aiter_bytes(1)
                await rows.__anext__()
                await response.aclose()
                del rows
                gc.collect()
                await asyncio.sleep(0)
            elif how == "raised":
                with pytest.raises(LookupError):
                    await read()
            elif how == "cancelled":
                with anyio.move_on_after(0.1) as scope:
                    await read()
                assert scope.cancelled_caught
            else:
                await read()
            assert current.get() is before
            await http.get(server.url)

    assert run(recorder, main) == tree("success", "success")


def test_requests_of_a_cancelled_scope(recorder, server):
    async def main():
        async with client() as http:
            with anyio.move_on_after(60) as scope:
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(http.get, f"{server.url}/slow")
                    await anyio.to_thread.run_sync(server.asked.wait)
                    while len(server.requests) < 2:
                        await anyio.sleep(0.01)
                    scope.cancel()
            with anyio.CancelScope() as shielded:
                shielded.cancel()
                with anyio.CancelScope(shield=True):
                    await http.get(server.url)

    assert run(recorder, main) == tree("unknown", "unknown", "success")


def test_a_task_group_of_which_one_fails(recorder, server):
    async def main():
        async with client() as http:

            async def fail(task_status):
                task_status.started()
                while not server.asked.is_set():
                    await anyio.sleep(0.01)
                raise LookupError

            with pytest.raises(Exception) as caught:
                async with anyio.create_task_group() as outer:
                    outer.start_soon(http.get, f"{server.url}/slow")
                    async with anyio.create_task_group() as inner:
                        await inner.start(fail)
            error = caught.value
            while hasattr(error, "exceptions"):  # a group, where the interpreter or a package has them
                (error,) = error.exceptions
            assert isinstance(error, LookupError)

    assert run(recorder, main) == tree("unknown")


def test_threads_and_back(recorder, server):
    def work():
        assert current.get() is not None
        anyio.from_thread.run(ask)
        with pytest.raises(LookupError):
            anyio.from_thread.run(fail)

    async def ask():
        async with client() as http:
            await http.get(server.url)

    async def fail():
        await ask()
        raise LookupError

    async def main():
        before = current.get()
        await anyio.to_thread.run_sync(work)
        await asyncio.get_running_loop().run_in_executor(None, asyncio.run, ask())
        await asyncio.to_thread(asyncio.run, ask())
        assert current.get() is before
        # A worker that goes on for others keeps nothing of it.
        current.set(None)
        assert await anyio.to_thread.run_sync(current.get) is None
        current.set(before)

    assert run(recorder, main) == tree(*["success"] * 4)


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_client_that_leaves_a_stream(server, version):
    """By both ways that Starlette has: it listens for the disconnect, or the server's ``send`` raises."""
    gone, log = None, []

    async def rows():
        try:
            async with client() as http:
                for _ in range(9):
                    await http.get(server.url)
                    yield b"x"
                    gone.set()
                    await asyncio.sleep(0)
                await asyncio.Event().wait()
        finally:
            log.append("closed")

    async def stream(request):
        return StreamingResponse(rows())

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if version == "2.4" and gone.is_set():
            raise OSError("gone")

    async def main():
        nonlocal gone
        gone = asyncio.Event()
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": version}, "method": "GET", "path": "/rows"}
        scope = {**scope, "headers": [], "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}
        application = Starlette(routes=[Route("/rows", stream)])
        try:
            await application({**scope, "client": None, "server": ("x", 1)}, receive, send)
        except Exception as error:
            assert version == "2.4"
            log.append(type(error).__name__)
        assert current.get() is None
        while "closed" not in log:
            gc.collect()
            await asyncio.sleep(0)

    with instrumented("httpx", "starlette") as recorder:
        asyncio.run(main())
    lines = recorder.tree().splitlines()
    assert lines[0] == "GET /rows [request] success"
    assert {line.rpartition(" ")[0] for line in lines[1:]} == {CALL}
    assert {line.rpartition(" ")[2] for line in lines[1:]} <= {"success", "unknown"}
    (transaction,) = recorder.transactions
    assert transaction["context"]["response"]["finished"] is False
