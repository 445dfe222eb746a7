"""Run ``apm-run doctor`` of this checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.traced import environment

DOCTOR = [sys.executable, "-m", "apm_run", "doctor"]


def doctor(*words: Any, state: Any, env: dict[str, str] | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end; ``state`` is the directory of its outbox."""
    env = environment(APM_RUN_STATE_DIR=str(state), **(env or {}))
    command = [*DOCTOR, *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False, **how)


def examined(*words: Any, code: int | None = None, **how: Any) -> dict[str, Any]:
    """What ``--json`` says; ``code`` is the expected exit code."""
    done = doctor("--json", *words, **how)
    assert done.stdout.startswith("{"), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if result["healthy"] else 1), done.stderr
    if code is not None:
        assert done.returncode == code, result["findings"]
    return result


def finding(result: dict[str, Any], area: str, name: str) -> dict[str, Any]:
    """The one finding of that name (a process's is found by how its name begins)."""
    (found,) = [one for one in result["findings"] if one["area"] == area and one["name"].startswith(name)]
    return found


def problems(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["area"], one["name"]) for one in result["findings"] if one["state"] == "problem"]
