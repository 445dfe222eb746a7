"""The outbox: where events wait, durable from :meth:`Outbox.put` on (design 5a).

Threads, signal handlers and finalisers put into it, at any point of each other: none of them waits for one that it
interrupted. A put appends to a deque and, if nobody else is writing just then, writes the deque into the active
segment; whoever holds the lock looks at the deque again after giving it back.
"""

from __future__ import annotations

from _collections import deque  # type: ignore[import-not-found]

from apm_run.export import files, leftovers
from apm_run.export.native import allocate_lock
from apm_run.export.open_records import OpenRecords
from apm_run.export.segment import EVENTS, FIRST_SIZE, METADATA, OPEN, RECORD_SIZE, SIZE, Segment
from apm_run.export.stored import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from apm_run.export.segment import Stamp

#: Bytes that all processes of one user may leave in one state directory.
DISK_CAP = 64 * SIZE
#: Bytes of one process where no directory can be had.
MEMORY_CAP = 8 * SIZE
#: Puts that may pile up while another thread is held up inside the outbox.
PENDING_CAP = 10_000


class Outbox:
    """The events of one process that were not answered yet, in order."""

    __slots__ = (
        "_free",
        "_lock",
        "_open",
        "_pending",
        "_room",
        "_sequence",
        "backlog",
        "cap",
        "directory",
        "done",
        "dropped",
        "events",
        "metadata",
        "paths",
        "segments",
        "stamp",
    )

    def __init__(self, directory: str | None, stamp: Stamp, metadata: bytes, cap: int = 0) -> None:
        """Opens and writes nothing yet.

        :param directory: the outbox's directory, None for memory.
        :param metadata: the line that serves until :meth:`set_metadata`.
        :param cap: bytes; 0 for the usual.
        """
        self.directory = directory
        self.stamp = stamp
        self.cap = cap or (DISK_CAP if directory else MEMORY_CAP)
        self.segments: list[Segment] = []
        #: Events dropped, by reason: ``evicted``, ``too large``, ``queue``, ``lost`` (their file was removed),
        #: ``filter`` (the program wants them not).
        self.dropped: dict[str, int] = {}
        #: All files this outbox ever made.
        self.paths: set[str] = set()
        #: Events written, and of these done with (answered or dropped).
        self.events = self.done = 0
        #: Bytes of segments that wait.
        self.backlog = 0
        self.metadata = metadata
        self._sequence = 0
        self._room = 0
        self._free: list[Segment] = []
        self._open = OpenRecords()
        self._pending: deque[tuple[int, bytes, int]] = deque()
        self._lock = allocate_lock()

    def put(self, payload: bytes, events: int) -> None:
        """Take ND-JSON lines in.

        They survive the process from here on; should another thread be inside just now, as soon as that one goes on.
        """
        pending = self._pending
        if len(pending) > PENDING_CAP:
            self.drop("queue", events)
            return
        pending.append((EVENTS, payload, events))
        self.settle()

    def set_metadata(self, line: bytes) -> None:
        """From now on this line stands for the process, in the segment in use too."""
        self.metadata = line
        self._pending.append((METADATA, line, 0))
        self.settle()

    def open(self, id: str, end: bytes, line: bytes) -> None:
        """Say that a transaction has begun: whoever adopts the outbox puts it, unless it is put or gone before.

        :param end: the end of its event's line, as of now. :param line: what stands before; empty: as before.
        """
        self._pending.append((OPEN, OpenRecords.record(id, end, line), 0))
        self.settle()

    def gone(self, id: str) -> None:
        """A transaction that was said to be open is none any more."""
        self._pending.append((OPEN, OpenRecords.record(id), 0))
        self.settle()

    def settle(self) -> None:
        """Write what waits in the deque, if nobody does."""
        pending, lock = self._pending, self._lock
        # Only "with" takes and gives back a lock without a point in between at which a signal handler could raise.
        # It may wait here for a thread that came just now; it never finds the lock taken by its own.
        while pending and not lock.locked():
            with lock:
                self._write()

    @property
    def waiting(self) -> int:
        """Events neither answered nor dropped."""
        pending: list[tuple[int, bytes, int]] = list(self._pending)
        return max(0, self.events - self.done) + sum(events for _, _, events in pending)

    @property
    def durable(self) -> bool:
        """Whether everything that waits is in files."""
        return not self._pending and all(segment.path is not None for segment in self.segments)

    def batch(self) -> Iterator[tuple[bytes, int]]:
        """What waits, oldest first: (lines, their number). What was handed out is not evicted until :meth:`unpin`."""
        index = 0
        while True:
            self.settle()
            with self._lock:
                if index >= len(self.segments):
                    return
                segment = self.segments[index]
                if not segment.pin():
                    self._give_up(segment, "lost")
                    continue
            yield from segment.lines()
            index += 1

    def squeeze(self) -> bool:
        """Compress the oldest sealed segment that is not; whether there was one. For the agent thread."""
        with self._lock:
            sealed = (segment for segment in self.segments[:-1] if type(segment) is Segment)
            segment = next((segment for segment in sealed if not segment.pinned), None)
            if segment is None:
                return False
            segment.pin()
        packed = pack(segment, self._new_path() if segment.path is not None else None)
        with self._lock:
            segment.unpin()
            if packed is not None:
                self.segments[self.segments.index(segment)] = packed
                segment.drain()
                self._set_free(segment)
        self.settle()
        return packed is not None

    def advance(self, events: int) -> None:
        """The oldest so many events are done with; empty segments are made ready for reuse."""
        with self._lock:
            self.done += events
            for segment in list(self.segments):
                before = segment.offset
                events = segment.advance(events)
                self.backlog -= segment.offset - before
                if segment.offset == segment.tail:
                    self._recycle(segment)
                if not events:
                    break
        self.settle()

    def unpin(self) -> None:
        """The batch is over."""
        for segment in list(self.segments):
            segment.unpin()

    def close(self) -> None:
        """Give back the files that hold nothing unanswered; later puts open new ones.

        Open records are in the newest.
        """
        with self._lock:
            newest = self.segments[-1] if self._open and self.segments else None
            kept = [segment for segment in self.segments if segment.waiting or segment is newest]
            for segment in [*self._free, *self.segments]:
                if segment not in kept:
                    _remove_file(segment)
            self.segments = kept
            self._free.clear()
        self.settle()

    @property
    def busy(self) -> bool:
        """Whether a thread is inside; it may be the calling one, interrupted by a signal."""
        return self._lock.locked()

    def touch(self) -> None:
        """Show processes that cannot see this one that it still cares for what waits."""
        for segment in list(self.segments):
            if segment.path is not None:
                files.touch(segment.path)

    def _new_path(self) -> str:
        path = files.new_path(str(self.directory), self.stamp.pid)
        # Known before the file is: nobody of ours takes it for a leftover.
        self.paths.add(path)
        return path

    def _write(self) -> None:
        pending = self._pending
        while pending:
            kind, payload, events = pending[0]
            if kind == OPEN and not self._open.note(payload):
                pending.popleft()
                continue
            if not self.segments:
                self._roll()
            active = self.segments[-1]
            before = active.tail
            if active.append(kind, payload, events):
                self.backlog += active.tail - before
                self.events += events
                pending.popleft()
                if kind == EVENTS:
                    self._open.ended(payload)
            elif kind != EVENTS:
                # The next segment begins with it; what is open is durable at once.
                if kind == OPEN or active.size < SIZE:
                    self._roll(kind)
                pending.popleft()
            elif len(payload) + RECORD_SIZE > self._room:
                self._divide(payload, events)
            else:
                self._roll()

    def _divide(self, payload: bytes, events: int) -> None:
        """Replace the first payload of the deque, which fits no segment, by its halves; drop it if it is one line."""
        self._pending.popleft()
        middle = payload.rfind(b"\n", 0, len(payload) // 2) + 1 or payload.find(b"\n") + 1
        if events < 2 or not 0 < middle < len(payload):
            self.drop("too large", events)
            return
        lines = payload.count(b"\n", 0, middle)
        self._pending.appendleft((EVENTS, payload[middle:], events - lines))
        self._pending.appendleft((EVENTS, payload[:middle], lines))

    def _roll(self, kind: int = EVENTS) -> None:
        """Begin a new segment: a drained one, a new file, or the oldest, whose events are then lost.

        :param kind: of the record that did not fit.
        """
        active = self.segments[-1] if self.segments else None
        again = active is not None and (self._is_usual(active) or (kind != EVENTS and self._is_small_enough(active)))
        if active is not None and again and not active.waiting:  # full of what is no event
            self.backlog -= active.tail - active.offset
            self._recycle(active)
            return
        segment = self._free.pop() if self._free else self._create() or self._evict()
        self._begin(segment)
        self.segments.append(segment)

    def _begin(self, segment: Segment) -> None:
        self._sequence += 1
        segment.reset(self._sequence)
        segment.append(METADATA, self.metadata, 0)
        for record in self._open.records():
            segment.append(OPEN, record, 0)
        segment.advance(0)
        self._room = SIZE - segment.tail

    def _recycle(self, segment: Segment) -> None:
        """The active segment starts anew where it is, so that a quiet process touches few pages; others wait."""
        segment.unpin()
        if segment is self.segments[-1] and (self._is_usual(segment) or self._is_small_enough(segment)):
            self._begin(segment)
            return
        self.segments.remove(segment)
        self._set_free(segment)

    def _set_free(self, segment: Segment) -> None:
        if self._is_usual(segment):
            segment.release()
            self._free.append(segment)
        else:
            _remove_file(segment)

    def _is_usual(self, segment: Segment) -> bool:
        """Whether it can be used for anything: of full size, and in a file where the others are."""
        in_place = (segment.path is None) == (self.directory is None)
        return type(segment) is Segment and segment.size == SIZE and in_place

    def _is_small_enough(self, segment: Segment | None = None) -> bool:
        """Whether a small segment, or this one, is large enough for now: most of it is left for events."""
        head = len(self.metadata) + sum(map(len, self._open.records()))
        return head < FIRST_SIZE // 2 and (segment is None or segment.size == FIRST_SIZE)

    def _create(self) -> Segment | None:
        if self.directory is not None:
            size = FIRST_SIZE if not self.segments and self._is_small_enough() else SIZE
            if files.usage(self.directory) + size <= self.cap or self._evict_leftovers(self.directory, size):
                path = self._new_path()
                mapping = files.create(path, size)
                if mapping is not None:
                    return Segment(mapping, path, self.stamp)
        in_memory = sum(segment.cost for segment in self.segments if segment.path is None)
        if in_memory >= min(self.cap, MEMORY_CAP):
            return None
        made = Segment(bytearray(SIZE), None, self.stamp)
        usual = (segment for segment in self.segments if segment.path is not None and self._is_usual(segment))
        oldest = next((segment for segment in usual if not segment.pinned), None)
        if oldest is None:
            return made
        # The newest are to be the durable ones.
        made.take(oldest)
        self.segments[self.segments.index(oldest)] = made
        return oldest

    def _evict_leftovers(self, directory: str, size: int) -> bool:
        """Make room at the expense of dead processes, whose events are older than ours; whether that succeeded."""
        while files.usage(directory) + size > self.cap:
            events = leftovers.evict_oldest(directory, self.paths)
            if events is None:
                return False
            self.drop("evicted", events)
        return True

    def _evict(self) -> Segment:
        """Room for a segment at the expense of the oldest ones."""
        while True:
            oldest = next((segment for segment in self.segments if not segment.pinned), None)
            if oldest is None:
                # Everything is in a request just now.
                return Segment(bytearray(SIZE), None, self.stamp)
            self._give_up(oldest, "evicted")
            if self._is_usual(oldest):
                return oldest
            made = self._create()
            if made is not None:
                return made

    def _give_up(self, segment: Segment, reason: str) -> None:
        self.segments.remove(segment)
        self.drop(reason, segment.waiting)
        self.done += segment.waiting
        self.backlog -= segment.tail - segment.offset
        if not self._is_usual(segment):
            _remove_file(segment)

    def drop(self, reason: str, events: int = 1) -> None:
        """Count events that are not, or no longer, here."""
        self.dropped[reason] = self.dropped.get(reason, 0) + events


def _remove_file(segment: Segment) -> None:
    if segment.path is not None:
        files.remove(segment.path)
