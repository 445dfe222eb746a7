"""Which module's import loads which instrumentation file. Built-ins are a constant: nothing is scanned at start.

A third party's are found in the namespace folder ``apm_run_instrumentations`` of any path entry, one file per
trigger module: ``apm_run_instrumentations/acme.db.py`` for ``acme.db``, with an ``INSTRUMENTATION`` of its own.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.instrument.vocabulary import Instrumentation

#: Trigger module -> files below ``apm_run.instrumentations``. A test holds it against what the files say.
BUILT_IN: dict[str, tuple[str, ...]] = {
    "fastapi.applications": ("fastapi",),
    "fastapi.routing": ("fastapi",),
    "flask.app": ("flask",),
    "flask.signals": ("flask",),
    "gunicorn.arbiter": ("gunicorn",),
    "gunicorn.workers.base_async": ("gunicorn",),
    "gunicorn.workers.gasgi": ("gunicorn",),
    "gunicorn.workers.gthread": ("gunicorn",),
    "gunicorn.workers.sync": ("gunicorn",),
    "socketserver": ("wsgiref",),
    "sqlite3.dbapi2": ("sqlite3",),
    "starlette.applications": ("starlette",),
    "starlette.routing": ("starlette",),
    "uvicorn.config": ("uvicorn",),
    "uvicorn.main": ("uvicorn",),
    "werkzeug.serving": ("werkzeug",),
    "wsgiref.handlers": ("wsgiref",),
}

_FOLDER = "apm_run_instrumentations"


def triggers() -> dict[str, list[str]]:
    """Trigger module -> what instruments it: the name of a built-in file, or the path of a third party's."""
    found = {module: list(files) for module, files in BUILT_IN.items()}
    for entry in sys.path:
        try:
            names = os.listdir(f"{entry}/{_FOLDER}") if entry else ()
        except OSError:
            continue
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("_"):
                found.setdefault(name[:-3], []).append(f"{entry}/{_FOLDER}/{name}")
    return found


def load(file: str) -> Instrumentation:
    """Load an instrumentation file.

    :param file: as :func:`triggers` names it.
    :raises Exception: whatever a third party's file raises; its failure is its own.
    """
    if not file.endswith(".py"):
        module = __import__(f"apm_run.instrumentations.{file}", fromlist=("INSTRUMENTATION",))
    else:
        from importlib.util import module_from_spec, spec_from_file_location

        name = f"{_FOLDER}.{file.rsplit('/', 1)[1][:-3].replace('.', '_')}"
        spec = spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    instrumentation: Instrumentation = module.INSTRUMENTATION
    return instrumentation
