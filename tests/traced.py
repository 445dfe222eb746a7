"""Run programs bare and traced: ``from tests.traced import bare, traced``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BOOTSTRAP = ROOT / "bootstrap"


#: Outboxes of test programs that name no directory: never the developer's own, which has a cap.
_STATE = tempfile.TemporaryDirectory(prefix="apm-run-tests-")


def environment(**more: str) -> dict[str, str]:
    """The environment of a test's program: nothing of the developer's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ELASTIC_APM_", "APM_RUN_", "OTEL_", "PYTHON", "COV_", "XDG_STATE", "GRPC_"))
        and name.lower() not in ("http_proxy", "https_proxy", "no_proxy")
    }
    # What is to arrive is waited for, however busy the machine is; the limits have tests of their own. What is counted
    # are the events of single requests and calls: metrics and compression have theirs too.
    apart = {"ELASTIC_APM_BREAKDOWN_METRICS": "false", "ELASTIC_APM_SPAN_COMPRESSION_ENABLED": "false"}
    return {**kept, **apart, "APM_RUN_STATE_DIR": _STATE.name, "ELASTIC_APM_EXIT_TIMEOUT": "20s", **more}


def bare(*command: Any, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as its user would without us."""
    return _run(command, environment(**(env or {})), options)


def traced(
    *command: Any, url: str = "http://127.0.0.1:9", env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command under the bootstrap of this checkout, strict, sending to ``url``."""
    own = {"PYTHONPATH": str(BOOTSTRAP), "APM_RUN_STRICT": "1", "ELASTIC_APM_SERVER_URL": url}
    return _run(command, environment(**{**own, **(env or {})}), options)


def _run(command: tuple[Any, ...], env: dict[str, str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    if words[0] == "python":
        words[0] = sys.executable
    return subprocess.run(
        words, env=env, capture_output=True, text=True, timeout=options.pop("timeout", 60), check=False, **options
    )
