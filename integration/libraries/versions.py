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
    *(
        row
        for release, beside in (("3.8.6", ("yarl<1.12",)), ("3.9.5", ()), ("3.10.11", ()), ("3.12.15", ()), ("", ()))
        for row in (
            _served("aiohttp", release, ("aiohttp_server",), (*_WSGI, *beside)),
            Release("aiohttp", release, ("tests/instrumentations/test_aiohttp_client.py",), beside),
        )
    ),
)
