"""The API on an engine of its own, as if the process were launched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.engine import Engine
from tests.engine import running as nothing_running

from apm_run import agent, log
from apm_run.pipeline import Pipeline


class Agent(SimpleNamespace):
    """What the API asks of the running agent."""

    @property
    def serving(self):
        return self.tracer


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


class Exporter:
    """Keeps lines and counts."""

    def __init__(self):
        self.lines, self.opened, self.taken_back, self.dropped = [], [], [], []

    def begun(self):
        pass

    def takes(self, sampled):
        return True

    def put(self, payload, events):
        assert payload.count(b"\n") == events > 0
        self.lines += payload.splitlines()

    def open(self, id, end, line):
        self.opened.append((id, end, line))

    def gone(self, id):
        self.taken_back.append(id)

    def drop(self, reason):
        self.dropped.append(reason)


@pytest.fixture
def exporter(engine):
    """Behind the engine, with the agent's filters before it."""
    exporter = Exporter()
    engine.tracer.sink = Pipeline(engine.tracer.settings, exporter, engine.agent.filters)
    return exporter
