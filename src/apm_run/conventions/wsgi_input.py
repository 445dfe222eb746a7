"""``wsgi.input`` of a request whose body is shown: what the program reads from it is noted on the way (spec 22)."""

from __future__ import annotations

from apm_run.guard import failed
from apm_run.instrument.wrap import hide_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from apm_run.conventions.body import Body

#: Methods that give what they have read; others fill a buffer and say how far.
_GIVING = ("read", "read1", "readline", "readlines")
_FILLING = ("readinto", "readinto1")


class Input:
    """The server's object in all but its type: it has what that has, and is an instance of the same class."""

    __slots__ = ("_input_at", "_input_body", "_input_kept", "_input_original")

    def __init__(self, original: Any, body: Body) -> None:
        """:param body: where to note what is read."""
        put = object.__setattr__
        put(self, "_input_original", original)
        put(self, "_input_body", body)
        #: How far the program is, and how far what was noted reaches: a body that is read again is the same one.
        put(self, "_input_at", 0)
        put(self, "_input_kept", 0)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self._input_original.__class__

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._input_original, name)
        if name in _GIVING:
            return _watched(self, found, _note)
        if name in _FILLING:
            return _watched(self, found, _note_filled)
        if name == "seek":
            return _sought(self, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._input_original, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._input_original, name)

    def __dir__(self) -> list[str]:
        return dir(self._input_original)

    def __iter__(self) -> Iterator[bytes]:
        try:
            lines = iter(self._input_original)
        except BaseException as error:
            hide_frame(error)
            raise
        return self if lines is self._input_original else _lines(self, lines)

    def __next__(self) -> bytes:
        try:
            line: bytes = next(self._input_original)
        except BaseException as error:
            hide_frame(error)
            raise
        _note(self, line)
        return line

    def __enter__(self) -> Any:
        entered = self._input_original.__enter__()
        return self if entered is self._input_original else entered

    def __exit__(self, *raised: object) -> Any:
        return self._input_original.__exit__(*raised)

    def __eq__(self, other: object) -> bool:
        return bool(self._input_original == (other._input_original if type(other) is Input else other))

    def __hash__(self) -> int:
        return hash(self._input_original)

    def __bool__(self) -> bool:
        return bool(self._input_original)

    def __repr__(self) -> str:
        return repr(self._input_original)


def _lines(seen: Input, lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        _note(seen, line)
        yield line


def _watched(seen: Input, method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    def reading(*args: Any, **kwargs: Any) -> Any:
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        note(seen, result, *args[:1])
        return result

    return reading


def _note(seen: Input, read: Any, *_: Any) -> None:
    """Note bytes, or lines of them, that the program has got."""
    try:
        for data in read if isinstance(read, list) else (read,):
            if isinstance(data, (bytes, bytearray, memoryview)):
                _advance(seen, data)
    except Exception:
        failed("wsgi: input")


def _note_filled(seen: Input, count: Any, buffer: Any = None) -> None:
    """Note what was read into a buffer of the program's."""
    try:
        if count and buffer is not None:
            _advance(seen, bytes(memoryview(buffer).cast("B")[: min(count, max(seen._input_body.room, 0))]), count)
    except Exception:
        failed("wsgi: input")


def _advance(seen: Input, data: Any, count: int | None = None) -> None:
    put = object.__setattr__
    start, kept = seen._input_at, seen._input_kept
    end = start + (len(data) if count is None else count)
    put(seen, "_input_at", end)
    if start <= kept < end:  # what lies behind a gap is not noted
        seen._input_body.add(data[kept - start :])
        put(seen, "_input_kept", end)


def _sought(seen: Input, seek: Callable[..., Any]) -> Callable[..., Any]:
    def seeking(*args: Any, **kwargs: Any) -> Any:
        before = _position(seen._input_original)
        try:
            result = seek(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        after = _position(seen._input_original)
        # Where it can not tell where it is, nothing more is noted.
        known = before is not None and after is not None
        at = seen._input_at + after - before if known else -1
        object.__setattr__(seen, "_input_at", at if at >= 0 else 1 << 62)
        return result

    return seeking


def _position(original: Any) -> int | None:
    try:
        return int(original.tell())
    except Exception:  # it need not have one
        return None
