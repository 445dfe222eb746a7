"""The HTTP application of the receiver: intake, what agents ask of a server, the page and its data."""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apm_run.local import access, files
from apm_run.local.api import Api, NotFound
from apm_run.local.intake import Intake

#: A version that agents take as able to do everything they know (they gate features on it, spec.md 1.3).
SERVER_VERSION = "8.17.0"
_SERVER_INFO = {
    "build_date": "2024-12-11T00:00:00Z",
    "build_sha": "0000000000000000000000000000000000000000",
    "version": SERVER_VERSION,
    "publish_ready": True,
}
_CONFIG_HEADERS = {"Etag": '"-"', "Cache-Control": "must-revalidate, max-age=30"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", _POLICY.encode()),
]
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MAX_QUESTION = 64 * 1024


def application(intake: Intake, api: Api, port: int) -> ASGIApp:
    """Return the application of a receiver that listens on ``port``."""

    async def answer(request: Request) -> Response:
        try:
            body = await run_in_threadpool(api.answer, request.path_params["name"], dict(request.query_params))
        except NotFound:
            return _not_found()
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def clear(_request: Request) -> Response:
        await run_in_threadpool(api.clear)
        return Response(status_code=204)

    routes = [
        Route("/", _root, methods=["GET", "HEAD"]),
        Route("/intake/v2/events", intake.answer, methods=_METHODS),
        Route("/config/v1/agents", _configuration, methods=["GET", "POST"]),
        Route("/api/clear", clear, methods=["POST"]),
        Route("/api/{name}", answer, methods=["GET"]),
        Route("/static/{name}", _static, methods=["GET", "HEAD"]),
        Route("/favicon.ico", _favicon, methods=["GET", "HEAD"]),
    ]
    handlers: Any = {404: _http_error, 405: _http_error, 500: _http_error}
    return _Guarded(Starlette(routes=routes, exception_handlers=handlers), port)


class _Guarded:
    """Refuses what does not come from this machine, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        reason = access.refusal(headers, self._port)
        if reason is None:
            await self._app(scope, receive, guarded_send)
        else:
            await JSONResponse({"error": reason}, 403, {"Connection": "close"})(scope, receive, guarded_send)


async def _root(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return files.response("index.html", request)
    return JSONResponse(_SERVER_INFO, headers={"Vary": "Accept"})


async def _configuration(request: Request) -> Response:
    """Answer an agent that asks for central configuration: there is none (spec.md 4.1)."""
    service: Any = request.query_params.get("service.name")
    if request.method == "POST":
        try:
            question = json.loads(await _limited_body(request))
            service = question["service"]["name"]
        except (ValueError, KeyError, TypeError, RecursionError):
            service = None
    if not service:
        return JSONResponse({"error": "service.name is required"}, 400, {"Connection": "close"})
    if request.headers.get("if-none-match", "").strip('"') == "-":
        return Response(status_code=304, headers=_CONFIG_HEADERS)
    return JSONResponse({}, headers=_CONFIG_HEADERS)


async def _limited_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_QUESTION:
            raise ValueError("too large")
    return body


async def _static(request: Request) -> Response:
    return files.response(request.path_params["name"], request)


async def _favicon(request: Request) -> Response:
    return files.response("favicon.svg", request)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    words = {404: "404 page not found", 405: "method not supported"}.get(status, "internal error")
    headers = {**(getattr(error, "headers", None) or {}), "Connection": "close"}
    return JSONResponse({"error": words}, status, headers)


def _not_found() -> Response:
    return JSONResponse({"error": "404 page not found"}, 404, {"Connection": "close"})
