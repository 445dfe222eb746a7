"""One server of each kind for all tests that want it."""

from __future__ import annotations

import pytest
from integration.services.rabbitmq import RabbitMQ
from integration.services.redis import Redis


@pytest.fixture(scope="session")
def redis():
    """Redis."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq():
    """RabbitMQ."""
    with RabbitMQ() as server:
        yield server
