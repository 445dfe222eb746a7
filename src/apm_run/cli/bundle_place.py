"""How a bundle comes to its place: whole or not at all, the same bytes every time, readable by everyone.

The new one is made beside the place and exchanged with what is there. Where that can not be (a mount point, a
parent that is not ours to write), it is made inside and ``apm-run-copy`` puts it in place: without the bootstrap
first, which comes last and at once. A bundle without it is one that does nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time

#: The file that says that a directory is a bundle, and what is in it.
MARKER = "apm-run-bundle.json"
ENTRY = "bin/apm-run"
COPY = "bin/apm-run-copy"
#: The file that makes a bundle work.
LAST = "apm_run/_bootstrap/sitecustomize.py"

#: 1980-01-01: the earliest that every archive format can hold.
_TIME = 315532800
#: How names of directories in the making begin; the shell script has the same.
_NEW = ".apm-run-new-"
#: Seconds after which one that nobody holds is a leftover of a process that was killed.
_LEFTOVER = 600
_NO_BUNDLE = f"holds other things and is no bundle of apm-run (no {MARKER}): name a new directory, or empty it"


class Refused(Exception):
    """The directory can not be a bundle; the message says what to do."""


def check(directory: str) -> None:
    """Raise Refused where a bundle must not be written."""
    if not os.path.lexists(directory):
        return
    if not os.path.isdir(directory):
        raise Refused(f"DIR: {directory}: is a file or leads nowhere; name a directory")
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise Refused(f"DIR: {directory}: {(error.strerror or '').lower()}; name a directory of your own") from None
    if MARKER in names:
        return
    if any(name != "lost+found" and not name.startswith(_NEW) for name in names):
        raise Refused(f"DIR: {directory}: {_NO_BUNDLE}")


def version(interpreter: str) -> tuple[int, int] | None:
    """Return the version of a CPython; None for what is none."""
    if interpreter == sys.executable:
        return sys.version_info[:2]
    code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    try:
        done = subprocess.run(
            [interpreter, "-I", "-S", "-c", code],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        name, major, minor = done.stdout.split()
        return (int(major), int(minor)) if name == b"cpython" else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def place(directory: str, files: dict[str, bytes], interpreters: list[str]) -> None:
    """Make ``directory`` a bundle of ``files``.

    :param files: path inside -> content.
    :param interpreters: whose bytecode to add.
    :raises Refused: something else is there.
    :raises OSError: it can not be written.
    """
    directory = os.path.realpath(directory)
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    inside = os.path.ismount(directory) or (os.path.isdir(directory) and not os.access(parent, os.W_OK | os.X_OK))
    base = directory if inside else parent
    if not inside:
        _clear(base)
    new = tempfile.mkdtemp(prefix=_NEW, dir=base)
    handle = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle)
        _write(new, files, interpreters)
        if inside:
            _copy(new, directory)
        else:
            _exchange(new, directory)
    finally:
        os.close(handle)
        shutil.rmtree(new, ignore_errors=True)


def _write(root: str, files: dict[str, bytes], interpreters: list[str]) -> None:
    for path, content in files.items():
        _file(os.path.join(root, path), content)
    for interpreter in interpreters:
        _compile(root, interpreter)
    scripts = {os.path.join(root, path) for path in (ENTRY, COPY)}
    for folder, _folders, names in os.walk(root, topdown=False):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            os.chmod(path, 0o755 if path in scripts or path == folder else 0o644)
            os.utime(path, (_TIME, _TIME))


def _file(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def _compile(root: str, interpreter: str) -> None:
    """Add one interpreter's bytecode: such as is never compared with the source's time, for a copy has another."""
    packages = sorted(name for name in os.listdir(root) if os.path.exists(os.path.join(root, name, "__init__.py")))
    subprocess.run(
        [
            *(interpreter, "-s", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
            *packages,
        ],
        cwd=root,
        env={"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", os.defpath)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # what a version can not compile it can not run either: the sources are all there
    )


def _exchange(new: str, directory: str) -> None:
    """Give ``new`` the name ``directory``; what was there has the name ``new`` then."""
    for _ in range(10):
        check(directory)
        try:
            os.rename(new, directory)
            return
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        check(directory)
        if _swap(new, directory):
            return
        old = f"{new}.old"
        try:
            os.rename(directory, old)
        except FileNotFoundError:
            continue  # another is between these two steps
        try:
            os.rename(new, directory)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                os.rename(old, directory)
                raise
            continue
        finally:
            shutil.rmtree(old, ignore_errors=True)
        return
    raise Refused(f"DIR: {directory}: others keep writing it; run apm-run bundle again when they are done")


def _swap(one: str, other: str) -> bool:
    """Exchange two names at once; False where the system can not."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd, exchange = -100, 2
    return bool(rename(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0)


def _copy(new: str, directory: str) -> None:
    done = subprocess.run(
        ["/bin/sh", os.path.join(new, COPY), directory], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        message = done.stderr.decode(errors="backslashreplace").strip()
        raise Refused(message.removeprefix("apm-run-copy: ") or f"DIR: {directory}: copying failed")


def _clear(base: str) -> None:
    """Remove what killed processes have left in ``base``."""
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if not name.startswith(_NEW):
            continue
        try:
            if time.time() - os.lstat(path).st_ctime < _LEFTOVER:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _lock(handle):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another has it, or the file system knows no locks
        return False
    return True
