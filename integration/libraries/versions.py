"""Which releases of which library are tested, how, and what else each takes; newest first reads best."""

from __future__ import annotations

from typing import NamedTuple


class Release(NamedTuple):
    """One release of a library.

    :ivar library: its distribution. :ivar release: of it; "" is the newest.
    :ivar tests: files or folders, from the root. :ivar beside: requirements that go with it.
    :ivar python: of CPython, as ``3.9``; "" is the one that runs this.
    :ivar servers: the tests stay in this environment, and only the servers they start run in one with the release.
    """

    library: str
    release: str
    tests: tuple[str, ...]
    beside: tuple[str, ...] = ()
    python: str = ""
    servers: bool = False


def _served(library: str, release: str, tests: tuple[str, ...], beside: tuple[str, ...]) -> Release:
    return Release(
        library, release, tuple(f"tests/instrumentations/test_{name}.py" for name in tests), beside, "", True
    )


# What the tests' applications need beside it. Starlette's own test client before 0.37 calls httpx as of 0.27.
_ASGI = ("uvicorn", "python-multipart", "httpx==0.27.2")
_WSGI = ("gunicorn",)
# What whole programs send to.
_SINK = ("starlette", "uvicorn")

RELEASES = (
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
