"""One server of each kind for all tests that want it."""

from __future__ import annotations

import pytest
from integration.services.kafka import Tansu
from integration.services.rabbitmq import RabbitMQ


@pytest.fixture(scope="session")
def rabbitmq():
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def kafka():
    """A broker that speaks Kafka's protocol; it is not Kafka."""
    with Tansu() as server:
        yield server
