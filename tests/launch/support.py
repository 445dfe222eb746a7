"""Run the same command bare and launched, and compare."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROBE = str(Path(__file__).with_name("probe.py"))

#: The shells that could be /bin/sh: how to run a script with each.
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}

#: The same for parametrize: one that is not installed is a skip.
SHELL_PARAMS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(command[0]) is None, reason=f"no {name} here"))
    for name, command in SHELLS.items()
]

_VERSIONS = {
    os.path.basename(os.path.dirname(os.path.dirname(path))): path
    for path in glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python"))
}
#: Every other interpreter of this machine: version -> path.
INTERPRETERS = {version: path for version, path in sorted(_VERSIONS.items()) if re.match(r"\d+\.\d+\.\d+$", version)}


def traced(version: str) -> bool:
    """Whether the agent works in this version of CPython."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= (3, 9)


def environment(**more: str) -> dict[str, str]:
    """Return a small environment without surprises; nothing is sent anywhere."""
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "APM_RUN_STRICT": "1",
        "ELASTIC_APM_DISABLE_SEND": "true",
        **more,
    }


def run(command: list[Any], **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` to its end; output and error output as bytes."""
    how.setdefault("env", environment())
    if "input" not in how:
        how.setdefault("stdin", subprocess.DEVNULL)
    how.setdefault("timeout", 60)
    if not {"stdout", "stderr"} & set(how):
        how["capture_output"] = True
    return subprocess.run(command, check=False, **how)


def same(launcher: list[str], command: list[Any], **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` bare and launched; assert the same output, error output and end; return the launched."""
    bare = run(command, **how)
    launched = run([*launcher, *command], **how)
    assert launched.stdout == bare.stdout
    assert launched.stderr == bare.stderr
    assert launched.returncode == bare.returncode
    return launched


def probe(command: list[Any], **how: Any) -> dict[str, Any]:
    """Run the probe through ``command`` and return what it says of its process."""
    done = run(command, **how)
    assert done.returncode == 0, done.stderr.decode()
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def ours(name: str) -> bool:
    """Whether a launched program may have this variable beside those of the bare one (design 5a)."""
    return name == "PYTHONPATH" or name.startswith(("APM_RUN_", "ELASTIC_APM_"))


def theirs(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a probe without what may differ: the variables of :func:`ours`, the pid."""
    kept = {name: value for name, value in facts.items() if name not in {"environ", "modules", "pid"}}
    kept["environ"] = {name: value for name, value in facts["environ"].items() if not ours(name)}
    return kept
