"""gevent and eventlet, patched first, last, by a worker class or never: as bare, and every span where it belongs."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from tests.launch.green import CLIENTS
from tests.launch.greening import GREEN, judge

#: Of the other clients one row each is enough here; ``make launch`` runs all.
OTHERS = [client for client in CLIENTS if client != "requests"]
SAMPLE = [way for way in GREEN if "patched first" in way or not way.endswith(tuple(OTHERS))]


@pytest.mark.parametrize("way", SAMPLE)
def test_greenlets(way, tmp_path):
    library = way.partition(",")[0].removeprefix("gunicorn -k ").partition("_")[0]
    if importlib.util.find_spec(library) is None:  # an import would warn
        pytest.skip(f"{library} is not installed")
    found = judge(sys.executable, way, tmp_path)
    assert found.differences == []
    assert (found.transactions, found.spans) == found.expected
