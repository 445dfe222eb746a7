"""Sealed segments, compressed: what waits long takes an eighth of the room (design 5a).

Only the agent thread makes and reads them.
"""

from __future__ import annotations

import os

from apm_run.export import files
from apm_run.export.segment import CURSOR_AT, Segment, unpack


class Packed(Segment):
    """Stands for a sealed segment, in a file of its own or in memory."""

    __slots__ = ("_body", "_head")

    def __init__(self, segment: Segment, path: str | None, head: bytes, body: bytes) -> None:
        """:param path: the file that holds head and body, None to keep them here."""
        super().__init__(bytearray(), path, segment.stamp)
        self._head = len(head)
        self._body = None if path is not None else body
        self.size = len(head) + len(body)
        self.generation = segment.generation
        self.sequence = segment.sequence
        self.first = segment.first
        self.tail = segment.tail
        self.offset = segment.offset
        self.line = segment.line
        self.waiting = segment.waiting

    def pin(self) -> bool:
        """Uncompress it."""
        body = self._body
        if body is None:
            body = (files.read(str(self.path)) or b"")[self._head :]
        self.buffer = bytearray(self._head) + unpack(body)
        return super().pin() and len(self.buffer) >= self.tail

    def unpin(self) -> None:
        """Give the memory back."""
        super().unpin()
        self.buffer = bytearray()

    def _store(self, cursor: bytes) -> None:
        if self.path is not None:
            files.overwrite(self.path, cursor, CURSOR_AT)


def pack(segment: Segment, directory: str | None) -> Packed | None:
    """The packed form of a sealed segment; the caller drains the segment then. None when the disk will not have it."""
    head, body = segment.packed()
    if segment.path is None or directory is None:
        return Packed(segment, None, head, body)
    # The header comes last: a kill in between leaves a file that is no segment.
    path = files.write(directory, os.getpid(), (len(head), body), (0, head))
    return Packed(segment, path, head, body) if path is not None else None
