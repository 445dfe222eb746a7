"""Fixtures that any test may use; the strict switch; what a run has shown and what it has left out."""

from __future__ import annotations

import os
import platform
from collections import Counter

# Before anything of ours is imported: an error of the agent's fails the test, here and in launched programs.
os.environ["APM_RUN_STRICT"] = "1"

import pytest
from tests.receiver import SCHEMAS, Sink


@pytest.fixture
def sink():
    """A receiver of its own; the test fails at its end when an invalid event came in."""
    sink = Sink()
    yield sink
    sink.close()


def pytest_terminal_summary(terminalreporter):
    present = "present" if SCHEMAS.exists() else "absent: events are judged by our own model only"
    terminalreporter.section("what this run shows")
    terminalreporter.line(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}")
    terminalreporter.line(f"../shared/fixtures: {present}")
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    terminalreporter.line(f"skipped: {sum(reasons.values())}")
    for reason, times in sorted(reasons.items()):
        terminalreporter.line(f"  {times} x {reason.removeprefix('Skipped: ')}")
