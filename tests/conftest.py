"""Fixtures that any test may use."""

from __future__ import annotations

import pytest
from tests.receiver import Sink


@pytest.fixture
def sink():
    """A receiver of its own; the test fails at its end when an invalid event came in."""
    sink = Sink()
    yield sink
    sink.close()
