"""What the wheel holds: the package, the bootstrap, the launcher, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from apm_run.version import __version__

ROOT = Path(__file__).parents[2]
INFO = f"apm_run-{__version__}.dist-info"
LAUNCHER = f"apm_run-{__version__}.data/scripts/apm-run"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.iterdir()
    assert file.name == f"apm_run-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(file) as opened:
        yield opened


def test_file_list(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    package = {
        str(path.relative_to(source))
        for path in (source / "apm_run").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "apm_run/py.typed" in package
    assert set(wheel.namelist()) == {
        *package,
        "apm_run/_bootstrap/sitecustomize.py",
        "apm_run.pth",
        LAUNCHER,
        f"{INFO}/METADATA",
        f"{INFO}/RECORD",
        f"{INFO}/WHEEL",
        f"{INFO}/licenses/LICENSE",
    }


def test_only_source_and_the_files_of_the_page(wheel: zipfile.ZipFile) -> None:
    known = {".py", ".typed", ".html", ".css", ".js", ".svg", ".sql"}
    others = {name for name in wheel.namelist() if name.startswith("apm_run/") and Path(name).suffix not in known}
    assert others == {"apm_run/cli/apm-run", "apm_run/cli/apm-run-copy"}


def test_bootstrap_and_launcher_are_those_of_the_repository(wheel: zipfile.ZipFile) -> None:
    bootstrap = (ROOT / "bootstrap/sitecustomize.py").read_bytes()
    assert wheel.read("apm_run/_bootstrap/sitecustomize.py") == bootstrap
    assert wheel.read("apm_run.pth") == (ROOT / "bootstrap/apm_run.pth").read_bytes()
    launcher = wheel.read(LAUNCHER)
    assert launcher == (ROOT / "src/apm_run/cli/apm-run").read_bytes()
    assert launcher.startswith(b"#!/bin/sh\n")
    assert wheel.getinfo(LAUNCHER).external_attr >> 16 & 0o111


def test_metadata(wheel: zipfile.ZipFile) -> None:
    lines = wheel.read(f"{INFO}/METADATA").decode().splitlines()
    assert "Name: apm-run" in lines
    assert f"Version: {__version__}" in lines
    assert "Requires-Python: >=3.9" in lines
    assert "License-Expression: Apache-2.0" in lines
    assert "Provides-Extra: local" in lines
