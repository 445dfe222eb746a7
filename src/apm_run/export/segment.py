"""One segment of the outbox: its bytes, in a mapped file or in memory (design 5a).

Layout, little-endian::

    header   magic, version, length of the header, crc32 of what follows the cursor
             cursor: offset of the first record not answered yet, number of its lines that were
             generation, sequence, pid, flags, start time of the process, pid namespace, boot id,
             digest of the credentials, length and bytes of the destination
    record   length of the payload, crc32, number of events, kind; payload; padding to 8 bytes
    ...

The checksum of a record starts from the segment's generation, which grows each time the segment is emptied for reuse:
what an earlier use left behind the last record never counts as one. Reading stops at the first record whose checksum is
wrong: a torn tail is dropped, and nothing else.
"""

from __future__ import annotations

from _struct import Struct

from apm_run.export.open_records import OpenRecords
from apm_run.export.private import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

_zlib = load("zlib")
crc32 = _zlib.crc32

MAGIC = b"apm-run\x00"
_DONTNEED = 4  # MADV_DONTNEED of Linux
VERSION = 1
#: Bytes of a segment, and of the first one of a process, which may never need more.
SIZE = 1 << 20
FIRST_SIZE = 1 << 16

_fixed = Struct("<8sHHI")
#: Native, so that the processor stores it in one go: a kill never leaves half a cursor.
_cursor = Struct("Q")
_stamp = Struct("<IIIIQQ16s16sH")
_record = Struct("<IIIBxxx")
CURSOR_AT = _fixed.size
_STAMP_AT = CURSOR_AT + _cursor.size
RECORD_SIZE = _record.size

#: Flag of a segment whose bytes behind the header are compressed (zlib); offsets count uncompressed bytes.
PACKED = 1
#: What a packed segment may hold, whatever its bytes say.
_MAX_UNPACKED = 2 * SIZE

#: Kinds of records. Readers skip kinds they do not know.
EVENTS = 1  # ND-JSON lines, each one event
METADATA = 2  # the metadata line; the last one of a process counts
OPEN = 3  # a transaction that has begun and may never end in this process


class Stamp:
    """Whose events a segment holds and where they go; the same for all segments of a process.

    ``start`` is field 22 of ``/proc/self/stat``, ``namespace`` the inode of ``/proc/self/ns/pid``; 0 where unknown.
    ``destination`` is the server's URL without userinfo, ``credentials`` a keyed digest, never a secret.
    """

    __slots__ = ("boot", "credentials", "destination", "namespace", "pid", "start")

    def __init__(
        self, *, pid: int, start: int, namespace: int, boot: bytes, credentials: bytes, destination: bytes
    ) -> None:
        self.pid = pid
        self.start = start
        self.namespace = namespace
        self.boot = boot
        self.credentials = credentials
        self.destination = destination

    def header(self, generation: int, sequence: int, flags: int = 0) -> bytes:
        """The bytes a segment begins with; its length is a multiple of 8."""
        tail = _stamp.pack(
            generation,
            sequence,
            self.pid,
            flags,
            self.start,
            self.namespace,
            self.boot,
            self.credentials,
            len(self.destination),
        )
        tail += self.destination
        tail += b"\0" * (-(len(tail) + _STAMP_AT) % 8)
        size = _STAMP_AT + len(tail)
        return _fixed.pack(MAGIC, VERSION, size, crc32(tail)) + _cursor.pack(size) + tail


class Segment:
    """A segment this process writes. Nothing here locks: the outbox does."""

    __slots__ = (
        "buffer",
        "first",
        "generation",
        "line",
        "offset",
        "path",
        "pinned",
        "sequence",
        "size",
        "stamp",
        "tail",
        "waiting",
    )

    def __init__(self, buffer: mmap | bytearray, path: str | None, stamp: Stamp) -> None:
        """:param path: the file behind the buffer, None for plain memory."""
        self.buffer = buffer
        self.path = path
        self.stamp = stamp
        self.size = len(buffer)
        self.generation = 0
        self.sequence = 0
        self.pinned = False
        self.first = self.tail = self.offset = self.line = self.waiting = 0

    def reset(self, sequence: int) -> None:
        """Empty it. ``sequence`` orders the segments of a process."""
        self.generation += 1
        self.sequence = sequence
        head = self.stamp.header(self.generation, sequence)
        self.buffer[: len(head)] = head
        self.first = self.tail = self.offset = len(head)
        self.line = self.waiting = 0

    def append(self, kind: int, payload: bytes, events: int) -> bool:
        """Write one record behind the last; False when it does not fit."""
        tail = self.tail
        body = tail + RECORD_SIZE
        length = len(payload)
        end = body + length
        if end > self.size:
            return False
        buffer = self.buffer
        buffer[body:end] = payload
        checksum = crc32(payload, _seed(self.generation, length, events, kind))
        _record.pack_into(buffer, tail, length, checksum, events, kind)
        self.waiting += events
        self.tail = (end + 7) & -8
        return True

    @property
    def cost(self) -> int:
        """Bytes it takes where it lies."""
        return self.size

    def take(self, other: Segment) -> None:
        """Hold what the other one, of the same size, holds."""
        self.buffer[:] = other.buffer[:]
        self.generation, self.sequence = other.generation, other.sequence
        self.first, self.tail, self.offset = other.first, other.tail, other.offset
        self.line, self.waiting = other.line, other.waiting

    def pin(self) -> bool:
        """Make it readable, safe from eviction; False when what it held is gone."""
        self.pinned = True
        return True

    def unpin(self) -> None:
        """The opposite."""
        self.pinned = False

    def release(self) -> None:
        """Give back the memory of a file that holds nothing: the mapping stays, for later."""
        if self.path is not None:
            self.buffer.madvise(_DONTNEED)  # type: ignore[union-attr]

    def drain(self) -> None:
        """Nothing in it waits any more."""
        self.line = self.waiting = 0
        self._write_cursor(self.tail)

    def packed(self) -> tuple[bytes, bytes]:
        """Header and compressed body of the packed segment that can stand for this one."""
        body: bytes = _zlib.compress(self.buffer[self.first : self.tail], 1)
        head = bytearray(self.stamp.header(self.generation, self.sequence, PACKED))
        _cursor.pack_into(head, CURSOR_AT, self.offset | self.line << 32)
        return bytes(head), body

    def records(self) -> Iterator[tuple[int, int, bytes, int, int]]:
        """What waits: (kind, events, payload, offset, offset of the next record), from the cursor on."""
        offset = self.offset
        while offset < self.tail:
            length, _, events, kind = _record.unpack_from(self.buffer, offset)
            body = offset + RECORD_SIZE
            after = (body + length + 7) & -8
            yield kind, events, bytes(self.buffer[body : body + length]), offset, after
            offset = after

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """The events that wait: (lines, their number) of each record."""
        skip = self.line
        for kind, events, payload, _, _ in self.records():
            if kind == EVENTS:
                yield (after_lines(payload, skip), events - skip) if skip else (payload, events)
                skip = 0

    def advance(self, events: int) -> int:
        """Move the cursor over that many events; returns how many of them lie behind this segment.

        Records of other kinds are passed with the events before them.
        """
        for kind, count, _, offset, after in self.records():
            here = count - self.line if kind == EVENTS else 0
            if here > events:
                self.line += events
                self.waiting -= events
                self._write_cursor(offset)
                return 0
            events -= here
            self.waiting -= here
            self.line = 0
            self._write_cursor(after)
        return events

    def _write_cursor(self, offset: int) -> None:
        self.offset = offset
        self._store(_cursor.pack(offset | self.line << 32))

    def _store(self, cursor: bytes) -> None:
        self.buffer[CURSOR_AT:_STAMP_AT] = cursor


class Image:
    """What a segment found on disk says, as far as it can be trusted: anything may have happened to the file."""

    __slots__ = (
        "first",
        "flags",
        "generation",
        "line",
        "metadata",
        "offset",
        "open",
        "sequence",
        "stamp",
        "tail",
        "waiting",
    )

    def __init__(self, stamp: Stamp, *, generation: int, sequence: int, flags: int, first: int) -> None:
        self.stamp = stamp
        self.generation = generation
        self.sequence = sequence
        self.flags = flags
        self.first = first
        #: The first record that waits, its lines that do not, the end of the last whole record, events that wait.
        self.offset = self.tail = first
        self.line = self.waiting = 0
        #: The last metadata line, if any.
        self.metadata: bytes | None = None
        #: What was open at its end.
        self.open = OpenRecords()


def read_header(data: bytes) -> Image | None:
    """What the first bytes of a file say of the rest; None when they are no segment's."""
    if len(data) < _STAMP_AT + _stamp.size:
        return None
    magic, version, first, checksum = _fixed.unpack_from(data)
    if magic != MAGIC or version != VERSION or first > len(data) or crc32(data[_STAMP_AT:first]) != checksum:
        return None
    generation, sequence, pid, flags, start, namespace, boot, credentials, length = _stamp.unpack_from(data, _STAMP_AT)
    stamp = Stamp(
        pid=pid,
        start=start,
        namespace=namespace,
        boot=boot,
        credentials=credentials,
        destination=data[_STAMP_AT + _stamp.size :][:length],
    )
    return Image(stamp, generation=generation, sequence=sequence, flags=flags, first=first)


def read(data: bytes) -> Image | None:
    """Make sense of a segment file's bytes; None when they are no segment's."""
    image = read_header(data)
    if image is not None:
        cursor = _cursor.unpack_from(data, CURSOR_AT)[0]
        _read_records(image, plain(data, image), cursor & 0xFFFFFFFF, cursor >> 32)
    return image


def plain(data: bytes, image: Image) -> bytes:
    """The bytes of a segment file as those of one that is not packed."""
    return data[: image.first] + unpack(data[image.first :]) if image.flags & PACKED else data


def unpack(body: bytes) -> bytes:
    """What the compressed bytes behind a header say, as far as they are whole."""
    try:
        found: bytes = _zlib.decompressobj().decompress(body, _MAX_UNPACKED)
    except _zlib.error:
        return b""
    return found


def _read_records(image: Image, data: bytes, cursor: int, line: int) -> None:
    at = image.first
    while at + RECORD_SIZE <= len(data):
        length, checksum, events, kind = _record.unpack_from(data, at)
        body = at + RECORD_SIZE
        payload = data[body : body + length]
        if len(payload) < length or crc32(payload, _seed(image.generation, length, events, kind)) != checksum:
            break
        after = min((body + length + 7) & -8, len(data))
        if at < cursor:
            image.offset = after
        elif kind == EVENTS:
            if at == cursor:
                image.line = min(line, events)
                events -= image.line
            image.waiting += events
        if kind == EVENTS:
            image.open.ended(payload)
        elif kind == OPEN:
            image.open.note(payload)
        elif kind == METADATA:
            image.metadata = payload
        at = image.tail = after
    if cursor == at:
        image.line = line  # of what is appended where it is read


def record(generation: int, kind: int, payload: bytes, events: int) -> bytes:
    """The bytes of a record."""
    checksum = crc32(payload, _seed(generation, len(payload), events, kind))
    head = _record.pack(len(payload), checksum, events, kind)
    return head + payload + bytes(-len(payload) & 7)


def after_lines(payload: bytes, lines: int) -> bytes:
    """The payload without its first so many lines."""
    start = 0
    for _ in range(lines):
        start = payload.find(b"\n", start) + 1
    return payload[start:]


def _seed(generation: int, length: int, events: int, kind: int) -> int:
    """What a record's checksum starts from, so that it covers the record's header and the segment's use too."""
    return (generation * 0x9E3779B1 + length * 0x85EBCA6B + events * 0xC2B2AE35 + kind * 0x27D4EB2F) & 0xFFFFFFFF
