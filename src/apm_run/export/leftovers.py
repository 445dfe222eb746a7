"""What dead processes left in the outbox's directory: found, sent once, or evicted (design 5a, "Adoption")."""

from __future__ import annotations

import os
import posix
from time import time as _time

from apm_run.export import descriptors, files
from apm_run.export.private import load
from apm_run.export.segment import PACKED, read, read_header
from apm_run.export.statedir import NOFOLLOW
from apm_run.export.stored import Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apm_run.export.segment import Image, Stamp

#: Seconds without a change after which a segment counts as left by a process that cannot be seen from here.
UNSEEN = 300.0
_HEAD = 4096


class Leftovers:
    """The unsent events of one dead process; sent like an outbox."""

    __slots__ = ("metadata", "segments")

    def __init__(self, segments: list[Stored], metadata: bytes) -> None:
        self.segments = segments
        self.metadata = metadata

    @property
    def waiting(self) -> int:
        """Events not answered yet."""
        return sum(segment.waiting for segment in self.segments)

    def batch(self) -> Iterator[tuple[bytes, int]]:
        """What waits, oldest first: (lines, their number)."""
        for segment in list(self.segments):
            if segment.pin():
                yield from segment.lines()
            else:
                self.segments.remove(segment)

    def advance(self, events: int) -> None:
        """The oldest so many events are done with; files that hold nothing more are removed."""
        for segment in list(self.segments):
            events = segment.advance(events)
            if segment.waiting:
                break
            self.segments.remove(segment)
            files.remove(str(segment.path))
            if not events:
                # The next one may not have been read.
                break

    def unpin(self) -> None:
        """The batch is over."""
        for segment in self.segments:
            segment.unpin()


class Adoption:
    """The right to adopt in one directory: one process at a time has it, as long as the block lasts."""

    __slots__ = ("_handle", "_identity", "_path")

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(os.path.dirname(directory), "lock")
        self._handle = -1
        self._identity: tuple[int, int] | None = None

    def __enter__(self) -> bool:
        """Take it, if it is free; whether it was."""
        try:
            self._handle = descriptors.lift(posix.open(self._path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o600))
            self._identity = descriptors.identity(self._handle)
            fcntl = load("fcntl")
            # Unlike flock, not inherited by a child.
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        if self._handle >= 0 and descriptors.identity(self._handle) == self._identity:
            os.close(self._handle)


def find(directory: str, stamp: Stamp, own: set[str]) -> list[Leftovers]:
    """The leftovers with our destination and credentials, by process.

    :param own: paths of this process's own segments.
    """
    found: dict[tuple[object, ...], list[tuple[Image, str, bytes]]] = {}
    for path, image in _dead(directory, own):
        if image.stamp.destination == stamp.destination and image.stamp.credentials == stamp.credentials:
            data = files.read(path) or b""
            whole = read(data)
            if whole is not None:
                left = whole.stamp
                process = (left.pid, left.start, left.namespace, left.boot)
                found.setdefault(process, []).append((whole, path, data))
    return [group for images in found.values() for group in _group(images)]


def _group(images: list[tuple[Image, str, bytes]]) -> Iterator[Leftovers]:
    images.sort(key=lambda one: one[0].sequence)
    packed = {(image.sequence, image.generation) for image, _, _ in images if image.flags & PACKED}
    metadata = None
    segments = []
    for image, path, data in images:
        metadata = image.metadata or metadata
        # Killed after it was packed and before it was emptied: the packed one stands for it.
        double = not image.flags & PACKED and (image.sequence, image.generation) in packed
        segment = Stored(image, path, data, newest=image.sequence == images[-1][0].sequence)
        if segment.waiting and not double:
            segments.append(segment)
        else:
            files.remove(path)
    if segments and metadata is not None:
        yield Leftovers(segments, metadata)


def dead(directory: str) -> set[str]:
    """The segments of dead processes."""
    return {path for path, _ in _dead(directory, set())}


def any_others(directory: str, own: set[str]) -> bool:
    """Whether there are files of other processes, dead or alive."""
    return any(path not in own for path in files.segments(directory))


def evict_oldest(directory: str, own: set[str]) -> int | None:
    """Remove the oldest file that a dead process left; the number of events in it, None when there is none."""
    oldest = min(_dead(directory, own), key=lambda found: _changed(found[0]), default=None)
    if oldest is None:
        return None
    image = read(files.read(oldest[0]) or b"")
    files.remove(oldest[0])
    return image.waiting if image is not None else 0


def _dead(directory: str, own: set[str]) -> Iterator[tuple[str, Image]]:
    boot, namespace = files.boot_id(), files.pid_namespace()
    for path in files.segments(directory):
        if path in own:
            continue
        image = read_header(files.read(path, _HEAD) or b"")
        if image is None:
            if files.age(path, _time()) > UNSEEN:
                files.remove(path)
        elif _is_dead(image.stamp, boot, namespace, lambda path=path: files.age(path, _time())):  # type: ignore[misc]
            yield path, image


def _is_dead(stamp: Stamp, boot: bytes, namespace: int, age: Callable[[], float]) -> bool:
    if any(stamp.boot) and any(boot) and stamp.boot != boot:
        return True
    if stamp.namespace != namespace:
        # In another container, or in one that is gone: a living process touches its files while something waits.
        return age() > UNSEEN
    if stamp.pid == os.getpid():
        # Not one of our own: made before this process became another program, or before its pid was ours.
        return True
    if stamp.start:
        return files.start_time(stamp.pid) != stamp.start
    try:
        os.kill(stamp.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _changed(path: str) -> float:
    return -files.age(path, _time())
