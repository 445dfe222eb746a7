"""Segments that are read when they are needed: sealed and compressed ones of ours, and those of dead processes."""

from __future__ import annotations

from apm_run.export import files
from apm_run.export.segment import CURSOR_AT, EVENTS, Segment, plain, read, read_header, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.export.segment import Image


class Stored(Segment):
    """A segment in a file of its own, or packed in memory. Only the agent thread reads it."""

    __slots__ = ("_data", "_ended")

    def __init__(self, image: Image, path: str | None, data: bytes, newest: bool = False) -> None:
        """Say what is in it.

        :param path: the file; None to keep ``data`` here.
        :param newest: of a dead process: what was open at its end has ended, and is read as if it stood there.
        """
        super().__init__(bytearray(), path, image.stamp)
        self._data = data if path is None else b""
        self.size = len(data)
        self.generation = image.generation
        self.sequence = image.sequence
        self.first = image.first
        self.tail = image.tail
        self.offset = image.offset
        self.line = image.line
        self.waiting = image.waiting
        #: The record of the transactions that were open.
        self._ended = b""
        if newest and image.open:
            self._end(image)

    def _end(self, image: Image) -> None:
        lines, events = image.open.events()
        self._ended = record(image.generation, EVENTS, lines, events)
        self.waiting += events
        start = (image.tail + 7) & -8
        if self.offset == image.tail:  # some of them may have been sent
            self.offset = start
            self.line = min(self.line, events)
            self.waiting -= self.line
        self.tail = start + len(self._ended)

    def pin(self) -> bool:
        """Read it; False when the file is gone or changed."""
        self.pinned = True
        data = self._data if self.path is None else files.read(self.path) or b""
        image = read_header(data)
        if image is None or image.sequence != self.sequence:
            return False
        self.buffer = bytearray(plain(data, image))
        if self._ended:
            start = self.tail - len(self._ended)
            self.buffer = self.buffer[:start].ljust(start, b"\0") + self._ended
        return len(self.buffer) >= self.tail

    def unpin(self) -> None:
        """Give the memory back."""
        self.pinned = False
        self.buffer = bytearray()

    def _store(self, cursor: bytes) -> None:
        if self.path is not None:
            files.overwrite(self.path, cursor, CURSOR_AT)


def pack(segment: Segment, path: str | None) -> Stored | None:
    """The compressed form of a sealed segment, which is to be drained then.

    :param path: the file to make for it, None to keep it in memory.
    :return: None when the disk will not have it.
    """
    head, body = segment.packed()
    image = read(head + body)
    if image is None or image.waiting != segment.waiting:
        return None
    # The header comes last: a kill in between leaves a file that is no segment.
    if path is None or files.write(path, (len(head), body), (0, head)):
        return Stored(image, path, head + body)
    return None
