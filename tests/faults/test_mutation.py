"""The fault matrix can fail: it does when any one guard of the engine is taken away."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import apm_run

PACKAGE = Path(apm_run.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys
import apm_run
assert apm_run.__file__.startswith(sys.argv[1]), apm_run.__file__
from tests.faults.matrix import cases
count = 0
for case in cases():
    count += 1
    try:
        case.run()
    except BaseException as error:
        print(f"{case}: {type(error).__name__}: {error}")
        sys.exit(3)
print(count)
"""


def guards() -> list[tuple[str, int, str]]:
    """File, line and function of each handler in the engine that puts a failure on record."""
    found = {}
    for file in sorted((PACKAGE / "instrument").glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                handlers = [one for one in ast.walk(function) if isinstance(one, ast.ExceptHandler)]
                # Of nested functions the innermost comes last.
                found.update({(file.name, one.lineno): function.name for one in handlers if _recording(one)})
    return sorted((file, line, name) for (file, line), name in found.items())


def _recording(handler: ast.ExceptHandler) -> bool:
    names = {
        getattr(call.func, "id", getattr(call.func, "attr", "")) for call in ast.walk(handler) if hasattr(call, "func")
    }
    return bool(names & {"failed", "fault"})


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, and the matrix run against it: exit status and what is printed."""
    shutil.copytree(PACKAGE, tmp_path / "apm_run", ignore=shutil.ignore_patterns("__pycache__", "static", "cli"))

    def run():
        environ = {name: value for name, value in os.environ.items() if not name.startswith("APM_RUN_")}
        environ |= {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", RUN, str(tmp_path)]
        return subprocess.run(
            command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    run.folder = tmp_path / "apm_run" / "instrument"
    return run


def test_the_matrix_holds_for_the_copy(copy):
    done = copy()
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 1000


def test_there_are_guards():
    found = [name for file, _, name in guards() if file == "wrap.py"]
    assert sorted(found) == ["_observe", "end", "fail", "open", "rewritten"]
    assert len(guards()) >= 12


@pytest.mark.parametrize(("file", "line", "name"), guards(), ids=lambda value: str(value))
def test_it_fails_without_the_guard(copy, file, line, name):
    source = copy.folder / file
    lines = source.read_text("utf-8").splitlines(keepends=True)
    assert "except Exception" in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace("except Exception", "except ZeroDivisionError")
    source.write_text("".join(lines), "utf-8")
    done = copy()
    assert done.returncode == 3, done.stderr
    assert ": " in done.stdout
