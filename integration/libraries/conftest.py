"""One server of each kind for all tests that want it."""

from __future__ import annotations

import pytest
from integration.services.mariadb import MariaDB
from integration.services.postgres import Postgres


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
