"""A Starlette application with everything that the tests ask for; spans come from sqlite3."""

import asyncio
import sqlite3

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles


def query(value):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"SELECT {value} FROM sqlite_master")
    connection.close()


async def item(request):
    query(request.path_params["id"])
    return JSONResponse({"id": request.path_params["id"]})


def in_thread(request):
    query(1)
    return PlainTextResponse("from a thread")


async def boom(request):
    raise ZeroDivisionError("boom")


async def handled(request):
    raise LookupError("dealt with")


async def conflict(request, error):
    return PlainTextResponse(str(error), status_code=409)


async def moved(request):
    return RedirectResponse("/items/1")


async def stream(request):
    async def pieces():
        for number in range(request.path_params["count"]):
            query(number)
            yield f"{number};"

    return StreamingResponse(pieces(), media_type="text/plain")


async def broken(request):
    async def pieces():
        yield "x" * 1000
        raise OverflowError("in the middle")

    return StreamingResponse(pieces(), media_type="text/plain")


async def endless(request):
    async def pieces():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0.001)

    return StreamingResponse(pieces())


async def forever(request):
    """It never answers: what it waits for ends with the client."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError


async def upload(request):
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def later(fail=False):
    await asyncio.sleep(0.2)
    query(7)
    if fail:
        raise RuntimeError("in the background")


async def background(request):
    return PlainTextResponse("done", background=BackgroundTask(later))


async def background_broken(request):
    return PlainTextResponse("done", background=BackgroundTask(later, fail=True))


async def work(request):
    number = request.path_params["number"]
    query(number)
    await asyncio.sleep(0.02)
    await asyncio.gather(*(asyncio.to_thread(query, number) for _ in range(2)))
    return PlainTextResponse(str(number))


async def headers(request):
    response = PlainTextResponse("with cookies")
    response.headers.append("Set-Cookie", "session=secret1")
    response.headers.append("Set-Cookie", "other=secret2")
    response.headers.append("X-Twice", "one")
    response.headers.append("X-Twice", "two")
    response.headers.append("X-Auth-Token", "secret3")
    return response


async def tenant(request):
    return JSONResponse(dict(request.path_params))


async def echo(websocket):
    await websocket.accept()
    query(1)
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def raw(scope, receive, send):
    """An application that is none of Starlette's."""
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"raw"})


class Timing(BaseHTTPMiddleware):
    """The common kind of middleware: what it calls runs in a task of its own."""

    async def dispatch(self, request: Request, call_next):
        response = await call_next(request)
        response.headers["x-middle"] = "yes"
        return response


app = Starlette(
    routes=[
        Route("/items/{id:int}", item),
        Route("/thread", in_thread),
        Route("/boom", boom),
        Route("/handled", handled),
        Route("/moved", moved),
        Route("/stream/{count:int}", stream),
        Route("/broken", broken),
        Route("/endless", endless),
        Route("/forever", forever),
        Route("/upload", upload, methods=["POST"]),
        Route("/background", background),
        Route("/background/broken", background_broken),
        Route("/work/{number:int}", work),
        Route("/headers", headers),
        Route("/slash/", headers),
        Mount("/tenants/{tenant}", routes=[Mount("/v1", routes=[Route("/things/{thing}", tenant)])]),
        Mount("/static", StaticFiles(directory=__file__.rpartition("/")[0])),
        Mount("/raw", raw),
        Mount("/inner", Starlette(routes=[Route("/boom", boom)])),
        Host("{who}.example.org", Router([Route("/whose", tenant)])),
        WebSocketRoute("/echo", echo),
    ],
    exception_handlers={LookupError: conflict},
)
middle = Starlette(routes=app.routes, middleware=[Middleware(Timing)], exception_handlers={LookupError: conflict})
