"""One server of each kind for all tests that want it."""

from __future__ import annotations

import pytest
from integration.services.aws import Ministack, Moto
from integration.services.elasticsearch import Elasticsearch
from integration.services.kafka import Tansu
from integration.services.mariadb import MariaDB
from integration.services.mongodb import MongoDB
from integration.services.postgres import Postgres
from integration.services.rabbitmq import RabbitMQ
from integration.services.redis import Cluster, Redis, Sentinel


@pytest.fixture(scope="session")
def redis_server():
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq():
    """RabbitMQ."""
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def redis_sentinel(redis_server):
    with Sentinel(redis_server) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster():
    with Cluster() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb_server():
    with MongoDB() as server:
        yield server


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb():
    """MariaDB."""
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch_server():
    with Elasticsearch() as server:
        yield server


@pytest.fixture(scope="session", params=[Moto, Ministack], ids=["moto", "ministack"])
def aws(request):
    """Each emulator of AWS in turn."""
    with request.param() as server:
        yield server


@pytest.fixture(scope="session")
def kafka():
    """A broker that speaks Kafka's protocol; it is not Kafka."""
    with Tansu() as server:
        yield server
