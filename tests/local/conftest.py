from __future__ import annotations

import pytest

from apm_run.local.server import Receiver


@pytest.fixture
def receiver():
    with Receiver(port=0) as receiver:
        yield receiver
