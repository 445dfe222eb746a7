"""One server of each kind for all tests that want it."""

from __future__ import annotations

import pytest
from integration.services.aws import Ministack, Moto
from integration.services.elasticsearch import Elasticsearch


@pytest.fixture(scope="session")
def elasticsearch_server():
    with Elasticsearch() as server:
        yield server


@pytest.fixture(scope="session", params=[Moto, Ministack], ids=["moto", "ministack"])
def aws(request):
    """Each emulator of AWS in turn."""
    with request.param() as server:
        yield server
