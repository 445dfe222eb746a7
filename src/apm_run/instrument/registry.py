"""Which module's import loads which instrumentation file. Built-ins are a constant: nothing is scanned at start.

A third party's are found in the namespace folder ``apm_run_instrumentations`` of any path entry, one file per
trigger module: ``apm_run_instrumentations/acme.db.py`` for ``acme.db``, with an ``INSTRUMENTATION`` of its own.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.instrument.vocabulary import Instrumentation

#: Trigger module -> files below ``apm_run.instrumentations``. A test holds it against what the files say.
BUILT_IN: dict[str, tuple[str, ...]] = {
    "_sqlite3": ("sqlite3",),
    "concurrent.futures.thread": ("concurrent_futures",),
    "confluent_kafka.aio._AIOConsumer": ("confluent_kafka",),
    "confluent_kafka.aio.producer._AIOProducer": ("confluent_kafka",),
    "confluent_kafka.cimpl": ("confluent_kafka",),
    "daphne.server": ("daphne",),
    "eventlet.greenthread": ("eventlet",),
    "eventlet.tpool": ("eventlet",),
    "eventlet.wsgi": ("eventlet",),
    "fastapi.applications": ("fastapi",),
    "fastapi.routing": ("fastapi",),
    "flask.app": ("flask",),
    "flask.signals": ("flask",),
    "gevent": ("gevent",),
    "gevent.pywsgi": ("gevent",),
    "gevent.threadpool": ("gevent",),
    "granian.asgi": ("granian",),
    "granian.server.mp": ("granian",),
    "granian.server.mt": ("granian",),
    "granian.wsgi": ("granian",),
    "gunicorn.arbiter": ("gunicorn",),
    "gunicorn.workers.base_async": ("gunicorn",),
    "gunicorn.workers.gasgi": ("gunicorn",),
    "gunicorn.workers.gthread": ("gunicorn",),
    "gunicorn.workers.sync": ("gunicorn",),
    "http.client": ("http_client",),
    "httpx._client": ("httpx",),
    "httpx._transports.default": ("httpx",),
    "hypercorn.app_wrappers": ("hypercorn",),
    "hypercorn.run": ("hypercorn",),
    "kafka.consumer.group": ("kafka_python",),
    "kafka.producer.kafka": ("kafka_python",),
    "mod_wsgi": ("mod_wsgi",),
    "multiprocessing.resource_tracker": ("multiprocessing",),
    "pika.adapters.blocking_connection": ("pika",),
    "pika.channel": ("pika",),
    "pyuwsgi": ("uwsgi",),
    "requests.sessions": ("requests",),
    "socketserver": ("wsgiref",),
    "sqlite3": ("sqlite3",),
    "sqlite3.dbapi2": ("sqlite3",),
    "starlette.applications": ("starlette",),
    "starlette.routing": ("starlette",),
    "threading": ("threading",),
    "urllib.request": ("urllib_request",),
    "urllib3.connectionpool": ("urllib3",),
    "urllib3.poolmanager": ("urllib3",),
    "uvicorn.config": ("uvicorn",),
    "uvicorn.main": ("uvicorn",),
    "uwsgi": ("uwsgi",),
    "waitress.server": ("waitress",),
    "werkzeug.serving": ("werkzeug",),
    "wsgiref.handlers": ("wsgiref",),
}

#: Triggers that carry a span elsewhere: they wait until there is something that makes spans. Half of all programs
#: import threading, by way of logging alone.
LATE = frozenset({"concurrent.futures.thread", "threading"})

#: Triggers that no import makes: a server written in C does; with this attribute they are complete.
MADE = {"mod_wsgi": "subscribe_events", "uwsgi": "opt"}

#: Where a program tells of what went wrong: ``apm_run.instrument.reports`` listens there.
TELLING = ("asyncio.base_events", "logging", "threading")

_FOLDER = "apm_run_instrumentations"


def triggers() -> dict[str, list[str]]:
    """Trigger module -> what instruments it: the name of a built-in file, or the path of a third party's."""
    found = {module: list(files) for module, files in BUILT_IN.items()}
    for module in TELLING:
        found.setdefault(module, [])
    known = set()
    for entry in sys.path:
        try:
            names = os.listdir(f"{entry}/{_FOLDER}") if entry else ()
        except (OSError, ValueError):
            continue
        for name in sorted(names):
            # As for any module, what comes first on the path hides what has the same name behind it.
            if name.endswith(".py") and not name.startswith("_") and name not in known:
                known.add(name)
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
        # The import system itself: importlib.util would import more into the program.
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import spec_from_file_location

        name = f"{_FOLDER}.{file.rsplit('/', 1)[1][:-3].replace('.', '_')}"
        spec: Any = spec_from_file_location(name, file)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    instrumentation: Instrumentation = module.INSTRUMENTATION
    return instrumentation
