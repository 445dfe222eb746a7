"""uWSGI: it looks applications up in the modules that its options name, and calls them from C."""

from __future__ import annotations

from apm_run.conventions import wsgi
from apm_run.instrument.vocabulary import Claim, Instrumentation, Learn, Serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def applications(options: dict[str, Any]) -> tuple[Serve, ...]:
    """Where its applications are: option ``mount`` has a file or a module behind the equals sign."""
    name = (_texts(options, "callable") or ["application"])[-1]
    files = _texts(options, "wsgi-file") + _texts(options, "file")
    modules = _texts(options, "module") + _texts(options, "wsgi")
    for mounted in _texts(options, "mount"):
        what = mounted.partition("=")[2]
        (files if what.endswith((".py", ".wsgi")) else modules).append(what)
    found = [f"uwsgi_file_{_module(file)}:{name}" for file in files]
    found += [module if ":" in module else f"{module}:{name}" for module in modules if module]
    return tuple(
        Serve(path.removesuffix("()"), wsgi, result=path.endswith("()"), itself=not path.endswith("()"))
        for path in dict.fromkeys(found)
    )


def _texts(options: dict[str, Any], name: str) -> list[str]:
    values = options.get(name, [])
    return [value.decode() for value in (values if isinstance(values, list) else [values])]


def _module(file: str) -> str:
    """The name of the module that it makes of a file."""
    return file.removesuffix(".py").replace(".", "_").replace("/", "_")


INSTRUMENTATION = Instrumentation(
    library="pyuwsgi",
    versions="2.0",
    targets=(Claim("pyuwsgi:run"), Learn("uwsgi:opt", applications)),
)
