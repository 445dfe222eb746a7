"""From an exception to the facts of an error event (spec 8)."""

from __future__ import annotations

from apm_run.tracer import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How deep causes are followed, and how many there may be in all.
_DEPTH = 10
_TOTAL = 50


def facts(error: BaseException, handled: bool, *, limit: int, app_lines: int, library_lines: int) -> dict[str, Any]:
    """``culprit`` and ``exception`` of an error event: the exception and, nested, what caused it.

    :param limit: frames kept of each; :param app_lines: source lines of an in-app frame;
    :param library_lines: of another.
    """
    raw = stack.of_traceback(error.__traceback__, limit)
    seen: set[int] = set()

    def tree(error: BaseException, depth: int, frames: list[stack.RawFrame]) -> dict[str, Any]:
        seen.add(id(error))
        kind = type(error)
        found: dict[str, Any] = {
            "type": kind.__qualname__,
            "module": kind.__module__,
            "message": message(error),
            "handled": handled,
            "stacktrace": stack.render(frames, app_lines, library_lines),
        }
        causes = [
            tree(cause, depth + 1, stack.of_traceback(cause.__traceback__, limit))
            for cause in _causes(error)
            if depth < _DEPTH and len(seen) < _TOTAL and id(cause) not in seen
        ]
        if causes:
            found["cause"] = causes
        return found

    return {"culprit": stack.culprit(raw), "exception": tree(error, 0, raw)}


def message(error: BaseException) -> str:
    """``str(error)``, or a stand-in where the program's ``__str__`` fails."""
    try:
        return str(error)
    except Exception:
        return f"<unprintable {type(error).__name__} object>"


def _causes(error: BaseException) -> list[BaseException]:
    """The direct causes: of a group its members, then ``__cause__``, else ``__context__`` unless suppressed."""
    found: list[BaseException] = []
    try:
        members = getattr(error, "exceptions", None)
    except Exception:  # a property of the program's
        members = None
    if isinstance(members, (list, tuple)):
        found += [member for member in members if isinstance(member, BaseException)]
    if error.__cause__ is not None:
        found.append(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        found.append(error.__context__)
    return found
