"""Whose code a file is (spec 9, ``library_frame``): virtual environments, zipapps, editable installs, the library."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipapp
from pathlib import Path

import pytest
from tests.engine import settings

from apm_run.tracer.paths import in_app

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/program.py", True),
        ("program.py", True),
        ("/home/me/site-packages/shop/app.py", True),
        ("/home/me/dist-packages/site-packages/shop/app.py", True),
        ("/home/me/app.pyz/shop/app.py", True),
        (f"{sysconfig.get_path('stdlib')}/json/decoder.py", False),
        (f"{sysconfig.get_path('purelib')}/flask/app.py", False),
        ("/usr/lib/python3/dist-packages/yaml/reader.py", False),
        ("/home/me/shop/.venv/lib/python3.12/site-packages/flask/app.py", False),
        ("/home/me/site-packages/shop/.venv/lib/python3.12/site-packages/flask/app.py", False),
        (f"{sys.prefix}/bin/flask", False),
        ("<frozen importlib._bootstrap>", False),
        ("<string>", False),
        ("", True),
    ],
)
def test_in_app(path, expected):
    assert in_app(path, "module") is expected


def test_a_folder_of_packages_on_the_path(monkeypatch):
    assert in_app("/opt/bundle/site-packages/x.py", "x") is True
    monkeypatch.setattr(sys, "path", ["/opt/bundle/site-packages"])
    assert in_app("/opt/bundle/site-packages/x.py", "x") is False


def test_without_a_virtual_environment_programs_beside_the_interpreter_are_anybodys(monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert in_app(f"{sys.prefix}/bin/flask", "__main__") is True


@pytest.mark.parametrize(("name", "expected"), [("<string>", True), ("<stdin>", True), ("<generated>", False)])
def test_a_program_without_a_file(name, expected):
    assert in_app(name, "__main__") is expected


def test_include_wins_over_exclude():
    """Spec 4.2: include_paths and exclude_paths, include wins."""
    options = settings(include_paths="/srv/*/ours/*, */site-packages/acme/*", exclude_paths="/srv/*")
    include, exclude = options.include_paths, options.exclude_paths
    assert in_app("/srv/x/theirs/a.py", "a", include, exclude) is False
    assert in_app("/srv/x/ours/a.py", "a", include, exclude) is True
    assert in_app(f"{sysconfig.get_path('purelib')}/acme/a.py", "a", include, exclude) is True
    assert in_app("/home/a.py", "a", include, exclude) is True


PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from apm_run.tracer.paths import in_app
def said(frame):
    found = {}
    while frame is not None:
        found[frame.f_globals["__name__"]] = in_app(frame.f_code.co_filename, frame.f_globals["__name__"])
        frame = frame.f_back
    return found
def tell():
    print(*[f"{name}={own}" for name, own in sorted(said(sys._getframe(1)).items())])
"""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_zipapp(tmp_path):
    """What runs from a zip file that was started as a program is the program's own."""
    source = tmp_path / "source"
    (source / "shop").mkdir(parents=True)
    (source / "__main__.py").write_text(f"{PROGRAM}\nfrom shop import work\nwork(tell)\n")
    (source / "shop" / "__init__.py").write_text("def work(tell):\n    tell()\n")
    zipapp.create_archive(source, tmp_path / "app.pyz")
    found = run(sys.executable, tmp_path / "app.pyz", ROOT / "src")
    assert {"__main__=True", "shop=True"} <= set(found)


def test_an_environment_inside_the_project_and_an_editable_install(tmp_path):
    """What is installed is a library's, what is installed in place is the program's own."""
    folder = tmp_path / "site-packages" / "project"  # the name of a folder above says nothing
    environment = folder / ".venv"
    venv.create(environment, with_pip=False)
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "lib.py").write_text("def through(call):\n    call()\n")
    (folder / "src" / "shop").mkdir(parents=True)
    (folder / "src" / "shop" / "__init__.py").write_text(
        "from lib import through\ndef work(tell):\n    through(tell)\n"
    )
    (site / "shop.pth").write_text(f"{folder / 'src'}\n")
    (folder / "main.py").write_text(f"{PROGRAM}\nfrom shop import work\nwork(tell)\n")
    found = run(environment / "bin" / "python", folder / "main.py", ROOT / "src")
    assert found == ["__main__=True", "lib=False", "shop=True"]
