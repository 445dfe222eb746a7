"""Container id and Kubernetes pod from ``/proc`` (spec.md 3.2).

Written without :mod:`re`, which many programs never load.
"""

from __future__ import annotations

import posix

_HEX = frozenset("0123456789abcdefABCDEF")
_LARGEST, _PIECE = 1 << 20, 1 << 16


def discover() -> tuple[str | None, str | None]:
    """Return (container id, pod uid) of this process, each None where it is not known."""
    return find(contents("/proc/self/cgroup"), contents("/proc/self/mountinfo"))


def contents(path: str) -> str:
    """Return the text of a small file of the system; empty where there is none to read."""
    try:
        # Python's own files make twice as many system calls, each of which may cost this thread its turn.
        handle = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    found = b""
    try:
        while len(found) < _LARGEST:
            more = posix.read(handle, _PIECE)
            if not more:
                break
            found += more
    except OSError:
        return ""
    finally:
        posix.close(handle)
    return found.decode("utf-8", "replace")


def find(cgroup: str, mountinfo: str) -> tuple[str | None, str | None]:
    """Return (container id, pod uid) from the texts of the two files; what ``cgroup`` says wins."""
    for line in cgroup.splitlines():
        parts = line.strip().split(":", 2)
        if len(parts) == 3:
            container, pod = _in_path(parts[2])
            if container:
                return container, pod
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "/etc/hostname" in line and len(fields) > 3:
            container = _long_hex_run(fields[3])
            if container:
                return container, None
    return None, None


def _in_path(path: str) -> tuple[str | None, str | None]:
    directory, _, base = path.rpartition(":" if ":" in path else "/")
    if base.endswith(".scope"):
        base = base[: -len(".scope")].rpartition("-")[2]
    pod = _pod(directory)
    if pod:
        return base, pod.replace("_", "-")
    return (base, None) if _is_container(base) else (None, None)


def _pod(directory: str) -> str | None:
    """``/kubepods.../pod<uid>`` at the end, or ``kubepods...-pod<uid>.slice`` in one of the directories."""
    above, _, last = directory.rpartition("/")
    if above.startswith("/kubepods") and not any(char.isspace() for char in above):
        name = last[len("pod") :]
        if name and last.startswith("pod"):
            return name
    for part in directory.split("/"):
        start = part.find("kubepods")
        end = part.rfind(".slice")
        pod = part.rfind("-pod", start + len("kubepods"), end - 1) if 0 <= start < end else -1
        if pod >= 0:
            return part[pod + len("-pod") : end]
    return None


def _is_hex(text: str) -> bool:
    return bool(text) and _HEX.issuperset(text)


def _is_container(name: str) -> bool:
    """64 hex digits; a UUID whose last part may be of another length; or the form of ECS and Fargate."""
    parts = name.split("-")
    if not _is_hex(parts[0]):
        return False
    if len(parts) == 1:
        return len(name) == 64
    if len(parts) == 2:
        number = parts[1]
        return len(parts[0]) == 32 and number.isascii() and number.isdigit() and len(number) <= 10
    sizes = [len(part) for part in parts]
    return sizes[:4] == [8, 4, 4, 4] and len(parts) == 5 and sizes[4] >= 4 and all(map(_is_hex, parts))


def _long_hex_run(text: str) -> str | None:
    length = 0
    for end, char in enumerate(text, 1):
        length = length + 1 if char in _HEX else 0
        if length == 64:
            return text[end - 64 : end]
    return None
