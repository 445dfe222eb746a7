"""``POST /intake/v2/events``: a body into the store, answered as APM Server answers (spec.md section 1.1)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from apm_run.intake.decode import Event, Stream, StreamError
from apm_run.local.store import Store
from apm_run.local.tally import Tally

# What is gathered before a hop to a worker thread, and before a write, in bytes.
_CHUNK = 128 * 1024
_BATCH = 1024 * 1024

Observer = Callable[[Event], None]


class Intake:
    """The intake endpoint of one receiver."""

    def __init__(self, store: Store, tally: Tally, observer: Observer | None = None) -> None:
        self._store = store
        self._tally = tally
        self._observer = observer

    async def answer(self, request: Request) -> Response:
        """Answer one request: everything accepted is in the store before the status is sent."""
        refused = _refused(request)
        if refused is not None:
            self._tally.rejected([{"message": refused, "document": ""}], 1)
            return _reply(request, 400, {"accepted": 0, "errors": [{"message": refused}]})
        with self._tally.request():
            stream = Stream(request.headers.get("content-encoding", "").strip().lower())
            stored = await self._read(request, stream)
            if stream.rejected:
                self._tally.rejected(stream.errors, stream.rejected)
                await run_in_threadpool(self._store.reject, stream.errors)
        body: dict[str, Any] = {"accepted": stored}
        if stream.status >= 400:
            body["errors"] = stream.errors
        elif "verbose" not in request.query_params:
            return Response(status_code=202)
        return _reply(request, stream.status, body)

    async def _read(self, request: Request, stream: Stream) -> int:
        """Feed the body to ``stream``; return how many events are in the store for good."""
        stored, waiting = 0, bytearray()
        try:
            async for chunk in request.stream():
                waiting += chunk
                if len(waiting) >= _CHUNK:
                    stored += await run_in_threadpool(self._store_all, stream, bytes(waiting))
                    waiting.clear()
            stored += await run_in_threadpool(self._store_all, stream, bytes(waiting))
            stored += await run_in_threadpool(self._store_all, stream, None)
        except _Ended as ended:
            stored += ended.stored
        except ClientDisconnect:
            stream.fail(StreamError("the connection was closed before the end of the request"))
        return stored

    def _store_all(self, stream: Stream, chunk: bytes | None) -> int:
        """Store the events that a chunk completes (None: the end of the body); return their number."""
        stored = 0
        try:
            for batch in _batches(stream.close() if chunk is None else stream.feed(chunk)):
                self._store.add(batch)
                stored += len(batch)
                self._tally.accepted(batch)
                if self._observer is not None:
                    for event in batch:
                        self._observer(event)
        except StreamError as error:
            stream.fail(error)
            raise _Ended(stored) from None
        except sqlite3.Error as error:
            stream.fail(StreamError(f"the store cannot be written: {error}", status=503))
            raise _Ended(stored) from None
        return stored


class _Ended(Exception):
    """The rest of the request is not read; ``stored`` events of the last chunk are in the store."""

    def __init__(self, stored: int) -> None:
        super().__init__()
        self.stored = stored


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    """Group events so that a write is neither tiny nor huge; a StreamError comes after what was before it."""
    batch: list[Event] = []
    size = 0
    try:
        for event in events:
            batch.append(event)
            size += len(event.raw)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
    except StreamError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _refused(request: Request) -> str | None:
    if request.method != "POST":
        return "only POST requests are supported"
    content_type = request.headers.get("content-type", "")
    if content_type and "application/x-ndjson" not in content_type:
        return f"invalid content type: '{content_type[:200]}'"
    return None


def _reply(request: Request, status: int, body: dict[str, Any]) -> Response:
    response = JSONResponse(body, status)
    accept = request.headers.get("accept", "")
    if status >= 400:
        response.headers["connection"] = "close"
        if "application/json" not in accept and "*/*" not in accept:
            response.headers["content-type"] = "text/plain; charset=utf-8"
    return response
