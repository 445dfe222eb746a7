"""The wheel's ``.pth`` file: a script that resets PYTHONPATH does not cut off what apm-run is installed for."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from tests.launch.support import REPOSITORY, environment, run, same

PROBE = "import sys; print('apm_run' in sys.modules, sum('apm_run' in repr(f) for f in sys.meta_path), sys.path)"
RESETS = ["PYTHONPATH=", "PYTHONPATH={}", "PYTHONPATH={}:/x", "unset PYTHONPATH;"]
PATH_FILE = "apm_run.pth"


@pytest.fixture
def python(plain):
    return str(plain / "bin" / "python")


def site_packages(venv):
    return next(venv.glob("lib/python3*/site-packages"))


def shell(reset, folder, *words):
    """A command whose shell resets PYTHONPATH and starts these words."""
    return ["sh", "-c", f'export PYTHONPATH; {reset.format(folder)} "$@"', "sh", *words]


@pytest.mark.parametrize("reset", RESETS)
def test_traced_all_the_same(script, python, reset, tmp_path):
    words = shell(reset, tmp_path, python, "-c", PROBE)
    bare, launched = run(words), run([script, *words])
    assert bare.stdout.startswith(b"False 0 ")
    assert launched.stdout == b"True 1 " + bare.stdout[len(b"False 0 ") :]
    assert launched.stderr == bare.stderr == b""


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize(
    "body", ["print('own', __file__, __name__)", "raise ValueError('wrong')", "import sys; sys.exit(3)"]
)
def test_the_own_customisation_runs_once(script, python, reset, body, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(body + "\n")
    words = shell(reset, tmp_path, python, "-c", "print('program')")
    bare, launched = (
        run([*launcher, *words], env=environment(PYTHONPATH=str(tmp_path))) for launcher in ([], [script])
    )
    assert (launched.returncode, launched.stdout) == (bare.returncode, bare.stdout)
    assert launched.stderr.splitlines()[-1:] == bare.stderr.splitlines()[-1:]


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_flags_that_forbid_it(script, python, flag, tmp_path):
    same([script], shell("PYTHONPATH={}", tmp_path, python, flag, "-c", PROBE))


def test_without_the_mark_it_does_nothing(python, tmp_path):
    code = "import sys; print('apm_run' in sys.modules, [name for name in sys.path if 'bootstrap' in name])"
    assert run([python, "-c", code]).stdout == b"False []\n"


def test_no_second_start(script, python, tmp_path):
    """Launched as usual: both ways find the same file."""
    (tmp_path / "sitecustomize.py").write_text("print('own')\n")
    env = environment(PYTHONPATH=str(tmp_path))
    done = run([script, python, "-c", PROBE], env=env)
    assert done.stdout.startswith(b"own\nTrue 1 [")
    assert b"bootstrap" not in done.stdout


def test_another_installation_before_it(python, tmp_path):
    """The launcher's agent counts, and is the only one."""
    code = "import apm_run; print(apm_run.__file__)\n" + PROBE
    env = environment(PYTHONPATH=str(REPOSITORY / "bootstrap"), APM_RUN_LAUNCHED="1")
    done = run([python, "-c", code], env=env)
    assert done.stdout.startswith(f"{REPOSITORY}/src/apm_run/__init__.py\nTrue 1 [".encode())
    assert b"bootstrap" not in done.stdout


def test_where_the_program_adds_the_directory_itself(python, plain):
    """Long after the start, when no ``sitecustomize`` will be imported any more."""
    code = f"import site, sys; site.addsitedir({str(site_packages(plain))!r}); print(sys.path[0])"
    assert run([sys.executable, "-c", code], env=environment(APM_RUN_LAUNCHED="1")).stdout == b"\n"


def test_it_may_be_left_behind(script, plain, tmp_path):
    """The package was removed and the file was not."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    shutil.copy(site_packages(plain) / PATH_FILE, site_packages(tmp_path / "other"))
    python = str(tmp_path / "other" / "bin" / "python")
    same([script], shell("PYTHONPATH={}", tmp_path, python, "-c", PROBE))


def test_pip_removes_it(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "other" / "bin" / "python"]
    subprocess.run([*pip, "install", "-q", "--no-deps", wheel], check=True)
    folder = site_packages(tmp_path / "other")
    assert (folder / PATH_FILE).exists()
    subprocess.run([*pip, "uninstall", "-q", "-y", "apm-run"], check=True, capture_output=True)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_not_for_children_that_are_not_wanted(script, python, tmp_path):
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROBE!r}], env={{'A': '1', **KEPT}})"
    code = f"import os; KEPT = {{n: v for n, v in os.environ.items() if n != 'PYTHONPATH'}}; {child}"
    assert run([script, python, "-c", code]).stdout.startswith(b"True")
    assert run([script, python, "-c", code], env=environment(APM_RUN_CHILDREN="0")).stdout.startswith(b"False")


@pytest.mark.timing
def test_what_it_costs_without_the_mark(python, plain):
    """Ten times what the site module needs for a file that does nothing would still be next to nothing."""
    code = (
        "import site, time, sys\n"
        "def each(name):\n"
        "    began = time.perf_counter()\n"
        "    for _ in range(1000):\n        site.addpackage(sys.argv[1], name, set())\n"
        "    return time.perf_counter() - began\n"
        "print(min(each('apm_run.pth') for _ in range(5)) * 1000)\n"
    )
    done = run([python, "-c", code, str(site_packages(plain))])
    assert float(done.stdout) < 300  # microseconds; 45 on a quiet machine
