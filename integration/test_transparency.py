"""A sample of `make transparency`: some of CPython's own test files, bare and traced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from integration import transparency

TOOL = Path(transparency.__file__)
SAMPLE = ["test_sqlite*", "test_httplib", "test_urllib2", "test_urllib2_localnet", "test_wsgiref", "test_import"]
SAMPLE += ["test_atexit", "test_traceback", "test_contextlib*", "test_socketserver", "test_threading_local"]


def judge(tmp_path, *arguments):
    report = tmp_path / "report.json"
    command = [sys.executable, str(TOOL), "--no-page", "--strict", "--json", str(report), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert report.exists(), done.stdout + done.stderr
    return done, json.loads(report.read_text())


@pytest.mark.timeout(300)
def test_no_outcome_changes_but_those_with_a_reason(tmp_path):
    done, report = judge(tmp_path, "--reruns", "2", *SAMPLE)
    assert len(report) >= len(SAMPLE), done.stdout + done.stderr
    assert sum(result["tests"] for result in report) > 1000
    changed = [name for result in report for name in result["changed"]]
    assert [name for name in changed if not transparency.reason(name)] == []
    assert "0 events rejected" in done.stdout


def test_a_change_is_named_with_both_outcomes():
    found = transparency.Comparison("test_x")
    same = {"test_x.a": "ok", "test_x (the file itself)": "exit code 0"}
    for bare, traced in (("ok", "failure"), ("ok", "failure")):
        found.bare.append(transparency.Run({**same, "test_x.b": bare, "test_x.c": "ok"}, 1.0, 1.0))
        found.traced.append(transparency.Run({**same, "test_x.b": traced}, 1.0, 1.0))
    assert found.changed() == {
        "test_x.b": ({"ok": 2}, {"failure": 2}),
        "test_x.c": ({"ok": 2}, {"not run": 2}),
    }
    result = found.to_json()
    assert "* changed: `test_x.b`: bare ok (2 times), traced failure (2 times)" in transparency.changes(result)
    assert transparency.Verdict("3.11", [result], 0).exit_code() == 1


def test_what_is_as_unsteady_bare_is_no_change():
    found = transparency.Comparison("test_x")
    for bare, traced in (("ok", "failure"), ("failure", "ok"), ("ok", "ok")):
        found.bare.append(transparency.Run({"test_x.a": bare}, 1.0, 1.0))
        found.traced.append(transparency.Run({"test_x.a": traced}, 1.0, 1.0))
    assert found.changed() == {}
    assert list(found.to_json()["unsteady"]) == ["test_x.a"]


def test_more_time_than_allowed_is_a_failure():
    found = transparency.Comparison("test_x")
    found.bare.append(transparency.Run({"test_x.a": "ok"}, 1.0, 1.0))
    found.traced.append(transparency.Run({"test_x.a": "ok"}, 1.2, 1.2))
    assert transparency.Verdict("3.11", [found.to_json()], 0).exit_code() == 1
