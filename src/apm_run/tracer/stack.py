"""Stack frames: caught as cheap tuples where something happens, rendered with source lines afterwards (spec 9)."""

from __future__ import annotations

from sys import getrefcount, version_info

from apm_run import sanitize
from apm_run.tracer import paths, source
from apm_run.tracer.values import Values, clean_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Any

    from apm_run.config import Settings

    #: The code, its line, its globals, its local variables as they are shown.
    RawFrame = tuple[CodeType, int, dict[str, Any], "dict[str, Any] | None"]
    Variables = Callable[[FrameType], "dict[str, Any] | None"]

#: Frames that are remembered as they are shown, and files whether they are the program's; the oldest leave first.
_FRAMES = 1024
_PATHS = 2048

_OWN = __file__.rsplit("/", 2)[0] + "/"
#: Of a code object: its local variables are no dictionary (those of a module are its globals, of a class its body).
_OPTIMIZED = 0x1
#: Before 3.13 the local variables of a frame are a copy that the frame keeps.
_COPIES = version_info < (3, 13)


def of_traceback(traceback: TracebackType | None, limit: int, variables: Variables | None = None) -> list[RawFrame]:
    """The frames of a traceback, the innermost first, without ours.

    :param limit: how many of the innermost are kept; negative keeps all.
    :param variables: gives the local variables of a frame that is kept.
    """
    found: list[TracebackType] = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_OWN):
            found.append(traceback)
            if 0 <= limit < len(found) - 1000:
                del found[: len(found) - limit]
        traceback = traceback.tb_next
    found.reverse()
    return [_raw(each.tb_frame, each.tb_lineno, variables) for each in (found if limit < 0 else found[:limit])]


def of_caller(frame: FrameType | None, limit: int, variables: Variables | None = None) -> list[RawFrame]:
    """The frames from this one outwards, the innermost first, without ours."""
    found: list[RawFrame] = []
    while frame is not None and (limit < 0 or len(found) < limit):
        if not frame.f_code.co_filename.startswith(_OWN):
            found.append(_raw(frame, frame.f_lineno, variables))
        frame = frame.f_back
    return found


def _raw(frame: FrameType, lineno: int, variables: Variables | None) -> RawFrame:
    return frame.f_code, lineno, frame.f_globals, None if variables is None else variables(frame)


class Stacks:
    """How stacks are shown under the settings."""

    __slots__ = ("_in_app", "_rendered", "settings")

    def __init__(self, settings: Settings) -> None:
        """Nothing is remembered yet."""
        self.settings = settings
        self._in_app: dict[tuple[str, object], bool] = {}
        # By the code's id, its line and how many lines are shown; the code itself, so that the id stays its own.
        self._rendered: dict[tuple[int, int, int, int], tuple[CodeType, dict[str, Any]]] = {}

    def in_app(self, path: str, module: object) -> bool:
        """Whether code is the program's own."""
        key = (path, module if module.__class__ is str else "")
        found = self._in_app.get(key)
        if found is None:
            settings = self.settings
            found = paths.in_app(path, key[1], settings.include_paths, settings.exclude_paths)
            _remember(self._in_app, key, found, _PATHS)
        return found

    def culprit(self, frames: list[RawFrame]) -> str | None:
        """``module.function`` of the innermost in-app frame, else of the innermost one (spec 8)."""
        for code, _, scope, _ in frames:
            if self.in_app(code.co_filename, scope.get("__name__")):
                return _place(code, scope)
        return _place(frames[0][0], frames[0][2]) if frames else None

    def variables(self, event: str) -> Variables | None:
        """What gives the local variables of frames, within the room of one event; None where none are shown.

        :param event: ``errors`` or ``transactions``, as ``collect_local_variables`` calls them.
        """
        if self.settings.collect_local_variables not in ("all", event):
            return None
        values = Values(self.settings)

        def variables(frame: FrameType) -> dict[str, Any] | None:
            code = frame.f_code
            if not (code.co_flags & _OPTIMIZED and self.in_app(code.co_filename, frame.f_globals.get("__name__"))):
                return None
            namespace = frame.f_locals
            found = values.variables(namespace)
            # The copy would keep what it holds alive beyond its time. Nobody else has it: it is made anew when asked
            # for; what ``exec`` has put there beside the variables stays.
            if _COPIES and getrefcount(namespace) <= 3:
                for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
                    namespace.pop(name, None)
            return found

        return variables

    def render(self, frames: list[RawFrame], app_lines: int, library_lines: int) -> list[dict[str, Any]]:
        """The wire form of frames.

        :param app_lines: how many source lines an in-app frame shows, the context line included; 0 shows none.
        :param library_lines: the same for the others.
        """
        files: dict[str, bytes] = {}
        found = []
        for code, lineno, scope, variables in frames:
            key = (id(code), lineno, app_lines, library_lines)
            known = self._rendered.get(key)
            if known is None or known[0] is not code:
                known = (code, self._render(code, lineno, scope, app_lines, library_lines, files))
                _remember(self._rendered, key, known, _FRAMES)
            frame = dict(known[1])
            if variables:
                frame["vars"] = variables
            found.append(frame)
        return found

    def _render(  # noqa: PLR0917 (a frame and how it is shown)
        self,
        code: CodeType,
        lineno: int,
        scope: dict[str, Any],
        app_lines: int,
        library_lines: int,
        files: dict[str, bytes],
    ) -> dict[str, Any]:
        path = code.co_filename
        module = scope.get("__name__")
        app = self.in_app(path, module)
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
        lines = source.around(path, scope, lineno, count, files) if count > 0 and lineno else None
        if lines is not None:
            secret = sanitize.names(self.settings.sanitize_field_names)
            before, line, after = lines
            frame["pre_context"] = [clean_source(each, secret) for each in before]
            frame["context_line"] = clean_source(line, secret)
            frame["post_context"] = [clean_source(each, secret) for each in after]
        return frame


def _remember(known: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    for oldest in list(known)[: 1 - most] if len(known) >= most else ():
        known.pop(oldest, None)
    known[key] = value


def _place(code: CodeType, scope: dict[str, Any]) -> str:
    return f"{scope.get('__name__') or code.co_filename}.{code.co_name}"


def _relative(path: str, module: object) -> str:
    """The path below the folder that its top-level package is imported from."""
    if isinstance(module, str) and module != "__main__":
        parts = module.count(".") + (2 if path.endswith("/__init__.py") else 1)
        return "/".join(path.rsplit("/", parts)[1:]) or path
    return path.rsplit("/", 1)[-1]
