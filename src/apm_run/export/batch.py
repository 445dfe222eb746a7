"""One request's body out of the outbox."""

from __future__ import annotations

from apm_run.export.private import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from apm_run.export.leftovers import Leftovers
    from apm_run.export.outbox import Outbox

_GZIP = 31  # wbits of zlib: gzip format
_FASTEST = 1
#: Uncompressed bytes per request: the server wants a body whole within 30 s, and we hold it in memory.
RAW_LIMIT = 4 << 20


def pack(
    outbox: Outbox | Leftovers, metadata: bytes, size: int, max_events: int, compress: bool
) -> tuple[list[bytes], int, int]:
    """The oldest waiting events behind the metadata line, their number, and their bytes before compression.

    :param size: bytes of the body after which no more is added (``api_request_size``).
    """
    parts: list[bytes] = []
    squeeze, finish = _coder(compress)
    parts.append(squeeze(metadata))
    length = raw = count = 0
    for payload, events in outbox.batch():
        if count + events > max_events:
            payload, events = first_lines(payload, max_events - count), max_events - count  # noqa: PLW2901
        parts.append(squeeze(payload))
        length += len(parts[-1])
        raw += len(payload)
        count += events
        if length >= size or raw >= RAW_LIMIT or count >= max_events:
            break
    parts.append(finish())
    return [part for part in parts if part], count, raw


def _coder(compress: bool) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    if not compress:
        return bytes, bytes
    zlib = load("zlib")
    coder = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    return coder.compress, coder.flush


def first_lines(payload: bytes, lines: int) -> bytes:
    """The first so many lines."""
    end = 0
    for _ in range(lines):
        end = payload.find(b"\n", end) + 1
    return payload[:end]
