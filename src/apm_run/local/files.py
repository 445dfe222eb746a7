"""The files of the page, read once and served from memory."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_FOLDER = os.path.join(os.path.dirname(__file__), "static")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def response(name: str, request: Request) -> Response:
    """Return the file ``name`` of the page, 304 when the browser has it, 404 when there is none."""
    found = _file(name)
    if found is None:
        return JSONResponse({"error": "404 page not found"}, 404)
    content, media_type, tag = found
    headers = {"Etag": tag, "Cache-Control": "no-cache", "Vary": "Accept"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@lru_cache(maxsize=32)
def _file(name: str) -> tuple[bytes, str, str] | None:
    media_type = _TYPES.get(os.path.splitext(name)[1])
    if media_type is None or name not in os.listdir(_FOLDER):
        return None
    with open(os.path.join(_FOLDER, name), "rb") as file:
        content = file.read()
    return content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
