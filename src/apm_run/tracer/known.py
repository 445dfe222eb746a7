"""Which exceptions are reported already, without keeping them alive nor what their frames hold (spec 8)."""

from __future__ import annotations

from _weakref import ref

from apm_run.tracer.errors import single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: More exceptions than these are hardly on their way at once.
_KNOWN = 256
#: Arguments that may be kept beyond the exception.
_SMALL: tuple[type, ...] = (int, float, bool, type(None))
_LONG = 1000

_args = BaseException.__dict__["args"].__get__
_dict: Any = BaseException.__dict__["__dict__"]


class Known:
    """Which exceptions are reported, by marks that keep neither them alive nor what they hold."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        """None is."""
        self._marks: dict[int, tuple[object, str]] = {}

    def find(self, error: BaseException) -> str | None:
        """The id of the event that has reported an exception; the only member of a group counts as the group."""
        for each in (error, single(error)):
            mark, event = self._marks.get(id(each), (None, ""))
            if mark is not None and _bears(each, mark):
                return event
        return None

    def add(self, error: BaseException, event: str) -> None:
        """An exception is reported by an event."""
        marks = self._marks
        for oldest in list(marks)[: 1 - _KNOWN] if len(marks) >= _KNOWN else ():
            marks.pop(oldest, None)
        marks[id(error)] = (_mark(error), event)


class _Sign(dict):  # type: ignore[type-arg]
    """The attributes of an exception, as a dictionary that can be referred to weakly."""

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> Any:  # a pickle is read where we are not
        return dict, (dict(self),)


def _mark(error: BaseException) -> object:
    """What tells an exception from every other, those that come to lie at its address included."""
    try:
        return ref(error)
    except TypeError:  # Python's own types
        arguments = _args(error)
    if arguments and all(type(each) in _SMALL or (type(each) is str and len(each) < _LONG) for each in arguments):
        return arguments
    sign = _Sign(_dict.__get__(error))
    _dict.__set__(error, sign)
    return ref(sign)


def _bears(error: BaseException, mark: Any) -> bool:
    if type(mark) is tuple:
        return _args(error) is mark
    found = mark()
    return found is error or (type(found) is _Sign and _dict.__get__(error) is found)
