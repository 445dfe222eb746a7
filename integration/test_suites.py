"""A sample of `make suites`: the own tests of Flask, bare and traced; and what the tool says of a change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from integration import suites, transparency


@pytest.mark.timeout(400)
def test_no_outcome_of_flask_changes(tmp_path):
    command = [sys.executable, suites.__file__, "flask", "--work", str(tmp_path), "--no-page", "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| flask |")]
    _, name, _, tests, _, _, changed, *_, events, _, _ = (cell.strip() for cell in line.split("|"))
    assert (name, int(tests) > 400, changed, int(events) > 100) == ("flask", True, "0", True)


def run(**outcomes):
    return transparency.Run({f"flask: {name}": outcome for name, outcome in outcomes.items()}, 1.0, 1.0)


def test_a_change_is_told_and_kept_until_the_library_runs_again(tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "PAGE", tmp_path / "suites.md")
    found = transparency.Comparison("flask")
    for _ in range(2):
        found.bare.append(run(same="ok", other="ok"))
        found.traced.append(run(same="ok", other="failure"))
    more = {"version": "3.1.3", "events": 7, "rejected": 0}
    result = {**found.to_json(), **more}
    suites.write([result])
    told = "* changed: `flask: other`: bare ok (2 times), traced failure (2 times)"
    assert told in Path(suites.PAGE).read_text()
    suites.write([{**result, "name": "httpx", "changed": {}}])
    text = Path(suites.PAGE).read_text()
    assert told in text
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:] == ["flask", "httpx"]
