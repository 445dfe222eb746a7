"""Which releases of which library are tested, how, and what else each takes; newest first reads best."""

from __future__ import annotations

from typing import NamedTuple


class Release(NamedTuple):
    """One release of a library.

    :ivar library: its distribution. :ivar release: of it; "" is the newest.
    :ivar tests: files or folders, from the root, that run beside the release.
    :ivar beside: requirements that go with it. :ivar python: of CPython, as ``3.9``; "" is the one that runs this.
    :ivar served: tests that stay in this environment; only the servers they start run beside the release.
    """

    library: str
    release: str
    tests: tuple[str, ...]
    beside: tuple[str, ...] = ()
    python: str = ""
    served: tuple[str, ...] = ()


def _served(library: str, release: str, tests: tuple[str, ...], beside: tuple[str, ...]) -> Release:
    served = tuple(f"tests/instrumentations/test_{name}.py" for name in tests)
    return Release(library, release, (), beside, served=served)


def _sql(library: str, release: str, test: str, *beside: str, python: str = "") -> Release:
    return Release(library, release, (f"integration/libraries/test_{test}.py",), beside, python)


# What the tests' applications need beside it. Starlette's own test client before 0.37 calls httpx as of 0.27.
_ASGI = ("uvicorn", "python-multipart", "httpx==0.27.2")
_WSGI = ("gunicorn",)
# What takes the events of a whole program.
_SINK = ("starlette", "uvicorn")


def _redis(release: str, python: str = "") -> Release:
    return Release("redis", release, ("integration/libraries/test_redis.py",), _SINK, python)


def _pymongo(release: str, python: str = "", *beside: str) -> Release:
    return Release("pymongo", release, ("integration/libraries/test_pymongo.py",), (*_SINK, *beside), python)


# What SQLAlchemy connects through; 1.4.0 does not know what came later.
_DRIVERS = ("psycopg2-binary", "psycopg[binary]", "pymysql", "asyncpg", "aiosqlite", "greenlet")
_DRIVERS_2021 = ("psycopg2-binary==2.8.6", "pymysql==1.0.3", "asyncpg==0.22.0", "aiosqlite==0.17.0", "greenlet")

#: What takes in what whole programs report.
_RECEIVER = ("starlette", "uvicorn")
_ELASTICSEARCH = ("integration/libraries/test_elasticsearch.py",)
_BOTOCORE = ("integration/libraries/test_botocore.py",)
_GRPC = ("tests/instrumentations/test_grpc.py", "tests/instrumentations/test_grpc_aio.py")
_GRPC_PROGRAMS = ("tests/instrumentations/test_grpc_programs.py",)

_DJANGO = (*_WSGI, "uvicorn", "daphne", "jinja2", "starlette")


def _django(release: str, python: str, framework: str) -> Release:
    beside = (f"djangorestframework{framework}", *_DJANGO)
    return Release("django", release, (), beside, python, ("tests/instrumentations/test_django.py",))


def _jinja2(release: str, *beside: str, python: str = "") -> Release:
    return Release("jinja2", release, ("tests/instrumentations/test_jinja2.py",), beside, python)


def _aiohttp(release: str, *beside: str) -> Release:
    client, server = (f"tests/instrumentations/test_aiohttp_{side}.py" for side in ("client", "server"))
    return Release("aiohttp", release, (client,), (*_WSGI, *beside), served=(server,))


_CELERY, _RQ = ("integration/libraries/test_celery.py",), ("integration/libraries/test_rq.py",)
_CELERIES = (
    ("5.2.7", ("redis<4.4", "gevent<24", "setuptools<70"), "3.9"),
    ("5.3.6", ("redis<5", "gevent"), "3.9"),
    ("5.4.0", ("redis<6", "kombu<5.7", "gevent"), "3.12"),  # newer kombu wants redis 6.1
    ("", ("redis", "gevent", "packaging"), ""),
)
_RQS = (
    ("1.10.1", ("redis<4", "click<8.1"), "3.9"),
    ("1.16.2", ("redis<5",), "3.9"),
    ("2.0.0", ("redis<6",), "3.12"),
    ("2.6.1", ("redis<8",), "3.13"),  # its SpawnWorker writes the connection's options, now objects, into a program
    ("", ("redis",), ""),
)


RELEASES = (
    Release("boto3", "", _BOTOCORE, ("aiobotocore", *_RECEIVER)),
    Release("boto3", "1.28.17", _BOTOCORE, ("aiobotocore==2.5.4", *_RECEIVER), "3.9"),
    Release("boto3", "1.17.106", _BOTOCORE, ("aiobotocore==1.3.3", *_RECEIVER), "3.9"),
    Release("aioboto3", "", _BOTOCORE, _RECEIVER),
    Release("elasticsearch", "", _ELASTICSEARCH, ("aiohttp", "requests", "httpx", *_RECEIVER)),
    Release("elasticsearch", "8.19.3", _ELASTICSEARCH, ("aiohttp", "requests", "httpx", *_RECEIVER)),
    Release("elasticsearch", "8.0.1", _ELASTICSEARCH, ("aiohttp", "requests", *_RECEIVER), "3.9"),
    Release("elasticsearch", "7.17.12", _ELASTICSEARCH, ("aiohttp", "requests", *_RECEIVER), "3.9"),
    Release("elasticsearch", "7.13.4", _ELASTICSEARCH, ("aiohttp", "requests", "urllib3<2", *_RECEIVER), "3.9"),
    _django("4.2", "3.9", "==3.14.0"),
    _django("5.0.14", "3.11", "==3.15.2"),  # the first that notices clients that leave
    _django("5.2.19", "3.11", ""),
    _django("", "3.13", ""),
    _jinja2("2.11.3", "markupsafe<2.1", python="3.9"),
    _jinja2("3.0.3"),
    _jinja2(""),
    _served("flask", "1.1.4", ("flask",), (*_WSGI, "markupsafe<2.1")),  # no signals without blinker
    _served("flask", "2.0.3", ("flask",), (*_WSGI, "werkzeug<2.1")),
    _served("flask", "2.2.5", ("flask",), (*_WSGI, "werkzeug<3")),
    _served("flask", "3.0.3", ("flask",), _WSGI),
    _served("flask", "", ("flask",), _WSGI),
    _served("starlette", "0.27.0", ("starlette",), _ASGI),
    _served("fastapi", "0.100.0", ("starlette", "fastapi"), _ASGI),
    _served("fastapi", "0.106.0", ("starlette", "fastapi"), _ASGI),  # dependencies with yield end before the response
    _served("fastapi", "0.112.4", ("starlette", "fastapi"), _ASGI),
    _served("fastapi", "0.118.3", ("starlette", "fastapi"), _ASGI),  # and after it again
    _served("fastapi", "0.128.8", ("starlette", "fastapi"), _ASGI),
    _served("fastapi", "0.136.3", ("starlette", "fastapi"), _ASGI),
    _served("fastapi", "0.137.2", ("starlette", "fastapi"), _ASGI),  # included routers match by themselves
    _served("fastapi", "0.150.0", ("starlette", "fastapi"), _ASGI),
    _served("fastapi", "", ("starlette", "fastapi"), _ASGI),
    _redis("3.5.3", "3.9"),  # neither asyncio nor clusters
    _redis("4.0.2", "3.9"),
    _redis("4.5.5", "3.10"),
    _redis("5.0.8", "3.12"),
    _redis("6.4.0", "3.13"),  # pipelines of clusters are transactions too
    _redis("7.0.1"),
    _redis(""),
    _pymongo("3.12.3", "3.9", "motor==2.5.1"),
    _pymongo("4.0.2", "3.10"),
    _pymongo("4.4.1", "3.11", "motor==3.2.0"),
    _pymongo("4.8.0", "3.11", "motor==3.5.3"),
    _pymongo("4.9.2", "3.12", "motor==3.6.1"),  # two APIs made from one source
    _pymongo("4.13.2", "3.12", "motor==3.7.1"),  # AsyncMongoClient is stable
    _pymongo("", "", "motor"),
    _sql("psycopg2-binary", "2.8.6", "psycopg2", python="3.9"),
    _sql("psycopg2-binary", "2.9.5", "psycopg2"),
    _sql("psycopg2-binary", "", "psycopg2", python="3.13"),
    _sql("psycopg", "3.1.8", "psycopg", "psycopg-binary==3.1.8", "psycopg-pool==3.1.9", python="3.9"),
    _sql("psycopg", "3.1.20", "psycopg", "psycopg-binary==3.1.20", "psycopg-pool==3.1.9"),
    _sql("psycopg", "3.2.13", "psycopg", "psycopg-pool"),  # in Python, over Debian's libpq
    _sql("psycopg", "", "psycopg", "psycopg-binary", "psycopg-pool", python="3.13"),
    _sql("asyncpg", "0.22.0", "asyncpg", python="3.9"),
    _sql("asyncpg", "0.27.0", "asyncpg"),
    _sql("asyncpg", "", "asyncpg", python="3.13"),
    _sql("pymysql", "0.9.3", "pymysql", python="3.9"),
    _sql("pymysql", "1.0.3", "pymysql"),
    _sql("pymysql", "", "pymysql", python="3.13"),
    _sql("sqlalchemy", "1.4.0", "sqlalchemy", *_DRIVERS_2021, python="3.9"),
    _sql("sqlalchemy", "1.4.54", "sqlalchemy", *_DRIVERS),
    _sql("sqlalchemy", "2.0.58", "sqlalchemy", *_DRIVERS),
    _sql("sqlalchemy", "", "sqlalchemy", *_DRIVERS, python="3.13"),
    Release("aiosqlite", "0.17.0", ("tests/instrumentations/test_aiosqlite.py",), python="3.9"),
    Release("aiosqlite", "", ("tests/instrumentations/test_aiosqlite.py",)),
    Release("grpcio", "1.48.2", _GRPC, ("grpcio-health-checking==1.48.2", "protobuf<4"), "3.9"),
    Release("grpcio", "1.54.3", _GRPC, ("grpcio-health-checking==1.54.3",), "3.11", _GRPC_PROGRAMS),
    Release("grpcio", "1.62.3", _GRPC, ("grpcio-health-checking==1.62.3",), "3.12"),  # methods may be registered
    Release("grpcio", "1.68.1", _GRPC, ("grpcio-health-checking==1.68.1",), "3.13"),
    Release("grpcio", "", _GRPC, ("grpcio-health-checking",), "3.13"),
    *(Release("celery", release, (), beside, python, _CELERY) for release, beside, python in _CELERIES),
    *(Release("rq", release, (), beside, python, _RQ) for release, beside, python in _RQS),
    _aiohttp("3.8.6", "yarl<1.12"),  # newer ones take no port in a host: static files and sub-applications are a 500
    _aiohttp("3.9.5", "yarl<1.12"),
    _aiohttp("3.10.11"),
    _aiohttp("3.12.15"),
    _aiohttp(""),
    Release("pika", "1.0.1", ("integration/libraries/test_pika.py",), _SINK, "3.9"),
    Release("pika", "1.2.1", ("integration/libraries/test_pika.py",), _SINK, "3.10"),
    Release("pika", "1.3.2", ("integration/libraries/test_pika.py",), _SINK, "3.12"),
    Release("pika", "", ("integration/libraries/test_pika.py",), _SINK, "3.13"),
    Release("kafka-python", "2.0.2", ("integration/libraries/test_kafka_python.py",), _SINK, "3.9"),
    Release("kafka-python", "2.2.15", ("integration/libraries/test_kafka_python.py",), _SINK, "3.12"),
    Release("kafka-python", "2.3.3", ("integration/libraries/test_kafka_python.py",), _SINK, "3.13"),
    Release("kafka-python", "", ("integration/libraries/test_kafka_python.py",), _SINK, "3.13"),
    Release("kafka-python-ng", "2.2.3", ("integration/libraries/test_kafka_python.py",), _SINK, "3.10"),
    Release("confluent-kafka", "1.9.2", ("integration/libraries/test_confluent_kafka.py",), _SINK, "3.9"),
    Release("confluent-kafka", "2.3.0", ("integration/libraries/test_confluent_kafka.py",), _SINK, "3.12"),
    Release("confluent-kafka", "", ("integration/libraries/test_confluent_kafka.py",), _SINK, "3.13"),
)
