"""Stack frames: caught as cheap triples on the hot path, rendered with their source lines afterwards (spec 9)."""

from __future__ import annotations

import os
from _io import open
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType
    from typing import Any

    RawFrame = tuple[CodeType, int, dict[str, Any]]

#: Files whose lines are kept, the oldest leaving first; a file over the size is not read.
_FILES = 32
_FILE_BYTES = 1_000_000
_LINE = 300
_sources: dict[str, list[str]] = {}

_OWN = __file__.rsplit("/", 2)[0] + "/"
_LIBRARY_PARTS = ("/site-packages/", "/dist-packages/")
_STDLIB = getattr(os, "__file__", "<frozen>/os.py").rsplit("/", 1)[0] + "/"


def of_traceback(traceback: TracebackType | None, limit: int) -> list[RawFrame]:
    """The frames of a traceback, the innermost first, without ours.

    :param limit: how many of the innermost are kept; negative keeps all.
    """
    found: list[RawFrame] = []
    while traceback is not None:
        frame = traceback.tb_frame
        found.append((frame.f_code, traceback.tb_lineno, frame.f_globals))
        if 0 <= limit < len(found) - 1000:
            del found[: len(found) - limit]
        traceback = traceback.tb_next
    found.reverse()
    return _theirs(found, limit)


def of_caller(frame: FrameType | None, limit: int) -> list[RawFrame]:
    """The frames from this one outwards, the innermost first, without ours."""
    found: list[RawFrame] = []
    while frame is not None and (limit < 0 or len(found) < limit + 20):
        found.append((frame.f_code, frame.f_lineno, frame.f_globals))
        frame = frame.f_back
    return _theirs(found, limit)


def _theirs(found: list[RawFrame], limit: int) -> list[RawFrame]:
    kept = [raw for raw in found if not raw[0].co_filename.startswith(_OWN)]
    return kept if limit < 0 else kept[:limit]


def in_app(filename: str) -> bool:
    """Whether a file is the program's own: neither the standard library nor installed."""
    if filename.startswith("<") or any(part in filename for part in _LIBRARY_PARTS):
        return False
    return not filename.startswith(_STDLIB)


def culprit(frames: list[RawFrame]) -> str | None:
    """``module.function`` of the innermost in-app frame, else of the innermost one (spec 8)."""
    for code, _, scope in frames:
        if in_app(code.co_filename):
            return f"{scope.get('__name__') or code.co_filename}.{code.co_name}"
    if frames:
        code, _, scope = frames[0]
        return f"{scope.get('__name__') or code.co_filename}.{code.co_name}"
    return None


def render(frames: list[RawFrame], app_lines: int, library_lines: int) -> list[dict[str, Any]]:
    """The wire form of frames.

    :param app_lines: how many source lines an in-app frame shows, the context line included; 0 shows none.
    :param library_lines: the same for the others.
    """
    return [_render(code, lineno, scope, app_lines, library_lines) for code, lineno, scope in frames]


def _render(code: CodeType, lineno: int, scope: dict[str, Any], app_lines: int, library_lines: int) -> dict[str, Any]:
    path = code.co_filename
    app = in_app(path)
    module = scope.get("__name__")
    frame: dict[str, Any] = {
        "filename": _relative(path, module),
        "abs_path": path,
        "function": code.co_name,
        "lineno": lineno,
        "library_frame": not app,
    }
    if isinstance(module, str):
        frame["module"] = module
    count = app_lines if app else library_lines
    lines = _lines(path, scope) if count > 0 and lineno else None
    if lines and lineno <= len(lines):
        before = (count - 1) // 2
        at = lineno - 1
        frame["context_line"] = lines[at][:_LINE]
        frame["pre_context"] = [line[:_LINE] for line in lines[max(0, at - before) : at]]
        frame["post_context"] = [line[:_LINE] for line in lines[at + 1 : at + 1 + (count - 1 - before)]]
    return frame


def _relative(path: str, module: object) -> str:
    """The path below the folder that its top-level package is imported from."""
    if isinstance(module, str) and module != "__main__":
        parts = module.count(".") + (2 if path.endswith("/__init__.py") else 1)
        return "/".join(path.rsplit("/", parts)[1:]) or path
    return path.rsplit("/", 1)[-1]


def _lines(path: str, scope: dict[str, Any]) -> list[str]:
    found = _sources.get(path)
    if found is None:
        found = _read(path, scope)
        for oldest in list(_sources)[: 1 - _FILES]:
            _sources.pop(oldest, None)
        _sources[path] = found
    return found


def _read(path: str, scope: dict[str, Any]) -> list[str]:
    """Lines of a file, or of what its loader (a zip file's, say) gives; none where neither has them."""
    text = ""
    try:
        if S_ISREG(os.stat(path).st_mode):  # reading a pipe would take what the program wants to read
            with open(path, "rb") as file:
                text = _decoded(file.read(_FILE_BYTES))
    except (OSError, ValueError):
        source = getattr(scope.get("__loader__"), "get_source", None)
        if source is not None and not path.startswith("<"):
            try:
                text = source(scope.get("__name__")) or ""
            except Exception:  # a loader is the program's: what it raises says only that there are no lines
                text = ""
    # As Python counts them, which knows no other ends of lines than these.
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    # Only where lines are huge are they cut before they are kept: a look at each takes as long as all the rest.
    return lines if len(text) < _LINE * len(lines) else [line[:_LINE] for line in lines]


def _decoded(data: bytes) -> str:
    """The text of a source file, by its encoding declaration (PEP 263)."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    name = "utf-8"
    for line in data.split(b"\n", 2)[:2]:
        _, found, rest = line.partition(b"coding")
        if line.lstrip().startswith(b"#") and found and rest[:1] in (b":", b"="):
            name = b"".join(rest[1:].split()[:1]).decode("ascii", "replace")
            break
    try:
        return data.decode(name, "replace")
    except LookupError:
        return data.decode("utf-8", "replace")
