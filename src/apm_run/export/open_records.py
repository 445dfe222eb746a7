"""The transactions and spans that a process may never report as they are in the end (design 5a, "Open records").

A record: the id; the end of the event's line (duration, number of spans), as if it had ended just now; the line up to
there. Where only the end is new the line is left out, and where it is open no more both are. The newest segment of a
process tells all: it begins with what was open then, and what is put there is open no more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of all records of a process; what would pass that leaves none.
CAP = 1 << 17

_ID = 16
_END = 80
#: How the lines of events begin that can be open.
_ENDED = (b'{"transaction":{"id":"', b'{"span":{"id":"')


class OpenRecords:
    """What is open, by id."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[bytes, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    @staticmethod
    def record(id: str, end: bytes = b"", line: bytes = b"") -> bytes:
        """The record that says so; without an end that it is open no more."""
        return id.encode() + end.rjust(_END) + line

    def note(self, record: bytes) -> bool:
        """Heed a record; whether it says something new."""
        id, end, line = record[:_ID], record[_ID : _ID + _END], record[_ID + _END :]
        if end.isspace():
            return self._found.pop(id, None) is not None
        before = self._found.get(id, (b"", b""))[1]
        size = sum(len(known) for _, known in self._found.values()) + len(line) - len(before)
        if size > CAP or not line:
            line = before
        if not line:
            return False
        self._found[id] = end, line
        return True

    def ended(self, payload: bytes) -> None:
        """Events were put, and are open no more."""
        if self._found:
            for line in payload.splitlines():
                if line.startswith(_ENDED):
                    self._found.pop(line[line.index(b':"') + 2 :][:_ID], None)

    def records(self) -> Iterator[bytes]:
        """What a new segment begins with."""
        for id, (end, line) in self._found.items():
            yield id + end + line

    def events(self) -> tuple[bytes, int]:
        """The events as they were when last heard of: lines, and their number."""
        lines = [line + end.lstrip() for end, line in self._found.values()]
        return b"".join(lines), len(lines)
