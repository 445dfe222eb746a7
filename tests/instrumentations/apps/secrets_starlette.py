"""A Starlette application that is told secrets."""

import resource

import secrets_elsewhere
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def take(request):
    if request.path_params["kind"] == "json":
        size = len(await request.json())
    else:
        async with request.form() as form:
            size = len(form)
    secrets_elsewhere.elsewhere()
    if "fail" in request.query_params:
        secrets_elsewhere.fail()
    response = PlainTextResponse(str(size))
    for name, value in secrets_elsewhere.answered():
        response.headers.append(name, value)
    return response


async def ignore(request):
    return PlainTextResponse("not read")


async def part(request):
    piece = await request.stream().__anext__()
    return PlainTextResponse(piece[:5])


class Passed:
    """What comes in goes out, piece by piece."""

    def __init__(self, scope, receive, send):
        self._receive, self._send = receive, send

    def __await__(self):
        return self._run().__await__()

    async def _run(self):
        await self._send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await self._receive()
            more = message.get("more_body", False)
            await self._send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def who(request):
    return PlainTextResponse(request.client.host)


async def memory(request):
    """Bytes that the process has needed at most, after all of the body was read."""
    async for _ in request.stream():
        pass
    return PlainTextResponse(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


async def whole(request):
    return PlainTextResponse(str(len(await request.body())))


app = Starlette(
    routes=[
        Route("/take/{kind}", take, methods=["POST"]),
        Route("/ignore", ignore, methods=["POST"]),
        Route("/part", part, methods=["POST"]),
        Route("/pass", Passed, methods=["POST"]),
        Route("/who", who),
        Route("/memory", memory, methods=["POST"]),
        Route("/whole", whole, methods=["POST"]),
    ]
)
