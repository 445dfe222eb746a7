"""What the program's own filters drop is no problem of its tracing."""

from __future__ import annotations

import pytest

from apm_run.cli import doctor_run


def report(accepted, **dropped):
    export = {
        "accepted": accepted, "rejected": 0, "reasons": [], "waiting": 0, "dropped": dropped, "resent": 0,
        "requests": 1, "last_error": "", "reason": None, "server": "x", "outbox": None,
    }  # fmt: skip
    facts = {"agents": [], "instrumentations": [], "failures": [], "options": [], "problems": [], "aside": ""}
    return {"recording": True, "transactions": 3, "export": export, **facts}


@pytest.mark.parametrize(
    ("dropped", "verdict"), [({"filter": 3}, doctor_run.QUIET), ({"filter": 3, "evicted": 1}, doctor_run.UNDELIVERED)]
)
def test_a_process_whose_events_are_all_filtered(dropped, verdict):
    found, reason = doctor_run.judge(report(0, **dropped))
    assert found == verdict
    assert "3 filter" in reason


@pytest.mark.parametrize(("dropped", "problem"), [({"filter": 3}, False), ({"filter": 3, "evicted": 1}, True)])
def test_a_process_some_of_whose_events_are(dropped, problem):
    found = doctor_run._of_report("program", report(5, **dropped))
    assert any("dropped" in finding.text for finding in found) is problem
