"""Read an intake request body as it arrives: bytes in, judged events out (spec.md sections 1 and 2).

Nothing is kept but the line at hand, so memory is bounded whatever is sent. Only the receiver and the tests
import this module.
"""

from __future__ import annotations

import json
import zlib

from apm_run.intake.limits import LONG, MAX_ERRORS, MAX_EVENT_SIZE, cut
from apm_run.intake.schema import KINDS
from apm_run.intake.validate import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Bytes that one request may come to after decompression; what is beyond ends the request.
MAX_REQUEST_SIZE = 256 * 1024 * 1024
_STEP = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_ZLIB_MAGIC = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
#: What is kept of a metricset that belongs to a transaction (spec.md section 10).
_BREAKDOWN_SAMPLES = ("span.self_time.count", "span.self_time.sum.us")


class Event:
    """One accepted event.

    ``kind`` is the root key, ``body`` the object inside it, ``line`` the bytes as they came, ``raw`` the text
    of the JSON value in it, ``metadata`` the object of the request's first line.
    """

    __slots__ = ("body", "kind", "line", "metadata", "raw")

    def __init__(self, kind: str, body: dict[str, Any], line: bytes, raw: str, metadata: dict[str, Any]) -> None:
        self.kind = kind
        self.body = body
        self.line = line
        self.raw = raw
        self.metadata = metadata


class StreamError(Exception):
    """The rest of the request cannot be read; ``status`` is the HTTP status to answer."""

    def __init__(self, message: str, document: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.document = document
        self.status = status


class _Plain:
    """Body bytes that are not compressed."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def close(self) -> None:
        pass


class _Inflated:
    """gzip (``wbits`` 31, several members) or zlib (``wbits`` 15) bytes, given out in bounded steps."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._decompressor = zlib.decompressobj(wbits)
        self._started = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._decompressor.eof:
                if self._wbits == 15:
                    return  # the server stops reading at the end of a zlib stream, too
                self._decompressor = zlib.decompressobj(self._wbits)
            self._started = True
            try:
                part = self._decompressor.decompress(chunk, _STEP)
            except zlib.error as error:
                raise StreamError(f"invalid compressed body: {error}") from None
            chunk = self._decompressor.unconsumed_tail or self._decompressor.unused_data
            yield part

    def close(self) -> None:
        if self._started and not self._decompressor.eof:
            raise StreamError("unexpected end of the compressed body")


class Stream:
    """One request body. Feed it, close it, then read ``accepted``, ``rejected``, ``errors`` and ``status``.

    ``encoding`` is the Content-Encoding header; without a known one the first bytes decide, as on the server.
    Errors are ``{"message", "document"}``, the first five of them; ``rejected`` counts all.
    """

    def __init__(self, encoding: str = "") -> None:
        self.accepted = 0
        self.rejected = 0
        self.status = 202
        self.errors: list[dict[str, str]] = []
        self.metadata: dict[str, Any] | None = None
        self._head = b""
        self._source: _Plain | _Inflated | None = None
        if encoding == "gzip":
            self._source = _Inflated(31)
        elif encoding == "deflate":
            self._source = _Inflated(15)
        self._line = bytearray()
        self._skipping = False
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that ``chunk`` completes. Raises StreamError when the request cannot go on."""
        if self._source is None:
            self._head += chunk
            if len(self._head) < 2:
                return
            chunk, self._head = self._head, b""
            self._source = _sniffed(chunk)
        for part in self._source.feed(chunk):
            self._size += len(part)
            if self._size > MAX_REQUEST_SIZE:
                raise StreamError("request body too large", status=413)
            yield from self._lines(part)

    def close(self) -> Iterator[Event]:
        """Yield the event of a last line without newline. Raises StreamError when the body ends too early."""
        if self._source is None:
            yield from self._lines(self._head)
        else:
            self._source.close()
        if self._line:
            yield from self._judge(bytes(self._line), last=True)

    def fail(self, error: StreamError) -> None:
        """Record what ended the request."""
        self.status = max(self.status, error.status)
        self._reject(error.message, error.document)

    def _lines(self, part: bytes) -> Iterator[Event]:
        start = 0
        while True:
            end = part.find(b"\n", start)
            if not self._skipping:
                self._line += part[start : end if end >= 0 else len(part)]
                # The limit counts the newline.
                if len(self._line) >= MAX_EVENT_SIZE:
                    self._too_long()
            if end < 0:
                return
            if not self._skipping:
                line = bytes(self._line)
                self._line.clear()
                yield from self._judge(line, last=False)
            self._skipping = False
            start = end + 1

    def _too_long(self) -> None:
        document = _text(bytes(self._line[:LONG]))
        self._line.clear()
        self._skipping = True
        message = "event exceeded the permitted size"
        if self.metadata is None:
            raise StreamError(f"cannot read metadata in stream: {message}", document)
        self.status = 400
        self._reject(message, document)

    def _judge(self, line: bytes, last: bool) -> Iterator[Event]:
        if self.metadata is None:
            self.metadata = _metadata(line, last)
            return
        if not line:
            return
        kind = _first_key(line)
        try:
            if kind not in KINDS or kind == "metadata":
                raise ValueError(f'did not recognize object type: "{kind}"')
            body, raw = _parsed(line, kind)
        except ValueError as error:
            self.status = 400
            self._reject(str(error), _text(line))
            return
        if kind == "metricset" and not _kept(body):
            return
        self.accepted += 1
        yield Event(kind, body, line, raw, self.metadata)

    def _reject(self, message: str, document: str) -> None:
        self.rejected += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"message": cut(message), "document": cut(document, LONG)})


def _sniffed(head: bytes) -> _Plain | _Inflated:
    if head[:2] == _GZIP_MAGIC:
        return _Inflated(31)
    return _Inflated(15) if head[:2] in _ZLIB_MAGIC else _Plain()


def _metadata(line: bytes, last: bool) -> dict[str, Any]:
    """Return the metadata object of the first line; without it the server takes nothing of the request."""
    problem = "cannot read metadata in stream: "
    if _first_key(line) != "metadata":
        raise StreamError(problem + '"metadata" required', _text(line))
    if last:
        raise StreamError(problem + "EOF while reading metadata", _text(line))
    try:
        return _parsed(line, "metadata")[0]
    except ValueError as error:
        raise StreamError(problem + str(error), _text(line)) from None


def _parsed(line: bytes, kind: str) -> tuple[dict[str, Any], str]:
    """Return the object under the root key and the text of the line; ValueError says what is wrong."""
    try:
        text = line.decode("utf-8").lstrip(" \t\r")
        # Like the server's decoder: what follows the first value of a line is not looked at.
        root, end = _DECODER.raw_decode(text)
        if not isinstance(root, dict):
            raise ValueError("expects an object")
        errors = validate(kind, root.get(kind))
    except RecursionError:
        raise ValueError("data read error: exceeded the permitted depth") from None
    except ValueError as error:
        raise ValueError(f"data read error: {error}") from None
    if errors:
        raise ValueError(f"validation error: {errors[0]}")
    return root[kind], text[:end]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _first_key(line: bytes) -> str:
    """Return the first quoted string: so the server finds the type of an event (spec.md section 1)."""
    parts = line.split(b'"', 2)
    return _text(parts[1]) if len(parts) == 3 else ""


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _kept(metricset: dict[str, Any]) -> bool:
    """Return whether the server keeps a metricset: one of a transaction only as a breakdown of span times."""
    if not any((metricset.get("transaction") or {}).values()):
        return True
    samples = metricset["samples"]
    return bool(metricset.get("span")) and any(name in samples for name in _BREAKDOWN_SAMPLES)
