"""Ways to start: as bare, and traced or deliberately not."""

from __future__ import annotations

import sys

import pytest
from tests.launch.starts import STARTS, judge, missing


@pytest.mark.parametrize("way", STARTS)
def test_the_start(way, script, tmp_path):
    needs = missing(way)
    if needs:
        pytest.skip(f"no {needs} here" if needs.startswith("python") else f"{needs} is not installed")
    assert judge(sys.executable, way, tmp_path, script).differences == []
