"""Run the tests of an instrumentation's library against many of its releases: ``make versions``.

Each release gets a throw-away virtual environment for the servers; the tests themselves, and with them the agent,
stay where they are (``APM_RUN_SERVER_PYTHON``). What has passed is written to docs/reference/tested-versions.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "tested-versions.md"
TESTS = "tests/instrumentations/test_{}.py"
#: What the tests' applications need beside it. Starlette's own test client before 0.37 calls httpx as of 0.27.
ASGI = ("uvicorn", "python-multipart", "httpx==0.27.2")
WSGI = ("gunicorn",)

#: Library, release ("" is the newest), tests, and what else is to be installed.
RELEASES = (
    ("flask", "1.1.4", ("flask",), (*WSGI, "markupsafe<2.1")),  # no signals without blinker
    ("flask", "2.0.3", ("flask",), (*WSGI, "werkzeug<2.1")),
    ("flask", "2.2.5", ("flask",), (*WSGI, "werkzeug<3")),
    ("flask", "3.0.3", ("flask",), WSGI),
    ("flask", "", ("flask",), WSGI),
    ("starlette", "0.27.0", ("starlette",), ASGI),
    ("fastapi", "0.100.0", ("starlette", "fastapi"), ASGI),
    ("fastapi", "0.106.0", ("starlette", "fastapi"), ASGI),  # dependencies with yield end before the response
    ("fastapi", "0.112.4", ("starlette", "fastapi"), ASGI),
    ("fastapi", "0.118.3", ("starlette", "fastapi"), ASGI),  # and after it again
    ("fastapi", "0.128.8", ("starlette", "fastapi"), ASGI),
    ("fastapi", "0.136.3", ("starlette", "fastapi"), ASGI),
    ("fastapi", "0.137.2", ("starlette", "fastapi"), ASGI),  # included routers match by themselves
    ("fastapi", "0.150.0", ("starlette", "fastapi"), ASGI),
    ("fastapi", "", ("starlette", "fastapi"), ASGI),
)

HEAD = """\
# Tested versions

Written by `make versions`: the tests of Flask, Starlette and FastAPI, each against servers that run in an environment
with that release. No release is refused: where an attribute has gone, `apm-run doctor` says so.

{when}, commit {commit}, CPython {python}.

| Library | Release | With | Tests | Result |
| --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Run all, or those that contain a given word; 0 if every one passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="releases to run, as fastapi==0.100.0; the page stays as it is then")
    only = parser.parse_args().only
    rows, failed = [], False
    for library, release, tests, more in RELEASES:
        if only and f"{library}=={release}" not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            python = environment(Path(folder), f"{library}=={release}" if release else library, *more)
            passed, summary = run(python, tests)
            beside = [name for name in ("starlette", "pydantic", "uvicorn", "werkzeug", "gunicorn") if name != library]
            found = {name: version(python, name) for name in (library, *beside)}
        failed |= not passed
        beside_text = ", ".join(f"{name} {found[name]}" for name in beside if found[name])
        word = "passed" if passed else "**failed**"
        rows.append(f"| {library} | {found[library]} | {beside_text} | {summary} | {word} |")
        print(rows[-1], flush=True)
    if not only:
        commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
        head = HEAD.format(when=datetime.date.today().isoformat(), commit=commit, python=platform.python_version())
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(head + "\n".join(rows) + "\n", "utf-8")
    return 1 if failed else 0


def environment(folder: Path, *requirements: str) -> str:
    """A virtual environment with a release and what it needs; its interpreter."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", "install", *quiet, *requirements], check=True)
    return python


def run(python: str, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Run the tests with servers of that interpreter; whether all passed, and how many."""
    files = [TESTS.format(name) for name in tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**os.environ, "APM_RUN_SERVER_PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print("\n".join(lines[-200:]), done.stderr, sep="\n")
    return done.returncode == 0, lines[-1].strip("= ").partition(" in ")[0] if lines else "nothing"


def version(python: str, name: str) -> str:
    """The version of a package there; empty where it is not installed."""
    words = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run([python, "-c", words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
