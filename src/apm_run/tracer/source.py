"""Source lines around a line of code (spec 9): one bounded read of a file, and only the lines wanted are decoded."""

from __future__ import annotations

import os
from _io import open
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: So much of a file is read; so many characters of a line are shown.
_FILE_BYTES = 1_000_000
_LINE = 300


def around(
    path: str, scope: dict[str, Any], lineno: int, count: int, files: dict[str, bytes]
) -> tuple[list[str], str, list[str]] | None:
    """The lines before, the line itself and those after; None where they are not to be had.

    :param scope: globals of the code, whose loader may know the source. :param count: lines in all, 1 or more.
    :param files: what has been read for the same stack.
    """
    data = files.get(path)
    if data is None:
        data = files[path] = _read(path, scope)
    at = lineno - 1
    first = max(0, at - (count - 1) // 2)
    last = at + 1 + (count - 1 - (count - 1) // 2)
    lines = data.split(b"\n", last)[first:last]
    if not data or not 0 <= at - first < len(lines):
        return None
    encoding = _encoding(data)
    shown = [_decoded(line, encoding)[:_LINE] for line in lines]
    return shown[: at - first], shown[at - first], shown[at - first + 1 :]


def _read(path: str, scope: dict[str, Any]) -> bytes:
    """A file, or what its loader (a zip file's, say) gives; nothing where neither has it."""
    data = b""
    try:
        if S_ISREG(os.stat(path).st_mode):  # reading a pipe would take what the program wants to read
            with open(path, "rb") as file:
                data = file.read(_FILE_BYTES)
    except (OSError, ValueError):
        source = getattr(scope.get("__loader__"), "get_source", None)
        if source is not None and not path.startswith("<"):
            try:
                data = (source(scope.get("__name__")) or "").encode("utf-8", "replace")[:_FILE_BYTES]
            except Exception:  # a loader is the program's: what it raises says only that there are no lines
                data = b""
    # As Python counts them, which knows no other ends of lines than these.
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _encoding(data: bytes) -> str:
    """The encoding that a source file declares (PEP 263)."""
    for line in data.split(b"\n", 2)[:2]:
        _, found, rest = line.partition(b"coding")
        if line.lstrip().startswith(b"#") and found and rest[:1] in (b":", b"="):
            return b"".join(rest[1:].split()[:1]).decode("ascii", "replace")
    return "utf-8"


def _decoded(line: bytes, encoding: str) -> str:
    try:
        return line.decode(encoding, "replace")
    except (LookupError, ValueError):  # no such encoding, or none of texts
        return line.decode("utf-8", "replace")
