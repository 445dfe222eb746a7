"""Twenty requests to a server are twenty transactions, each once, from who answered, whatever ends it: a sample.

integration/test_servers.py runs all of :data:`SERVERS`.
"""

from __future__ import annotations

import sys

import pytest
from tests.launch.serving import SERVERS, TWENTY, judge, missing

#: What other tests of servers do not go through: reloads, replaced workers, and each way that an application is met.
SAMPLE = (
    "gunicorn uvicorn worker",
    "gunicorn --preload, HUP",
    "gunicorn --max-requests 6",
    "uvicorn --reload",
    "waitress",
    "granian WSGI",
    "uWSGI --wsgi-file",
    "uWSGI --mount",
    "Flask run --debug",
    "wsgiref",
)


def check(way, folder):
    absent = missing(sys.executable, way)
    if absent:
        pytest.skip(absent)
    found = judge(sys.executable, way, folder)
    assert found.differences == []
    assert found.transactions == TWENTY


@pytest.mark.parametrize("way", SAMPLE)
def test_the_server(way, tmp_path):
    check(way, tmp_path)


def test_ways_are_known():
    assert set(SAMPLE) <= set(SERVERS)
