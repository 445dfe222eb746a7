"""From an exception, or what the program has logged, to the facts of an error event (spec 8)."""

from __future__ import annotations

from apm_run import sanitize
from apm_run.config.wildcard import any_match
from apm_run.tracer import stack
from apm_run.tracer.values import Values, clean, has_text, is_plain, name_of, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import LogRecord
    from types import FrameType
    from typing import Any

    from apm_run.config import Settings

#: How deep causes are followed, and how many there may be in all.
_DEPTH = 10
_TOTAL = 50
#: Characters of a message: the intake cuts it anyway.
_MESSAGE = 20_000

#: Texts of exceptions that are made of their arguments alone.
_OF_ARGS = (BaseException.__str__, KeyError.__str__)
_args = BaseException.__dict__["args"].__get__


class Errors:
    """What error events say under the settings."""

    __slots__ = ("_stacks", "settings")

    def __init__(self, settings: Settings) -> None:
        """:param settings: read at each error."""
        self.settings = settings
        self._stacks = stack.Stacks(settings)

    def dropped(self, error: BaseException) -> bool:
        """Whether ``filter_exception_types`` names its type: it makes no event, and an outcome all the same."""
        filtered = self.settings.filter_exception_types
        if not filtered:
            return False
        module, name = name_of(type(error))
        return any_match(filtered, f"{module}.{name}") or (module == "builtins" and any_match(filtered, name))

    def facts(self, error: BaseException, handled: bool) -> dict[str, Any]:
        """``culprit`` and ``exception`` of an error event: the exception and, nested, what caused it."""
        limit = self.settings.stack_trace_limit
        variables = self._stacks.variables("errors") if limit else None
        raw = stack.of_traceback(error.__traceback__, limit, variables)
        seen: set[int] = set()

        def tree(error: BaseException, depth: int, frames: list[stack.RawFrame]) -> dict[str, Any]:
            seen.add(id(error))
            module, name = name_of(type(error))
            found: dict[str, Any] = {
                "type": name,
                "module": module,
                "message": message(error, self.settings),
                "handled": handled,
                "stacktrace": self._shown(frames),
            }
            causes = [
                tree(cause, depth + 1, stack.of_traceback(cause.__traceback__, limit, variables))
                for cause in _causes(error)
                if depth < _DEPTH and len(seen) < _TOTAL and id(cause) not in seen
            ]
            if causes:
                found["cause"] = causes
            return found

        return {"culprit": self._stacks.culprit(raw), "exception": tree(error, 0, raw)}

    def logged(self, record: LogRecord, frame: FrameType | None) -> dict[str, Any]:
        """``log`` of an error event, and ``culprit`` where there is a stack.

        :param frame: that has logged; None where an exception has a stack of its own.
        """
        settings = self.settings
        secret = sanitize.names(settings.sanitize_field_names)
        template, formatted = self._template(record), self._formatted(record)
        found: dict[str, Any] = {"message": clean(template if formatted is None else formatted[:_MESSAGE], secret)}
        if record.msg is not None:
            found["param_message"] = clean(template[:_MESSAGE], secret)
        for key, value in (("level", record.levelname), ("logger_name", record.name)):
            if type(value) is str:
                found[key] = value.lower() if key == "level" else value
        if frame is None or not settings.auto_log_stacks or not settings.stack_trace_limit:
            return {"log": found}
        raw = stack.of_caller(frame, settings.stack_trace_limit, self._stacks.variables("errors"))
        found["stacktrace"] = self._shown(raw)
        return {"culprit": self._stacks.culprit(raw), "log": found}

    def _template(self, record: LogRecord) -> str:
        """The message before its arguments are put in: what is logged may be any object."""
        return _argument(record.msg, Values(self.settings), 0)

    @staticmethod
    def _formatted(record: LogRecord) -> str | None:
        """The message as a handler has formatted it; else formatted here, if no code of the program's runs for it."""
        found = record.__dict__.get("message")
        if type(found) is str:
            return found
        if not record.args or type(record.msg) is not str or not is_plain(record.args):
            return None
        try:
            return record.msg % record.args
        except (TypeError, ValueError, KeyError):  # logging says so on stderr
            return None

    def _shown(self, frames: list[stack.RawFrame]) -> list[dict[str, Any]]:
        settings = self.settings
        app, library = settings.source_lines_error_app_frames, settings.source_lines_error_library_frames
        return self._stacks.render(frames, app, library)


def message(error: BaseException, settings: Settings) -> str:
    """The text of an exception, without secrets of URLs in it; a stand-in where the program's ``__str__`` fails."""
    return clean(_text(error, Values(settings), 0)[:_MESSAGE], sanitize.names(settings.sanitize_field_names))


def _text(error: BaseException, values: Values, depth: int) -> str:
    """Its own words, where its class has some; else its arguments, as far as their text runs no code of theirs."""
    try:
        if type(error).__str__ not in _OF_ARGS or is_plain(_args(error)):
            return str(error)
        shown = [_argument(argument, values, depth) for argument in _args(error)]
        return shown[0] if len(shown) == 1 else f"({', '.join(shown)})"
    except (Exception, SystemExit):
        return f"<unprintable {name_of(type(error))[1]} object>"


def _argument(argument: object, values: Values, depth: int) -> str:
    if issubclass(type(argument), BaseException):
        return _text(argument, values, depth + 1) if depth < _DEPTH else type_of(argument)  # type: ignore[arg-type]
    if issubclass(type(argument), str):
        return str.__str__(argument)
    # A huge number has a text that Python refuses to write out.
    return str(argument if has_text(argument) and type(argument) is not int else values.of(argument))


def _causes(error: BaseException) -> list[BaseException]:
    """The direct causes: of a group its members, then ``__cause__``, else ``__context__`` unless suppressed."""
    found = [*members(error)]
    if error.__cause__ is not None:
        found.append(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        found.append(error.__context__)
    return found


def members(error: BaseException) -> tuple[BaseException, ...]:
    """What a group holds: one of Python's own (3.11), or of the package that stands in for them before."""
    if all(base.__name__ != "BaseExceptionGroup" for base in type(error).__mro__):
        return ()
    try:
        found = error.exceptions  # type: ignore[attr-defined]
    except Exception:  # a property of the program's
        return ()
    return tuple([member for member in found if isinstance(member, BaseException)]) if type(found) is tuple else ()


def single(error: BaseException) -> BaseException:
    """The only member of a group of one, or of groups of one in it: a task group has put it there."""
    for _ in range(_DEPTH):
        found = members(error)
        if len(found) != 1:
            break
        error = found[0]
    return error
