"""What is imported when: libraries never by us, and of our own code only what is needed."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apm_run import conventions, instrumentations
from apm_run.instrument import registry

FILES = sorted(module.name for module in pkgutil.iter_modules(instrumentations.__path__))
#: What the traced program pays for in time and what it may replace: the agent has them imported by nobody.
COSTLY = (
    *("_socket", "_ssl", "asyncio", "collections.abc", "concurrent", "contextlib", "dataclasses", "email", "enum"),
    *("functools", "http", "importlib.abc", "importlib.util", "inspect", "json", "logging", "pathlib", "re", "socket"),
    *("ssl", "subprocess", "tempfile", "threading", "tomllib", "typing", "urllib", "wrapt", "urllib3", "orjson"),
)


#: What of ours an idle program does not pay for: all that works only once there is something to trace.
LATER = {
    "api",
    "cli",
    "collect",
    "config",
    "conventions",
    "export",
    "filters",
    "instrumentations",
    "intake",
    "local",
    "report",
    "tracer",
}
#: Small C modules, which no file of the program's can stand in for.
SMALL = {*sys.builtin_module_names, "__future__", "_contextvars", "_json", "_random", "apm_run", "math"}


def foreign(found: set[str]) -> set[str]:
    """What is neither ours nor a small C module."""
    return {name for name in found if name.partition(".")[0] not in SMALL} | found.intersection(COSTLY)


def imported(code: str, *flags: str) -> set[str]:
    """The modules that a program imports which bare Python has not."""
    root = str(Path(__file__).resolve().parents[1] / "src")
    # -S: what a .pth file imports at start would hide what we import; any interpreter has os.
    script = f"import os, sys\nbefore = set(sys.modules)\nsys.path.insert(0, {root!r})\n{code}\n"
    script += "print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-S", *flags, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_no_instrumentation_imports_a_library():
    """Nothing but ours and what the interpreter has at hand: not the libraries, nor what they are made of."""
    code = "\n".join(f"import apm_run.instrumentations.{file}" for file in FILES)
    # body_text waits for the first body that is to be shown.
    names = {module.name for module in pkgutil.iter_modules(conventions.__path__)} - {"body_text"}
    code += "\n" + "\n".join(f"import apm_run.conventions.{name}" for name in sorted(names))
    found = imported(code)
    assert "apm_run.instrument.vocabulary" in found
    triggers = set(registry.BUILT_IN) | {trigger.partition(".")[0] for trigger in registry.BUILT_IN}
    assert not found & triggers
    assert foreign(found) == set()


@pytest.mark.parametrize("file", FILES)
def test_each_instrumentation_by_itself(file):
    found = imported(f"import apm_run.instrumentations.{file}")
    assert foreign(found) == set()


def test_an_idle_program_imports_next_to_nothing():
    found = imported("from apm_run import agent")
    assert foreign(found) == set()
    ours = {name.split(".")[1] for name in found if name.startswith("apm_run.")}
    assert "agent" in ours
    assert ours & LATER == set()
    assert "apm_run.instrument.patch" not in found


def test_a_tracer_imports_next_to_nothing():
    found = imported("import apm_run.tracer, apm_run.intake.encode, apm_run.instrument.patch")
    assert foreign(found) == set()


def test_the_public_module_imports_nothing():
    assert {name for name in imported("import apm_run") if name.startswith("apm_run.")} <= {"apm_run.version"}


def test_the_agent_opens_reads_and_writes_by_the_system_itself():
    """eventlet replaces these in ``os``: a greenlet would be switched in the middle of our work, or a hub be made."""
    source = Path(__file__).resolve().parents[1] / "src" / "apm_run"
    files = [path for path in source.rglob("*.py") if path.relative_to(source).parts[0] not in ("cli", "local")]
    calls = re.compile(r"\bos\.(open|read|write|fdopen|wait|waitpid|popen)\(")
    assert [str(path) for path in files if calls.search(path.read_text("utf-8"))] == []
    assert len(files) > 50
