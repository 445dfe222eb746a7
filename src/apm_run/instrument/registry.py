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
    "aiobotocore.client": ("botocore",),
    "aiohttp.client": ("aiohttp_client",),
    "aiohttp.client_reqrep": ("aiohttp_client",),
    "aiohttp.streams": ("aiohttp_server",),
    "aiohttp.web": ("aiohttp_server",),
    "aiohttp.web_protocol": ("aiohttp_server",),
    "aiohttp.web_response": ("aiohttp_server",),
    "aiohttp.web_runner": ("aiohttp_server",),
    "aiohttp.web_urldispatcher": ("aiohttp_server",),
    "aiosqlite.core": ("aiosqlite",),
    "asyncpg.connection": ("asyncpg",),
    "asyncpg.cursor": ("asyncpg",),
    "asyncpg.prepared_stmt": ("asyncpg",),
    "asyncpg.transaction": ("asyncpg",),
    "botocore.client": ("botocore",),
    "botocore.serialize": ("botocore",),
    "celery.app.amqp": ("celery",),
    "celery.app.task": ("celery",),
    "celery.app.trace": ("celery",),
    "celery.beat": ("celery",),
    "celery.worker.worker": ("celery",),
    "concurrent.futures.thread": ("concurrent_futures",),
    "confluent_kafka.aio._AIOConsumer": ("confluent_kafka",),
    "confluent_kafka.aio.producer._AIOProducer": ("confluent_kafka",),
    "confluent_kafka.cimpl": ("confluent_kafka",),
    "daphne.server": ("daphne",),
    "django.core.handlers.asgi": ("django",),
    "django.core.handlers.base": ("django",),
    "django.core.handlers.exception": ("django",),
    "django.core.handlers.wsgi": ("django",),
    "django.core.management.base": ("django",),
    "django.core.management.commands.runserver": ("django",),
    "django.template.base": ("django",),
    "django.utils.autoreload": ("django",),
    "elastic_transport._async_transport": ("elasticsearch",),
    "elastic_transport._node._http_aiohttp": ("elasticsearch",),
    "elastic_transport._node._http_httpx": ("elasticsearch",),
    "elastic_transport._node._http_requests": ("elasticsearch",),
    "elastic_transport._node._http_urllib3": ("elasticsearch",),
    "elastic_transport._transport": ("elasticsearch",),
    "elasticsearch._async.http_aiohttp": ("elasticsearch",),
    "elasticsearch._async.transport": ("elasticsearch",),
    "elasticsearch.connection.http_requests": ("elasticsearch",),
    "elasticsearch.connection.http_urllib3": ("elasticsearch",),
    "elasticsearch.transport": ("elasticsearch",),
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
    "grpc._channel": ("grpc",),
    "grpc._server": ("grpc",),
    "grpc.aio._call": ("grpc",),
    "grpc.aio._channel": ("grpc",),
    "grpc.aio._server": ("grpc",),
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
    "jinja2.environment": ("jinja2",),
    "jinja2.nativetypes": ("jinja2",),
    "kafka.consumer.group": ("kafka_python",),
    "kafka.producer.kafka": ("kafka_python",),
    "mod_wsgi": ("mod_wsgi",),
    "multiprocessing.resource_tracker": ("multiprocessing",),
    "pika.adapters.blocking_connection": ("pika",),
    "pika.channel": ("pika",),
    "psycopg._server_cursor": ("psycopg",),
    "psycopg._server_cursor_async": ("psycopg",),
    "psycopg.connection": ("psycopg",),
    "psycopg.connection_async": ("psycopg",),
    "psycopg.cursor": ("psycopg",),
    "psycopg.cursor_async": ("psycopg",),
    "psycopg.server_cursor": ("psycopg",),
    "psycopg2": ("psycopg2",),
    "psycopg2._psycopg": ("psycopg2",),
    "pymongo.asynchronous.pool": ("pymongo",),
    "pymongo.asynchronous.topology": ("pymongo",),
    "pymongo.monitoring": ("pymongo",),
    "pymongo.pool": ("pymongo",),
    "pymongo.synchronous.pool": ("pymongo",),
    "pymongo.synchronous.topology": ("pymongo",),
    "pymongo.topology": ("pymongo",),
    "pymysql.connections": ("pymysql",),
    "pymysql.cursors": ("pymysql",),
    "pyuwsgi": ("uwsgi",),
    "redis.asyncio.client": ("redis",),
    "redis.asyncio.cluster": ("redis",),
    "redis.client": ("redis",),
    "redis.cluster": ("redis",),
    "requests.sessions": ("requests",),
    "rq.cli.helpers": ("rq",),
    "rq.cron": ("rq",),
    "rq.job": ("rq",),
    "rq.queue": ("rq",),
    "rq.scheduler": ("rq",),
    "rq.worker": ("rq",),
    "rq.worker.base": ("rq",),
    "rq.worker_pool": ("rq",),
    "socketserver": ("wsgiref",),
    "sqlite3": ("sqlite3",),
    "sqlite3.dbapi2": ("sqlite3",),
    "starlette.applications": ("starlette",),
    "starlette.routing": ("starlette",),
    "threading": ("threading",),
    "urllib.request": ("urllib_request",),
    "urllib3.connectionpool": ("urllib3",),
    "urllib3.http2.connection": ("urllib3",),
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
