"""Fixtures of the libraries' tests."""

from __future__ import annotations

import pytest
from tests.instrumentations.peer import peer


@pytest.fixture
def server():
    """An HTTP server of its own: ``server.url``, ``server.requests``."""
    with peer() as running:
        yield running
