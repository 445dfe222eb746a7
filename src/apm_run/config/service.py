"""The name of the service where no option gives it: from the way the program was started.

What counts is the name people would say: of a package, a script, a console script, or of the application
that a server was told to run. Names that say nothing (``app.py``, ``main:app``, ``src/``) give way to the
directory that holds them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What the agents of Elastic call a service they cannot name (spec.md section 3).
UNKNOWN = "unknown-python-service"

_LONGEST = 1024
_ENDINGS = ("-script.py", ".py", ".pyc", ".pyw", ".pyz", ".pex", ".exe")
#: Names of scripts and modules that say nothing about the service; in the second set those of applications.
_FILES = frozenset(("__main__", "app", "asgi", "main", "manage", "wsgi"))
_MODULES = _FILES | {"application", "celery", "celery_app", "celeryapp", "server", "tasks", "web"}
# fmt: off
_DIRECTORIES = frozenset((
    "app", "bin", "code", "home", "opt", "root", "scripts", "src", "srv", "tmp", "usr", "users", "var",
    "workspace", "www",
))
#: Programs that run the application named in their arguments.
_SERVERS = frozenset((
    "arq", "celery", "daphne", "dramatiq", "fastapi", "flask", "granian", "gunicorn", "hypercorn", "uvicorn",
    "waitress", "waitress-serve",
))
# fmt: on
#: Those whose positional arguments are words of their own, so that only an option names the application.
_COMMANDS = frozenset(("celery", "flask"))
#: Options of servers whose value is a dotted name that is not the application.
_CLASSES = ("-k", "--worker-class", "--logger-class")


def detect_service(
    argv: Sequence[str],
    main_path: str | None,
    cwd: str,
    environ: Mapping[str, str],
    module: str | None = None,
) -> tuple[str, str | None]:
    """Name the program.

    :param argv: ``sys.argv``.
    :param main_path: ``__main__.__file__``, if there is one.
    :param cwd: the working directory; it may be empty.
    :param environ: the environment (``FLASK_APP``).
    :param module: ``__main__.__spec__.name`` of a program started with ``-m``.
    :return: a name that APM Server takes, and the version that the project file beside the program gives.
    """
    first = argv[0] if argv else ""
    path = main_path or first
    if not path or path == "<stdin>" or first in {"-c", "-"}:
        return "python", None
    path = os.path.normpath(os.path.join(cwd, path))
    program = _program(path, module)
    if program in _SERVERS:
        name, directory = _application(program, list(argv[1:]), cwd, environ), cwd
    elif module is not None:
        directory = os.path.dirname(path)
        name = _of_module(module, directory, _FILES)
    elif _is_console_script(path):
        return _named(program), None
    else:
        directory = os.path.dirname(path)
        name = _of_directory(directory, program) if program in _FILES else program
    return _named(name), _version(directory)


def clean(name: str) -> str:
    """Return ``name`` as APM Server takes it: ``^[a-zA-Z0-9 _-]{1,1024}$``; never empty."""
    text = "".join([char if char.isascii() and (char.isalnum() or char in " _-") else "_" for char in name])
    return text[:_LONGEST] or UNKNOWN


def _named(name: str) -> str:
    text = clean(name).strip()
    return text if any(char.isalnum() for char in text) else UNKNOWN


def _stem(path: str) -> str:
    name = os.path.basename(path)
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _program(path: str, module: str | None) -> str:
    """Return the name of a console script, or of the package or script that runs."""
    if module is not None and module.endswith(".__main__"):
        return module[: -len(".__main__")]
    return module or _stem(path)


def _is_console_script(path: str) -> bool:
    return os.path.basename(os.path.dirname(path)) in {"bin", "sbin", "Scripts"}


def _of_directory(directory: str, otherwise: str) -> str:
    """Return the name of the nearest directory that says something; the nearest one if none does."""
    nearest = os.path.basename(directory)
    for _ in range(3):
        parent, name = os.path.split(directory)
        owner = os.path.basename(parent).lower() in {"home", "users"}
        if name and name.lower() not in _DIRECTORIES and not owner:
            return _stem(name)
        directory = parent
    return nearest or otherwise


def _of_module(module: str, directory: str, generic: frozenset[str]) -> str:
    """Return a dotted name without the ``generic`` parts at its end; if none is left, of ``directory``."""
    parts = [part for part in module.split(".") if part]
    while parts and parts[-1].lower() in generic:
        parts.pop()
    while parts and parts[0].lower() == "src":
        parts.pop(0)
    return "-".join(parts) or _of_directory(directory, module)


def _application(program: str, arguments: list[str], cwd: str, environ: Mapping[str, str]) -> str:
    """Name the application that the server ``program`` runs."""
    target = _target(program, arguments) or (environ.get("FLASK_APP", "") if program == "flask" else "")
    target = target.partition(":")[0]
    if not target:
        return _of_directory(cwd, program)
    if target.endswith(".py") or "/" in target:
        path = os.path.join(cwd, target)
        stem = _stem(path)
        return _of_directory(os.path.dirname(path), stem) if stem in _FILES else stem
    return _of_module(target, cwd, _MODULES)


def _target(program: str, arguments: list[str]) -> str:
    """Find ``module:attribute``, ``module`` or a path among the arguments of a server."""
    for index, argument in enumerate(arguments):
        if argument in {"-A", "--app"} and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--app="):
            return argument[len("--app=") :]
    for argument in arguments:
        module, colon, attribute = argument.partition(":")
        if colon and _is_dotted(module) and attribute[:1].isidentifier():
            return argument
    if program in _COMMANDS:
        return ""
    before = ""
    for argument in arguments:
        # A lone flag before the application looks like an option before its value: there only a dotted name counts.
        option = before.startswith("-") and "=" not in before
        before_application = not option or ("." in argument and argument is arguments[-1] and before not in _CLASSES)
        if before_application and _names_application(program, argument):
            return argument
        before = argument
    return ""


def _names_application(program: str, argument: str) -> bool:
    script = argument.endswith(".py")
    return script if program == "fastapi" else _is_dotted(argument) and not script


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _version(directory: str) -> str | None:
    """Look for a version in the project file of ``directory`` or of the two above it."""
    for _ in range(3):
        for name, sections in (("pyproject.toml", _PYPROJECT), ("setup.cfg", _SETUP)):
            text = _text(os.path.join(directory, name))
            if text is not None:
                return _version_in(text, sections)
        directory = os.path.dirname(directory)
    return None


_PYPROJECT = ("[project]", "[tool.poetry]")
_SETUP = ("[metadata]",)


def _text(path: str) -> str | None:
    try:
        if not os.path.isfile(path):
            return None
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(65_536)
    except OSError:
        return None


def _version_in(text: str, sections: tuple[str, ...]) -> str | None:
    here = False
    for line in text.splitlines():
        entry = line.strip()
        if entry.startswith("["):
            here = entry in sections
        elif here:
            key, equals, value = entry.partition("=")
            if equals and key.strip() == "version":
                value = value.partition("#")[0].strip().strip("\"'")
                # setup.cfg may refer to a file or attribute; only a version itself is of use.
                return value if value[:1].isalnum() and ":" not in value else None
    return None
