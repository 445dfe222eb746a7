"""The page about doctor names all that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apm_run import report
from apm_run.agent import Agent
from apm_run.cli import doctor_findings, doctor_run

PAGE = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`]+)`", PAGE))


def fields():
    agent = Agent(0, 0)
    built = report.build(agent, report.Reporter(agent, "/nonexistent"))
    return [*built, *built["export"], *built["cost"], *built["started"]]


@pytest.mark.parametrize("field", sorted(fields()))
def test_fields_of_the_report(field):
    assert field in NAMED


@pytest.mark.parametrize("word", [*report.STATES, *doctor_findings.AREAS, *doctor_findings.STATES])
def test_states_and_areas(word):
    assert word in NAMED


def test_verdicts():
    names = ("TRACED", "QUIET", "LEFT", "SKIPPED", "UNTRACED", "UNDELIVERED", "UNSENT")
    assert {getattr(doctor_run, name) for name in names} <= NAMED
