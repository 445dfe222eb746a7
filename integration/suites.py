"""The test suites that libraries come with, bare and under apm-run: no test may change its outcome (`make suites`).

For each library of SUITES its source distribution is unpacked and installed into an environment of its own with what
its tests take. The suite runs as it is, and with ``apm-run`` in front and a receiver of ours that takes what comes; a
test whose outcome differs runs again, with its whole suite. How outcomes are compared is as for CPython's own tests
(integration/transparency.py). Exit code 1 when one has changed for a reason that is not in REASONS.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from integration import transparency  # noqa: E402
from integration.services.redis import Redis  # noqa: E402
from integration.transparency import Run  # noqa: E402

from apm_run.local.server import Receiver  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "suites.md"
_LIMIT = 1800
#: What changes and stays so, and why: pattern of a test's name, the library's before it -> reason.
REASONS: dict[str, str] = {}
#: What differs in the names of tests from run to run: addresses, ports.
_VARYING = re.compile(r"0x[0-9a-f]{6,}|(?<=127\.0\.0\.1:)\d+|(?<=localhost:)\d+")


class Library(NamedTuple):
    """The suite of a library.

    :ivar release: whose tests they are, and what is installed. :ivar needs: requirements of its tests.
    :ivar arguments: of pytest, in the folder of the source distribution; ``{redis}`` is the address of a Redis server
        that is started for it.
    """

    name: str
    release: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...] = ("tests",)


# What needs no cluster, no modules and no other server.
_REDIS = tuple(
    f"tests/{folder}test_{name}.py"
    for folder, names in (
        (
            "",
            "commands connection connection_pool pubsub pipeline lock encoding scripting monitor multiprocessing hash",
        ),
        ("test_asyncio/", "commands connection pipeline pubsub lock"),
    )
    for name in names.split()
)
#: Of some forty thousand tests those that reach a driver most; the whole takes half an hour each way.
_SQLALCHEMY = (
    "test/engine", "test/dialect/sqlite", "test/dialect/test_suite.py", "test/sql/test_query.py",
    "test/sql/test_resultset.py", "test/sql/test_returning.py", "test/orm/test_session.py",
    "test/orm/test_transaction.py", "test/ext/asyncio",
)  # fmt: skip
# No network beyond this machine: what needs one is left out.
SUITES = (
    Library("flask", "3.1.3", ("flask[async]", "asgiref", "greenlet", "python-dotenv", "pytest<9")),
    Library(
        "werkzeug",
        "3.1.9",
        ("cffi", "cryptography", "ephemeral-port-reserve", "pytest<9", "pytest-timeout", "watchdog"),
        ("tests", "--timeout", "30"),  # its reloader may miss that a file has changed
    ),
    Library(
        "starlette",
        "1.10.0",
        ("starlette[full]", "httpx2[zstd]", "blockbuster", "importlib-metadata", "opentelemetry-sdk", "pytest", "trio"),
    ),
    Library(
        "requests",
        "2.34.2",
        ("requests[socks]", "pytest-httpbin==2.1.0", "httpbin~=0.10.0", "pytest-mock", "pytest<9", "trustme"),
    ),
    Library(
        "httpx",
        "0.28.1",
        ("httpx[brotli,cli,http2,socks,zstd]", "chardet", "trio", "trustme", "uvicorn", "pytest<9", "cryptography"),
        ("tests", "-m", "not network"),
    ),
    Library(
        "redis",
        "8.1.0",
        (
            "redis[hiredis,jwt]",
            "pytest<9",
            "pytest-asyncio",
            "pytest-timeout",
            "pytest-forked",
            "pytest-cov",
            "numpy",
            "ujson",
            "xxhash",
            "cryptography",
            "pybreaker",
            "opentelemetry-sdk",
            "redis-entraid",
            "aiohttp",
        ),
        (*_REDIS, "--redis-url={redis}", "-m", "not onlycluster and not redismod and not ssl and not cp_integration"),
    ),
    Library(
        "sqlalchemy",
        "2.1.9",
        ("pytest<9", "aiosqlite", "greenlet", "typing-extensions"),
        (*_SQLALCHEMY, "--db", "sqlite", "--db", "aiosqlite"),
    ),
)


class _Redis(Redis):
    """A Redis server that takes the commands with which its client's tests make it fail."""

    options = ("--enable-debug-command", "yes")


class Suite:
    """One library's, in an environment of its own; :meth:`run` as :class:`transparency.Suite` has it."""

    def __init__(self, library: Library, folder: Path, environment: dict[str, str]) -> None:
        """:param folder: what is unpacked and installed; it may hold that from an earlier run."""
        self.library = library
        self.environment = environment
        self.home = folder / f"{library.name}-{library.release}"
        self.source = self.home / "source"
        self.python = str(self.home / "venv" / "bin" / "python")
        #: The end of what the last run has printed.
        self.said = ""
        #: Addresses of servers, by the names that arguments have for them.
        self.servers: dict[str, str] = {}

    def prepare(self) -> None:
        """Unpack and install, unless that is done."""
        ready, wanted = self.home / "ready", repr(self.library.needs)
        if ready.exists() and ready.read_text() == wanted:
            return
        pip = [self.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        pinned = f"{self.library.name}=={self.library.release}"
        subprocess.run([sys.executable, "-m", "venv", "--clear", self.home / "venv"], check=True)
        subprocess.run([*pip, "install", pinned, *self.library.needs], check=True)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", folder, pinned], check=True)
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")
            (unpacked,) = [each for each in Path(folder).iterdir() if each.is_dir()]
            # What is installed is tested, not what lies beside the tests.
            subprocess.run(["rm", "-rf", self.source, *unpacked.glob("src")], check=True)
            subprocess.run(["mv", unpacked, self.source], check=True)
        ready.write_text(wanted)

    def run(self, name: str, prefix: tuple[str, ...] = ()) -> Run:
        """Run the suite to its end, ``prefix`` in front of the command."""
        with tempfile.TemporaryDirectory(prefix="suite-", ignore_cleanup_errors=True) as folder:
            report = os.path.join(folder, "report.xml")
            options = ["-q", "-p", "no:cacheprovider", "--junit-xml", report, "--basetemp", f"{folder}/base"]
            arguments = [each.format(**self.servers) for each in self.library.arguments]
            command = [*prefix, self.python, "-m", "pytest", *options, *arguments]
            environment = {**self.environment, "HOME": folder, "XDG_STATE_HOME": f"{folder}/state"}
            environment["PATH"] = f"{self.home}/venv/bin:{environment['PATH']}"
            environment["PYTHONNOUSERSITE"] = "1"  # SQLAlchemy's tests take what lies beside them otherwise
            with open(os.path.join(folder, "output"), "w+b") as output:
                code, wall, cpu = transparency.timed(command, output, _LIMIT, cwd=self.source, env=environment)
                output.seek(0)
                self.said = output.read().decode("utf-8", "replace")[-3000:]
            found: dict[str, str] = {}
            for test, outcome in transparency.outcomes_of(report).items():
                test = f"{name}: {_VARYING.sub('...', test)}"  # noqa: PLW2901
                found[test] = ", ".join(sorted(filter(None, (found.get(test), outcome))))
            found[name + transparency.WHOLE] = f"exit code {code}"
            return Run(found, wall, cpu)


def main(arguments: list[str]) -> int:
    """Run the suites, print the table, write the page; 1 when something has changed."""
    parser = argparse.ArgumentParser(prog="make suites ARGS=...", description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="libraries (default: all)")
    parser.add_argument("--work", help="folder to keep environments and sources in (default: a temporary one)")
    parser.add_argument("--reruns", type=int, default=2)
    parser.add_argument("--strict", action="store_true", help="errors of the agent come out (APM_RUN_STRICT=1)")
    parser.add_argument("--no-page", action="store_true", help="leave docs/reference/suites.md alone")
    options = parser.parse_args(arguments)
    chosen = [each for each in SUITES if not options.only or each.name in options.only]
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for library in chosen:
            results.append(judged(library, Path(options.work or temporary).resolve(), options))
            print("\n".join([row(results[-1]), *transparency.changes(results[-1], REASONS)]), flush=True)
    if not options.no_page:
        write(results)
    unknown = [name for result in results for name in result["changed"] if not transparency.reason(name, REASONS)]
    idle = [result["name"] for result in results if not result["events"] or result["rejected"]]
    return 1 if unknown or idle else 0


def judged(library: Library, work: Path, options: argparse.Namespace) -> dict:
    """Run one library's suite both ways."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver(port=0))
        suite = Suite(library, work, transparency.environment(receiver.url, options.strict))
        suite.prepare()
        if any("{redis}" in each for each in library.arguments):
            suite.servers["redis"] = f"redis://127.0.0.1:{stack.enter_context(_Redis()).port}/0"
        prefix = (os.path.join(os.path.dirname(sys.executable), "apm-run"),)
        found = transparency.compare(suite, library.name, prefix, options.reruns)  # type: ignore[arg-type]
        result = found.to_json()
        ended = found.bare[-1].outcomes[library.name + transparency.WHOLE]
        if ended not in ("exit code 0", "exit code 1"):
            raise SystemExit(f"{library.name}: {ended}\n{suite.said}")
        summary = receiver.summary()
    events = sum(sum(counts.values()) for counts in summary["services"].values())
    return {**result, "version": library.release, "events": events, "rejected": summary["rejected"]}


def row(result: dict) -> str:
    """Its line of the table."""
    bare, traced = result["bare"], result["traced"]
    failing = result["tests"] - result["passed"] - result["skipped"]
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return (
        f"| {result['name']} | {result['version']} | {result['tests']} | {result['skipped']} | {failing} | "
        f"{len(result['changed'])} | {len(result['unsteady'])} | {bare[0]:.0f} s | {traced[0] / bare[0]:.2f} | "
        f"{traced[1] / bare[1]:.2f} | {result['events']} | {day}, {transparency.commit()} |"
    )


_HEAD = """\
# The libraries' own tests under apm-run

<!-- Written by `make suites` (integration/suites.py). -->

The test suites that libraries come with, from their source distributions, run bare and with `apm-run` in front, on
CPython {python}, without network beyond this machine. The outcome of every single test is compared, those that fail
bare included; what differed was run again, the whole suite. *Changed* and *unsteady* are as for
[CPython's own tests](transparency.md). "Time" and "CPU" are traced by bare; "Events" is what the receiver has taken.

Of redis-py they are those that a single server without modules serves, sync and asyncio; of SQLAlchemy those that reach
a driver most, with sqlite and aiosqlite: all of them would take half an hour each way.

| Library | Release | Tests | Skipped | Failing | Changed | Unsteady | Bare | Time | CPU | Events | Run |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|
"""


def write(results: list[dict]) -> None:
    """Write the page; the lines of libraries that did not run now stay."""
    lines = PAGE.read_text("utf-8").splitlines() if PAGE.exists() else []
    names = [library.name for library in SUITES]
    rows = {name: line for name in names for line in lines if line.startswith(f"| {name} |")}
    notes = {name: [line for line in lines if re.match(rf"\* \w+: `{name}(: | \()", line)] for name in names}
    for result in results:
        rows[result["name"]] = row(result)
        notes[result["name"]] = transparency.changes(result, REASONS)
    table = [rows[name] for name in names if name in rows]
    told = [line for name in names for line in notes[name]]
    text = _HEAD.format(python=sys.version.partition(" ")[0]) + "\n".join(table) + "\n"
    text += "\n" + "\n".join(told) + "\n" if told else ""
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
