"""A gRPC service on both of the library's servers, with handlers of every kind; messages are bytes.

with serving("threads") as target: ...
with serving("asyncio") as target: ...
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from apm_run.tracer import current

SERVICE = "/shop.Orders/"
#: What handlers have seen: method -> metadata, name of the current transaction.
Seen = list[tuple[str, dict[str, Any], Any]]


class Mine(Exception):
    """What a handler raises."""


def note(seen: Seen, method: str, context: Any) -> None:
    running = current.get()
    metadata = dict(context.invocation_metadata())
    seen.append((method, metadata, running and running.transaction.name))


def code(request: bytes) -> Any:
    return getattr(grpc.StatusCode, request.decode())


def unwritten(response: Any) -> bytes:
    """A response that cannot be written."""
    raise ValueError("no message")


class Threads(grpc.GenericRpcHandler):
    """Handlers of the server with a pool of threads."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def service(self, details: Any) -> Any:
        kind, _, name = details.method.removeprefix(SERVICE).partition("-")
        handler = getattr(self, name, None) if details.method.startswith(SERVICE) and not name.startswith("_") else None
        make = getattr(grpc, f"{kind}_rpc_method_handler", None)
        if make is None or handler is None:
            return None
        return make(self._noted(details.method, handler), None, unwritten if name == "wrong" else None)

    def _noted(self, method: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def noted(request: Any, context: Any) -> Any:
            note(self.seen, method, context)
            return handler(request, context)

        return noted

    def echo(self, request: bytes, context: Any) -> bytes:
        return request

    def slow(self, request: bytes, context: Any) -> bytes:
        time.sleep(float(request))
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        raise Mine(request.decode())

    def abort(self, request: bytes, context: Any) -> None:
        context.abort(code(request), "as you wish")

    def set(self, request: bytes, context: Any) -> bytes:
        context.set_code(code(request))
        context.set_details("as you wish")
        return b""

    def set_and_fail(self, request: bytes, context: Any) -> bytes:
        context.set_code(code(request))
        raise Mine("after all")

    def wrong(self, request: bytes, context: Any) -> object:
        return object()

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def count_and_fail(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield from self.count(request, context)
        raise Mine("half-way")

    def forever(self, request: bytes, context: Any) -> Iterator[bytes]:
        while context.is_active():
            yield b"again"
            time.sleep(0.001)

    def join(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b",".join(requests)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()


class Asyncio(Threads):
    """Handlers of the server on an event loop."""

    def _noted(self, method: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        import inspect

        if inspect.isasyncgenfunction(handler):

            async def streaming(request: Any, context: Any) -> Any:
                note(self.seen, method, context)
                async for each in handler(request, context):
                    yield each

            return streaming

        async def noted(request: Any, context: Any) -> Any:
            note(self.seen, method, context)
            return await handler(request, context)

        return noted

    async def echo(self, request: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.001)
        return request

    async def slow(self, request: bytes, context: Any) -> bytes:
        await asyncio.sleep(float(request))
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        raise Mine(request.decode())

    async def abort(self, request: bytes, context: Any) -> None:
        await context.abort(code(request), "as you wish")

    async def set(self, request: bytes, context: Any) -> bytes:
        context.set_code(code(request))
        context.set_details("as you wish")
        return b""

    async def set_and_fail(self, request: bytes, context: Any) -> bytes:
        context.set_code(code(request))
        raise Mine("after all")

    async def wrong(self, request: bytes, context: Any) -> object:
        return object()

    async def count(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield b"%d" % number

    async def write(self, request: bytes, context: Any) -> None:
        for number in range(int(request)):
            await context.write(b"%d" % number)

    async def count_and_fail(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield b"%d" % number
        raise Mine("half-way")

    async def forever(self, request: bytes, context: Any) -> Any:
        while True:
            yield b"again"
            await asyncio.sleep(0.001)

    async def join(self, requests: Any, context: Any) -> bytes:
        return b",".join([each async for each in requests])

    async def chat(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request.upper()


@contextmanager
def serving(
    kind: str, seen: Seen | None = None, *, address: str = "127.0.0.1:0", threads: int = 8, **options: Any
) -> Iterator[str]:
    """Run one of the servers; the target that it listens on."""
    seen = [] if seen is None else seen
    if kind == "threads":
        with ThreadPoolExecutor(threads) as pool:
            server = grpc.server(pool, handlers=(Threads(seen),), **options)
            port = server.add_insecure_port(address)
            server.start()
            try:
                yield address if address.startswith("unix") else f"127.0.0.1:{port}"
            finally:
                server.stop(5).wait()
        return
    with _loop() as loop:
        server, port = asyncio.run_coroutine_threadsafe(_started(seen, address, options), loop).result(20)
        try:
            yield address if address.startswith("unix") else f"127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(5), loop).result(20)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_settled(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _settled() -> None:
    """Let what the server has begun come to its end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        await asyncio.wait(rest, timeout=5)
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _started(seen: Seen, address: str, options: dict[str, Any]) -> tuple[Any, int]:
    server = grpc.aio.server(handlers=(Asyncio(seen),), **options)
    port = server.add_insecure_port(address)
    await server.start()
    return server, port
