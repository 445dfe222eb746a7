"""Package managers and developers' tools run untouched; what they start for the user does not."""

from __future__ import annotations

import sysconfig

import pytest
from tests.traced import bare, traced

#: Whether anything of ours is in the process, and whether it is at work.
PROBE = "import sys; print('apm_run' in sys.modules, any('apm_run' in repr(finder) for finder in sys.meta_path))\n"
UNTOUCHED, TRACED = "True False\n", "True True\n"

TOOLS = [
    "pip", "pip3.11", "poetry", "tox", "pre-commit", "black", "mypy", "setup.py", "_in_process.py", "__pip-runner__.py",
    "pdb", "libs/debugpy/launcher/", "debugpy/adapter/../../debugpy/launcher/", "pydevd.py",
]  # fmt: skip
PROGRAMS = ["app.py", "pytest", "coverage", "ipython", "black.py", "pipeline", "pip_audit_server.py", "manage.py", "c"]


def place(folder, name):
    """A program of that name; a directory that can be run where it ends with a slash."""
    path = folder / name
    if name.endswith("/"):
        (folder / "debugpy" / "adapter").mkdir(parents=True)
        path.mkdir(parents=True)
        (path / "__main__.py").write_text(PROBE)
    else:
        path.write_text(PROBE)
    return f"{folder}/{name}"


@pytest.mark.parametrize("name", TOOLS)
def test_left_alone(name, tmp_path):
    assert traced("python", place(tmp_path, name)).stdout == UNTOUCHED


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, tmp_path):
    assert traced("python", place(tmp_path, name)).stdout == TRACED


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("-m", "black"), UNTOUCHED),
        (("-Xutf8", "-X", "dev", "-um", "black"), UNTOUCHED),
        (("-umblack",), UNTOUCHED),
        (("-m", "black.cli"), UNTOUCHED),
        (("-W", "ignore", "-m", "program"), TRACED),
        (("-c", PROBE, "black"), TRACED),
        (("-Wignore", "-uc", PROBE, "-m", "black"), TRACED),
        (("program.py", "-m", "black"), TRACED),
        (("-", "black"), TRACED),
    ],
)
def test_ways_to_name_it(words, found, tmp_path):
    (tmp_path / "black").mkdir()
    for name in ("black/__init__", "black/__main__", "black/cli", "program"):
        (tmp_path / f"{name}.py").write_text(PROBE if name != "black/__init__" else "")
    assert traced("python", *words, input=PROBE, cwd=tmp_path).stdout == found


def test_it_can_be_overridden(tmp_path):
    assert traced("python", place(tmp_path, "pip"), env={"APM_RUN_TOOLS": "1"}).stdout == TRACED


def test_below_pre_commit(tmp_path):
    """Its hooks have any name."""
    assert traced("python", place(tmp_path, "hook"), env={"PRE_COMMIT": "1"}).stdout == UNTOUCHED


def test_the_real_ones(tmp_path):
    """What they say is as bare, and nothing of ours was at work."""
    (tmp_path / "program.py").write_text("number: int = 1\nprint(number)\n")
    commands = [
        ("python", "-m", "pip", "--version"),
        ("python", "-m", "mypy", "--no-incremental", "--cache-dir=/dev/null", "program.py"),
        ("python", "-m", "pdb", "-c", "continue", "-c", "quit", "program.py"),
        (f"{sysconfig.get_path('scripts')}/mypy", "--version"),
    ]
    for command in commands:
        expected, found = (run(*command, cwd=tmp_path, input="") for run in (bare, traced))
        assert (found.returncode, found.stdout, found.stderr) == (
            expected.returncode,
            expected.stdout,
            expected.stderr,
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_what_a_tool_starts_is_traced(tmp_path, sink):
    """As ``poetry run`` does: by exec, with the trace context that it was given itself."""
    app = tmp_path / "app.py"
    app.write_text("import sqlite3; sqlite3.connect(':memory:').execute('select 1')\n")
    tool = tmp_path / "poetry"
    tool.write_text(f"import os, sys\nos.execvp(sys.executable, [sys.executable, {str(app)!r}])\n")
    parent = tmp_path / "parent.py"
    parent.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, {str(tool)!r}])\n")
    assert traced("python", parent, url=sink.url).returncode == 0
    sink.wait(lambda events: len(events.transactions) == 2)
    child, program = sorted(sink.transactions, key=lambda one: one["name"])
    assert (child["name"], child["parent_id"], program["name"]) == ("app.py", program["id"], "parent.py")


def test_a_debugged_program_is_left_alone(tmp_path):
    (tmp_path / "app.py").write_text(PROBE)
    done = traced("python", "-m", "pdb", "-c", "continue", "-c", "quit", "app.py", cwd=tmp_path)
    assert UNTOUCHED in done.stdout
