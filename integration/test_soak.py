"""A short `make soak`: a leak of 100 bytes per call would be 1406 KiB in nine tenths of CALLS; the usual is 100."""

from __future__ import annotations

import pytest
from integration import soak

CALLS = 16_000


@pytest.mark.parametrize("library", ["sqlite3", "redis"])
def test_calls_keep_no_memory(library):
    found = soak.run(library, CALLS)
    assert found.grown < soak.ROOM
    assert found.spans >= CALLS


def test_a_leak_of_a_hundred_bytes_is_found():
    assert soak.run("sqlite3", CALLS, traced=False, leak=100).grown > soak.ROOM
