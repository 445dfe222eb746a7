"""A wheel of this checkout, installed into virtual environments of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.launch.support import REPOSITORY, SHELL_PARAMS, SHELLS


def _once(base: Path, name: str, build) -> Path:
    """Return ``base/name``, built by the first of the test processes that asks."""
    target = base / name
    try:
        (base / f"{name}.lock").mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 110
        while not target.exists():
            if (base / f"{name}.failed").exists() or time.monotonic() > deadline:
                pytest.fail(f"another test process could not build {name}")
            time.sleep(0.05)
        return target
    try:
        build(base / f"{name}.new")
        # venvs are not moved, only their name appears at once: scripts hold no path of the venv (they are sh)
        os.symlink(base / f"{name}.new", target)
    except BaseException:
        (base / f"{name}.failed").touch()
        raise
    return target


def _call(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


def _site_packages(venv: Path) -> Path:
    return next(venv.glob("lib/python3*/site-packages"))


@pytest.fixture(scope="session")
def base(tmp_path_factory, worker_id) -> Path:
    """A directory that all test processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session")
def wheel(base) -> Path:
    def build(folder: Path) -> None:
        _call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)

    return next(_once(base, "wheel", build).glob("*.whl"))


@pytest.fixture(scope="session")
def plain(base, wheel) -> Path:
    """A venv with the wheel and click: no receiver."""

    def build(folder: Path) -> None:
        _call(sys.executable, "-m", "venv", "--without-pip", folder)
        _call(sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q", "--no-deps", wheel)
        for name in ("click", "tomli"):
            spec = find_spec(name)
            if spec is not None and spec.submodule_search_locations:
                shutil.copytree(spec.submodule_search_locations[0], _site_packages(folder) / name)

    return _once(base, "plain", build).resolve()


@pytest.fixture(scope="session")
def full(base, wheel) -> Path:
    """A venv with the wheel and, behind it, all that is installed where the tests run."""

    def build(folder: Path) -> None:
        _call(sys.executable, "-m", "venv", "--without-pip", folder)
        _call(sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q", "--no-deps", wheel)
        (_site_packages(folder) / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")

    return _once(base, "full", build).resolve()


@pytest.fixture(scope="session")
def script(plain) -> str:
    """``apm-run`` as the wheel installs it."""
    return str(plain / "bin" / "apm-run")


@pytest.fixture(params=[*SHELL_PARAMS, "python"])
def launcher(request, plain, script) -> list[str]:
    """``apm-run`` under each shell that could be /bin/sh, and in the Python form."""
    if request.param == "python":
        return [str(plain / "bin" / "python"), "-m", "apm_run"]
    return [*SHELLS[request.param], script]


@pytest.fixture(params=SHELL_PARAMS)
def shell(request) -> list[str]:
    return SHELLS[request.param]
