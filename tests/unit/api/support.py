"""What stands for the agent and the exporter."""

from __future__ import annotations

from types import SimpleNamespace


class Agent(SimpleNamespace):
    """What the API asks of the running agent."""

    @property
    def serving(self):
        return self.tracer


class Exporter:
    """Keeps lines and counts."""

    def __init__(self):
        self.lines, self.opened, self.taken_back, self.dropped = [], [], [], []

    def begun(self, job=False):
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
