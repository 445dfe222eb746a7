"""The API on an engine of its own, as if the process were launched."""

from __future__ import annotations

import pytest
from tests.engine import Engine
from tests.engine import running as nothing_running
from tests.unit.api.support import Agent, Exporter

from apm_run import agent, log
from apm_run.pipeline import Pipeline


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    running = Agent(tracer=engine.tracer, speaks=False, filters={}, exporter=None)
    engine.agent = running
    monkeypatch.setattr(agent, "running", running)
    with nothing_running(None):
        yield engine


@pytest.fixture
def misuses(monkeypatch):
    """What the log has told of misuse."""
    found = []
    monkeypatch.setattr(log, "write", lambda level, slug, text: found.append(f"{level} {slug} {text}"))
    return found


@pytest.fixture
def exporter(engine):
    """Behind the engine, with the agent's filters before it."""
    exporter = Exporter()
    engine.tracer.sink = Pipeline(engine.tracer.settings, exporter, engine.agent.filters)
    return exporter
