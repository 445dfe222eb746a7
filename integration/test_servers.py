"""The servers of the matrix that take more than `make setup` installs: Apache, and an environment of their own."""

from __future__ import annotations

import sys

import pytest
from tests.launch.serving import SERVERS, TWENTY, judge, missing
from tests.launch.test_servers import HERE


@pytest.mark.parametrize("way", [way for way in SERVERS if way not in HERE])
def test_the_server(way, tmp_path):
    absent = missing(sys.executable, way)
    if absent:
        pytest.skip(absent)
    found = judge(sys.executable, way, tmp_path)
    assert found.differences == []
    assert found.transactions == TWENTY
