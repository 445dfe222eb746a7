"""An aiohttp application with everything that the tests ask for; spans come from sqlite3.

As a program it serves on a port of its own and says which: ``python -m aiohttp_shop [runner]``.
"""

import asyncio
import logging
import sqlite3
import sys

import aiohttp
from aiohttp import ClientSession, web


def query(value):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"SELECT {value} FROM sqlite_master")
    connection.close()


async def item(request):
    query(request.match_info["id"])
    return web.json_response({"id": request.match_info["id"]})


async def boom(request):
    raise ZeroDivisionError("boom")


async def handled(request):
    raise LookupError("dealt with")


async def refused(request):
    raise web.HTTPForbidden(text="no", headers={"X-Why": "because"})


async def internal(request):
    raise web.HTTPInternalServerError(text="on purpose")


async def answered_500(request):
    return web.Response(status=503, text="later")


async def late(request):
    raise asyncio.TimeoutError


async def moved(request):
    raise web.HTTPFound("/items/1")


async def nothing(request):
    return None


async def stream(request):
    response = web.StreamResponse()
    response.content_type = "text/plain"
    await response.prepare(request)
    for number in range(int(request.match_info["count"])):
        query(number)
        await response.write(f"{number};".encode())
    await response.write_eof()
    return response


async def broken(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"x" * 1000)
    raise OverflowError("in the middle")


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)
        await asyncio.sleep(0.001)


async def forever(request):
    """It never answers."""
    await asyncio.sleep(3600)


async def reading(request):
    """It reads what the client never sends in full."""
    return web.Response(text=str(len(await request.read())))


async def upload(request):
    return web.Response(text=f"{len(await request.read())} bytes")


async def form(request):
    fields = await request.post()
    shown = {name: value if isinstance(value, str) else value.filename for name, value in fields.items()}
    return web.json_response(shown)


async def pieces(request):
    """It reads a part of the body only."""
    return web.Response(text=(await request.content.read(4)).decode())


async def later():
    await asyncio.sleep(0.2)
    query(7)


TASKS = set()


async def background(request):
    task = asyncio.create_task(later())
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return web.Response(text="done")


async def work(request):
    number = request.match_info["number"]
    query(number)
    await asyncio.sleep(0.02)
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(asyncio.to_thread(query, number) for _ in range(2)))
    assert loop is asyncio.get_running_loop()
    return web.Response(text=number)


async def headers(request):
    response = web.Response(text="with cookies")
    response.headers.add("X-Twice", "one")
    response.headers.add("X-Twice", "two")
    response.headers.add("X-Auth-Token", "secret3")
    response.set_cookie("session", "secret1")
    return response


async def relay(request):
    async with ClientSession() as session, session.get(request.query["to"]) as response:
        return web.Response(text=await response.text())


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        query(1)
        await socket.send_str(message.data)
        break
    await socket.close()
    return socket


class Thing(web.View):
    async def get(self):
        query(self.request.match_info["thing"])
        return web.json_response({"thing": self.request.match_info["thing"]})

    async def delete(self):
        raise web.HTTPNoContent


@web.middleware
async def errors(request, handler):
    try:
        return await handler(request)
    except LookupError as error:
        return web.Response(status=409, text=str(error))


@web.middleware
async def gate(request, handler):
    if "X-Closed" in request.headers:
        raise web.HTTPUnauthorized(text="closed")
    if "X-Short" in request.headers:
        return web.Response(text="answered by the middleware")
    return await handler(request)


def make():
    app = web.Application(middlewares=[errors, gate])
    table = web.RouteTableDef()

    @table.get(r"/table/{number:\d+}")
    async def tabled(request):
        return web.Response(text=request.match_info["number"])

    app.add_routes(table)
    for path, handler in {
        "/items/{id:[0-9]+}": item,
        "/boom": boom,
        "/handled": handled,
        "/refused": refused,
        "/internal": internal,
        "/503": answered_500,
        "/late": late,
        "/moved": moved,
        "/none": nothing,
        "/stream/{count}": stream,
        "/broken": broken,
        "/endless": endless,
        "/forever": forever,
        "/background": background,
        "/work/{number}": work,
        "/headers": headers,
        "/relay": relay,
        "/echo": echo,
    }.items():
        app.router.add_get(path, handler)
    for path, handler in {"/upload": upload, "/form": form, "/pieces": pieces, "/reading": reading}.items():
        app.router.add_post(path, handler)
    things = web.Application()
    things.router.add_view("/things/{thing}", Thing)
    things.router.add_get("/boom", boom)
    tenants = web.Application()
    tenants.add_subapp("/v1/", things)
    app.add_subapp("/tenants/", tenants)
    app.router.add_static("/static/", __file__.rpartition("/")[0])
    return app


async def factory():
    """What gunicorn's workers call."""
    return make()


async def run():
    old = aiohttp.__version__.startswith("3.8.")
    runner = web.AppRunner(make(), **({} if old else {"handler_cancellation": True}))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main():
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    if "runner" in sys.argv:
        asyncio.run(run())
    else:
        socket = __import__("socket").create_server(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{socket.getsockname()[1]}", flush=True)
        web.run_app(make(), sock=socket, print=None, access_log=None)


if __name__ == "__main__":
    main()
