"""The files behind segments, and what the machine says about this process."""

from __future__ import annotations

import os
import posix
import stat

from apm_run.export import descriptors
from apm_run.export.private import load
from apm_run.export.segment import SIZE, Stamp
from apm_run.export.statedir import NOFOLLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap

SUFFIX = ".seg"
_NEW = os.O_CREAT | os.O_EXCL | NOFOLLOW


def new_path(directory: str, pid: int) -> str:
    """Where a new segment file goes. Its name says nothing but who made it."""
    return os.path.join(directory, f"{pid}-{os.urandom(6).hex()}{SUFFIX}")


def create(path: str, size: int = SIZE) -> mmap | None:
    """A new segment file, mapped, all its bytes allocated; None when the disk will not have it."""
    try:
        handle = descriptors.lift(posix.open(path, _NEW | os.O_RDWR, 0o600))
    except OSError:
        return None
    try:
        # A sparse file on a full disk would kill the program with SIGBUS.
        os.posix_fallocate(handle, 0, size)
        return _map(handle, size)
    except (OSError, ValueError):
        remove(path)
        return None
    finally:
        os.close(handle)


def write(path: str, *parts: tuple[int, bytes]) -> bool:
    """A new file with those bytes at those places, in that order; False when the disk will not have it."""
    try:
        handle = descriptors.lift(posix.open(path, _NEW | os.O_WRONLY, 0o600))
    except OSError:
        return False
    try:
        for place, data in parts:
            _write_all(handle, data, place)
        return True
    except OSError:
        remove(path)
        return False
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, place)
        view = view[done:]
        place += done


def overwrite(path: str, data: bytes, place: int) -> None:
    """Replace bytes of a file, if it is there."""
    try:
        handle = descriptors.lift(posix.open(path, os.O_WRONLY | NOFOLLOW))
    except OSError:
        return
    try:
        os.pwrite(handle, data, place)
    except OSError:
        pass
    finally:
        os.close(handle)


def read(path: str, size: int = 2 * SIZE) -> bytes | None:
    """The first so many bytes of a segment file; None when it is gone, not ours or no file."""
    try:
        handle = descriptors.lift(posix.open(path, os.O_RDONLY | NOFOLLOW | os.O_NONBLOCK))
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            return None
        return os.pread(handle, size, 0)
    except OSError:
        return None
    finally:
        os.close(handle)


def segments(directory: str) -> list[str]:
    """The segment files in that directory, of whatever process."""
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(SUFFIX)]
    except OSError:
        return []


def age(path: str, now: float) -> float:
    """Seconds since the file was last changed or touched; 0.0 when it is gone."""
    try:
        return now - os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def touch(path: str) -> None:
    """Show whoever cannot see this process that it lives."""
    try:
        os.utime(path, follow_symlinks=False)
    except OSError:
        pass


def _map(handle: int, size: int) -> mmap:
    library = load("mmap")
    try:
        # From 3.13 on a mapping need not hold a descriptor.
        mapping: mmap = library.mmap(handle, size, trackfd=False)
    except TypeError:
        taken = descriptors.mind_low(handle)
        mapping = library.mmap(handle, size)
        for number in taken:
            os.close(number)
    descriptors.keep(mapping)
    return mapping


def remove(path: str) -> None:
    """Unlink, if it is still there."""
    try:
        os.unlink(path)
    except OSError:
        pass


def usage(directory: str) -> int:
    """Bytes that the segments of all processes take in that directory."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total


def stamp_of_this_process(credentials: bytes, destination: bytes) -> Stamp:
    """The stamp of this process, as of now."""
    return Stamp(
        pid=os.getpid(),
        start=start_time("self"),
        namespace=pid_namespace(),
        boot=boot_id(),
        credentials=credentials,
        destination=destination,
    )


def start_time(pid: int | str) -> int:
    """When that process started, in clock ticks since boot; 0 when there is none or it cannot be told."""
    try:
        # The name of the program, in parentheses, may contain anything.
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        # A zombie does nothing any more.
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0


def pid_namespace() -> int:
    """The inode of our pid namespace: pids mean something within it only. 0 when it cannot be told."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def boot_id() -> bytes:
    """16 bytes that differ from one start of the machine to the next; zeros when it cannot be told."""
    try:
        return bytes.fromhex(_read("/proc/sys/kernel/random/boot_id").decode().replace("-", "").strip())[:16]
    except (OSError, ValueError):
        return bytes(16)


def _read(path: str) -> bytes:
    handle = posix.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return posix.read(handle, 4096)
    finally:
        os.close(handle)
