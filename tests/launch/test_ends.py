"""Ways to end (design 5a, "Ends"): ten requests were made, ten arrive, each once, and the end is as bare."""

from __future__ import annotations

import sys

import pytest
from tests.launch.endings import ENDS, TEN, judge


@pytest.mark.parametrize("way", ENDS)
def test_the_end(way, tmp_path):
    found = judge(sys.executable, way, tmp_path)
    assert found.differences == []
    assert found.transactions == TEN
