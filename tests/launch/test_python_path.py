"""PYTHONPATH: the bootstrap directory in front, and every other item with the meaning it has without us."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from tests.launch.support import environment, probe, run, same

SHOW = ["sh", "-c", 'printf %s "${PYTHONPATH-unset}"']


def python_path(launcher, value=None, **how):
    env = environment() if value is None else environment(PYTHONPATH=value)
    done = run([*launcher, *SHOW], env=env, **how)
    assert (done.returncode, done.stderr) == (0, b"")
    return os.fsdecode(done.stdout)


@pytest.fixture
def bootstrap(plain):
    return str(next(plain.glob("lib/python3*/site-packages/apm_run/_bootstrap")))


@pytest.mark.parametrize(
    ("old", "rest"),
    [
        (None, ""),
        ("", ""),
        ("/x", ":/x"),
        (":", "::"),
        ("/x:", ":/x:"),
        (":/x", "::/x"),
        ("/x::/y", ":/x::/y"),
        ("/é\udcff", ":/é\udcff"),
    ],
)
@pytest.mark.parametrize("odd", [[], ["--set", "a=b"]])
def test_items(launcher, bootstrap, old, rest, odd):
    assert python_path([*launcher, *odd], old) == bootstrap + rest


def test_launching_twice_is_launching_once(launcher, bootstrap):
    assert python_path([*launcher, *launcher], "/x") == f"{bootstrap}:/x"
    assert python_path(launcher, f"{bootstrap}:/x") == f"{bootstrap}:/x"
    assert python_path(launcher, bootstrap) == bootstrap
    assert python_path(launcher, f"{bootstrap}2") == f"{bootstrap}:{bootstrap}2"
    same([*launcher, *launcher], ["sh", "-c", "echo $0 $$PPID >/dev/null; exit 3"])


@pytest.mark.parametrize("old", [None, "", "/x", "/x:", ":/x", "::"])
def test_sys_path_is_as_bare(launcher, old, tmp_path):
    """Also with an empty item: the current directory is where it was, and nowhere else."""
    env = environment() if old is None else environment(PYTHONPATH=old)
    command = [sys.executable, "-c", "import sys; print(sys.path)"]
    same(launcher, command, env=env, cwd=tmp_path)


@pytest.mark.parametrize("odd", [{}, {"odd.name": "1"}])
def test_near_the_limit_of_the_kernel(launcher, bootstrap, odd):
    """At most 131072 bytes for one variable: what does not fit is started untraced, all else traced."""
    room = 131072 - len("PYTHONPATH=") - 1
    for length, fits in ((room, False), (room - len(bootstrap), False), (room - len(bootstrap) - 1, True)):
        old = "/" + "é" * ((length - 2) // 2) + "x" * (length % 2 + 1)
        assert len(os.fsencode(old)) == length
        done = run([*launcher, *SHOW], env=environment(PYTHONPATH=old, **odd))
        assert done.stderr == b""
        assert os.fsdecode(done.stdout) == (f"{bootstrap}:{old}" if fits else old)


def test_a_bootstrap_that_no_item_can_name(launcher, plain, tmp_path):
    """A colon in the path of the installation: untraced, and nothing said."""
    folder = tmp_path / "a:b" / "venv"
    shutil.copytree(plain, folder, symlinks=True)
    moved = [word.replace(str(plain), str(folder)) for word in launcher]
    assert python_path(moved, "/x") == "/x"
    assert python_path([*moved, "--set", "a=b"]) == "unset"


def test_an_installation_without_bootstrap(launcher, plain, tmp_path):
    """Half removed: the program starts as bare."""
    folder = tmp_path / "venv"
    shutil.copytree(plain, folder, symlinks=True)
    shutil.rmtree(next(folder.glob("lib/python3*/site-packages/apm_run/_bootstrap")))
    moved = [word.replace(str(plain), str(folder)) for word in launcher]
    assert python_path(moved, "/x") == "/x"


def test_the_program_is_traced(launcher):
    assert (
        "apm_run.agent"
        in probe([*launcher, sys.executable, os.path.join(os.path.dirname(__file__), "probe.py")])["modules"]
    )
