"""Where a program tells of what went wrong: its log, and the ends of its threads and tasks (spec 8).

Half of all programs import these modules, and most have nothing to tell. So this imports nothing, and nothing of the
tracer is loaded before there is something to report. A function of ours passes for one of the module that it stands
in: programs look for who has logged by leaving out the frames of that file.
"""

from __future__ import annotations

import sys

from apm_run.guard import failed
from apm_run.instrument.correlation import correlated, watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Protocol

    from apm_run.instrument.correlation import Facts

    class Report(Protocol):
        """Takes what is told."""

        def __call__(self, library: str, error: BaseException | None, *, record: Any = None, scene: Any = None) -> None:
            """Report it; it must not raise.

            :param record: of the log; without one nobody has handled the error.
            :param scene: the frame that has logged, or the context that the error comes from.
            """


#: ``logging.ERROR``.
_ERROR = 40
#: An end that was asked for: neither a failure nor an error.
_ENDS = ("CancelledError", "GeneratorExit", "GreenletExit", "KeyboardInterrupt", "SystemExit")


def _is_error(error: object) -> bool:
    return isinstance(error, BaseException) and (isinstance(error, Exception) or type(error).__name__ not in _ENDS)


# What stands in the other file by its name is not seen here by coverage: it is short.


def _logged(
    original: Callable[..., Any], report: Report, stamp: Callable[[Any], None] | None = None
) -> Callable[..., Any]:
    """Report a record of level ERROR or above, once its handlers have had it: it is formatted by then.

    :param stamp: called with every record before.
    """

    def callHandlers(self: Any, record: Any) -> Any:  # pragma: no cover
        if stamp is not None:
            stamp(record)
        try:
            result = original(self, record)
        except BaseException as error:
            trace = error.__traceback__
            error.__traceback__ = trace and trace.tb_next
            raise
        _record(record, sys._getframe(), report)
        return result

    return callHandlers


def _record(record: Any, scene: Any, report: Report) -> None:
    try:
        if record.levelno >= _ERROR:
            file = scene.f_code.co_filename
            while scene is not None and scene.f_code.co_filename == file:
                scene = scene.f_back
            error = record.exc_info[1] if type(record.exc_info) is tuple else None
            report("logging", error if _is_error(error) else None, record=record, scene=scene)
    except Exception:
        failed("logging: record")


def _died(original: Callable[..., Any], report: Report) -> Callable[..., Any]:
    """Report what ends a thread, before its hook, whichever that is, hears of it."""

    def _make_invoke_excepthook() -> Callable[..., Any]:  # pragma: no cover
        return _hook(original(), report)

    return _make_invoke_excepthook


def _hook(invoke: Callable[..., Any], report: Report) -> Callable[..., Any]:
    def invoke_excepthook(thread: Any) -> Any:
        error = sys.exc_info()[1]
        if _is_error(error):
            report("threading", error)
        return invoke(thread)

    return invoke_excepthook


def _unheard(original: Callable[..., Any], report: Report) -> Callable[..., Any]:
    """Report what an event loop tells its exception handler: nobody else has asked for it."""

    def call_exception_handler(self: Any, context: Any) -> Any:  # pragma: no cover
        _untold(context, report)
        return original(self, context)

    return call_exception_handler


def _untold(told: Any, report: Report) -> None:
    try:
        error = told.get("exception")
        if _is_error(error):
            report("asyncio", error, scene=_context(told))
    except Exception:
        failed("asyncio: context")


def _context(told: dict[str, Any]) -> Any:
    """The context that a callback or, from Python 3.12 on, a task has run in."""
    handle = told.get("handle")
    if handle is not None:
        return getattr(handle, "_context", None)
    get_context = getattr(told.get("task") or told.get("future"), "get_context", None)
    return None if get_context is None else get_context()


#: Module -> the function in it that is told, and what makes one that reports.
PLACES: dict[str, tuple[str, Callable[[Callable[..., Any], Report], Callable[..., Any]]]] = {
    "asyncio.base_events": ("BaseEventLoop.call_exception_handler", _unheard),
    "logging": ("Logger.callHandlers", _logged),
    "threading": ("_make_invoke_excepthook", _died),
}


def listen(module: ModuleType, report: Report, results: dict[str, str], facts: Facts | None = None) -> None:
    """Listen in a module that has just been imported.

    :param results: the table that doctor prints.
    :param facts: what is put on the records of ``logging``.
    """
    path, make = PLACES[module.__name__]
    correlation = correlated(module, facts) if facts is not None and module.__name__ == "logging" else None
    if correlation is None:
        _listen(module, path, lambda original: make(original, report), results)
        return
    stamp = correlation.stamp
    _listen(module, path, lambda original: _logged(original, report, stamp), results)
    _listen(module, "Formatter.__init__", lambda original: watched(original, correlation), results)


def _listen(
    module: ModuleType, path: str, make: Callable[[Callable[..., Any]], Callable[..., Any]], results: dict[str, str]
) -> None:
    holder: Any = module
    *outer, name = path.split(".")
    for each in outer:
        holder = getattr(holder, each, None)
    original: Any = getattr(holder, name, None)
    where = f"{module.__name__}:{path}"
    if getattr(original, "__code__", None) is None:
        results[where] = f"skipped: no {path}"
    else:
        setattr(holder, name, _disguised(make(original), original))
        results[where] = "wrapped"


def _disguised(function: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """A function by all signs of the place it stands in."""
    code, seen = function.__code__, original.__code__
    function.__code__ = code.replace(co_filename=seen.co_filename, co_firstlineno=seen.co_firstlineno)
    for name in ("__module__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(original, name))
    function.__wrapped__ = original  # type: ignore[attr-defined]
    return function
