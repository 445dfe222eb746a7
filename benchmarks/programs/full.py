"""As many requests as a process can make in so many seconds: ``full.py SECONDS``. Prints their number."""

from __future__ import annotations

import sys
import time

from served import wsgi
from werkzeug.test import EnvironBuilder

environ = EnvironBuilder(path="/items/1", headers={"User-Agent": "bench"}).get_environ()


def start_response(status: str, headers: object, exc_info: object = None) -> None:
    """A server's."""
    assert status == "200 OK", status


made, until = 0, time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < until:
    body = wsgi(dict(environ), start_response)
    for _ in body:
        pass
    body.close()  # type: ignore[attr-defined]
    made += 1
print(made)
