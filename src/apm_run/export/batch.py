"""One request's body out of the outbox."""

from __future__ import annotations

from apm_run.export.private import load
from apm_run.export.server_info import is_unsampled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from apm_run.export.leftovers import Leftovers
    from apm_run.export.outbox import Outbox

_GZIP = 31  # wbits of zlib: gzip format
_FASTEST = 1
#: Bytes that are compressed or sent in one go: each time a busy program keeps the interpreter for 5 ms before it is
#: this thread's turn again.
_PIECE = 1 << 17
#: Uncompressed bytes per request: the server wants a body whole within 30 s, and we hold it in memory.
RAW_LIMIT = 4 << 20


class Packed:
    """A request's body, the number of its events, and their bytes before compression.

    :ivar left_out: what was left out, by its place among all.
    """

    __slots__ = ("body", "events", "left_out", "raw")

    def __init__(self, body: list[bytes], events: int, raw: int, left_out: list[int]) -> None:
        self.body = body
        self.events = events
        self.raw = raw
        self.left_out = left_out

    @property
    def lines(self) -> int:
        """The events, with those that were left out."""
        return self.events + len(self.left_out)

    def behind(self, events: int) -> int:
        """How many there were up to the end of so many sent ones, with what was left out."""
        for place in self.left_out:
            if place <= events:
                events += 1
        return events


def pack(
    outbox: Outbox | Leftovers,
    metadata: bytes,
    size: int,
    max_events: int,
    compress: bool,
    *,
    sampled_only: bool = False,
) -> Packed:
    """The oldest waiting events behind the metadata line.

    :param size: bytes of the body after which no more is added (``api_request_size``).
    :param sampled_only: leave out unsampled transactions.
    """
    left_out: list[int] = []
    parts: list[bytes] = []
    squeeze, finish = _coder(compress)
    piece, gathered = [metadata], len(metadata)
    length = raw = count = 0
    for payload, events in outbox.batch():
        if sampled_only and is_unsampled(payload):
            left_out.append(count + len(left_out))
            payload, events = payload[payload.index(b"\n") + 1 :], events - 1  # noqa: PLW2901
        if count + events > max_events:
            payload, events = first_lines(payload, max_events - count), max_events - count  # noqa: PLW2901
        piece.append(payload)
        gathered += len(payload)
        raw += len(payload)
        count += events
        if gathered >= _PIECE:
            parts.append(squeeze(b"".join(piece)))
            length += len(parts[-1])
            piece, gathered = [], 0
        if length + (0 if compress else gathered) >= size or raw >= RAW_LIMIT or count >= max_events:
            break
    parts += squeeze(b"".join(piece)), finish()
    return Packed([b"".join(parts)], count, raw, left_out)


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
