"""Twenty requests to each server are twenty transactions, each once, from who answered, whatever ends it."""

from __future__ import annotations

import sys

import pytest
from tests.launch.serving import SERVERS, TWENTY, judge, missing

#: Those that take more than `make setup` installs are for integration/test_servers.py.
HERE = [way for way, server in SERVERS.items() if not server.packages and not server.command[0].startswith("/")]


@pytest.mark.parametrize("way", HERE)
def test_the_server(way, tmp_path):
    absent = missing(sys.executable, way)
    if absent:
        pytest.skip(absent)
    found = judge(sys.executable, way, tmp_path)
    assert found.differences == []
    assert found.transactions == TWENTY
