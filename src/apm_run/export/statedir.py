"""The directory that keeps what is unsent, and who is allowed to be in it (design 5a)."""

from __future__ import annotations

import os
import posix
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOFOLLOW = os.O_CLOEXEC | os.O_NOFOLLOW
_KEY_SIZE = 32


def find(environ: Mapping[str, str]) -> str | None:
    """The first usable directory for the outbox, made if need be; None when there is none."""
    for base in candidates(environ):
        outbox = os.path.join(base, "outbox")
        if _usable(base) and _usable(outbox) and _close(outbox):
            return outbox
    return None


def candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Where to look, best first."""
    own = environ.get("APM_RUN_STATE_DIR")
    if own:
        yield own
    for name, below in (("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", ""), ("HOME", ".local/state")):
        base = environ.get(name, "").partition(":")[0]
        if os.path.isabs(base):
            yield os.path.join(base, below, "apm-run")
    for base in (environ.get("TMPDIR", ""), "/tmp", "/var/tmp"):
        if os.path.isabs(base):
            yield os.path.join(base, f"apm-run-{os.geteuid()}")


def key(directory: str) -> bytes | None:
    """The secret that digests of credentials are made with; shared by the processes of the directory's owner."""
    path = os.path.join(os.path.dirname(directory), "key")
    for _ in range(2):
        known = _read_key(path)
        if known is not None:
            return known
        fresh = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            handle = posix.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o600)
            try:
                posix.write(handle, os.urandom(_KEY_SIZE))
            finally:
                os.close(handle)
            # link, unlike rename, lets the first of two processes win.
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                os.unlink(fresh)
        except OSError:
            return None
    return _read_key(path)


def _read_key(path: str) -> bytes | None:
    try:
        handle = posix.open(path, os.O_RDONLY | NOFOLLOW)
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        mine = info.st_uid == os.geteuid() and stat.S_ISREG(info.st_mode) and not info.st_mode & 0o077
        found = posix.read(handle, _KEY_SIZE) if mine else b""
    except OSError:
        return None
    finally:
        os.close(handle)
    return found if len(found) == _KEY_SIZE else None


def _usable(path: str) -> bool:
    """Whether it is a directory that we own and can write to; one that is missing is made, for nobody else to read."""
    try:
        _make(path)
        info = os.lstat(path)
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and os.access(path, os.W_OK | os.X_OK)
    except (OSError, ValueError):
        return False


def _close(path: str) -> bool:
    """Keep all others out; the directory above may be anybody's meeting place (/tmp), and stays as it is."""
    try:
        if stat.S_IMODE(os.lstat(path).st_mode) != 0o700:
            os.chmod(path, 0o700)
        return True
    except OSError:
        return False


def _make(path: str) -> None:
    if os.path.lexists(path):
        return
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        _make(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
