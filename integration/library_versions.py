"""Run the tests of the libraries against many of their releases: ``make integration-full``.

Each release gets a throw-away virtual environment. Where a test starts servers, those run there and the tests stay
where they are (``APM_RUN_SERVER_PYTHON``); else the tests run there, with the agent of this checkout. What came of it
is written to docs/reference/tested-versions.md, a row per release.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from integration.libraries.versions import RELEASES, Release  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "tested-versions.md"
#: What the tests themselves need, for any of these interpreters.
TESTING = (
    "pytest==8.4.2",
    "pytest-timeout==2.4.0",
    "hypothesis==6.141.1",
    "jsonschema==4.25.1",
    "pytest-randomly==4.0.1",
    "starlette",
    "uvicorn",
)
#: Worth naming beside a release where they are installed with it.
BESIDE = (
    "starlette",
    "pydantic",
    "uvicorn",
    "werkzeug",
    "gunicorn",
    "kombu",
    "sqlalchemy",
    "grpcio",
    "aiohttp",
    "motor",
    "redis",
)

HEAD = """\
# Tested versions

Written by `make integration-full`: the tests of each library, with that release of it. Each row says when it was run,
and of which commit; rows of releases that are not run again stay. No release is refused: where an attribute has gone,
`apm-run doctor` says so.

| Library | Release | CPython | With | Tests | Result | Run |
| --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Run all, or those of given libraries; 0 if every one passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="libraries or releases, as redis or fastapi==0.100.0")
    only = parser.parse_args().only
    unknown = set(only) - {name for each in RELEASES for name in (each.library, pinned(each))}
    if unknown:
        parser.error(f"not in integration/libraries/versions.py: {', '.join(sorted(unknown))}")
    failed = False
    for each in RELEASES:
        if only and each.library not in only and pinned(each) not in only:
            continue
        row, passed = row_of(each)
        failed |= not passed
        print(row, flush=True)
        if row:
            write(row)
    return 1 if failed else 0


def write(row: str) -> None:
    """Put a row into the page, in the place of the one of the same library and release."""
    kept = PAGE.read_text("utf-8").splitlines() if PAGE.exists() else []
    rows = {key(line): line for line in kept if line.startswith("| ") and key(line)[0] not in ("Library", "---")}
    rows[key(row)] = row
    PAGE.write_text(HEAD + "".join(f"{line}\n" for _, line in sorted(rows.items())), "utf-8")


def key(row: str) -> tuple[str, tuple[int | str, ...]]:
    """Library and release of a row, in the order of releases."""
    library, release = (cell.strip() for cell in row.split("|")[1:3])
    return library, tuple([int(part) if part.isdecimal() else 0 for part in release.split(".")])


def pinned(release: Release) -> str:
    """The requirement of a release."""
    return f"{release.library}=={release.release}" if release.release else release.library


def row_of(release: Release) -> tuple[str, bool]:
    """Test a release: its line of the table, "" where no test could run, and whether all has passed."""
    interpreter = found(release.python)
    with tempfile.TemporaryDirectory() as folder:
        testing = TESTING if release.tests else ()
        python = interpreter and environment(interpreter, folder, pinned(release), *release.beside, *testing)
        if python is None:
            print(f"{pinned(release)} cannot be installed for CPython {release.python}")
            return "", False
        passed, summary = run(python, release)
        facts = {name: version(python, name) for name in (release.library, *BESIDE)}
        number = output(python, "-c", "import platform; print(platform.python_version())")
    beside = ", ".join(f"{name} {facts[name]}" for name in BESIDE if facts[name] and name != release.library)
    word = "passed" if passed else "**failed**"
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    when = f"{datetime.date.today().isoformat()}, {commit}"
    return (
        f"| {release.library} | {facts[release.library]} | {number} | {beside} | {summary} | {word} | {when} |",
        passed,
    )


def found(python: str) -> str | None:
    """The interpreter of a version."""
    if not python:
        return sys.executable
    every = sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))
    return str(every[-1]) if every else None


def environment(interpreter: str, folder: str, *requirements: str) -> str | None:
    """A virtual environment with a release and what it needs; its interpreter."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    python = f"{folder}/bin/python"
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", "install", *quiet, "--upgrade", "pip"], check=True)
    done = subprocess.run([python, "-m", "pip", "install", *quiet, *requirements], check=False)
    return python if done.returncode == 0 else None


def run(python: str, release: Release) -> tuple[bool, str]:
    """Run the tests, those that stay here and those that run there; whether all passed, and how many."""
    served = run_tests(sys.executable, release.served, python, {})
    beside = run_tests(python, release.tests, python, {"PYTHONPATH": str(ROOT / "src")})
    done = [each for each in (served, beside) if each]
    return all(passed for passed, _ in done), " + ".join(summary for _, summary in done)


def run_tests(runner: str, tests: tuple[str, ...], python: str, own: dict[str, str]) -> tuple[bool, str] | None:
    """Run some tests by one interpreter, what they start by another; None where there are none."""
    if not tests:
        return None
    done = subprocess.run(
        [runner, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "APM_RUN_SERVER_PYTHON": python, **own},
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
    return subprocess.run([python, "-c", words], capture_output=True, text=True, check=False).stdout.strip()


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
