"""CPython's own test suite, bare and under apm-run: not one test may change its outcome (`make transparency`).

The files of the package ``test`` that are about what the agent touches run twice each, one after the other: as they
are, and with ``apm-run`` in front and a receiver of ours that takes what comes. The outcome of every single test is
compared, and the time. A test that differs is run again, its whole file, up to three times each way:

* *changed*: bare and traced have no outcome in common, or it was steady bare and differed twice traced;
* *unsteady*: anything else that differed; the page counts it and says how often.

Exit code 1 when a test has changed, for a reason that is not in REASONS, or when the traced runs took more than 10 %
longer in all.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from apm_run.local.server import Receiver

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "transparency.md"
#: Which files: what is about the modules that the agent instruments, uses or could disturb.
ABOUT = re.compile(
    r"(test\.)?(test_asyncio(\..*)?|test_(atexit|concurrent_futures|context|contextlib|contextlib_async|copy|coroutines"
    r"|asyncgen|docxmlrpc|fork1|gc|generators|http_cookiejar|http_cookies|httplib|httpservers|import|importlib|inspect"
    r"|logging|module|multiprocessing_\w+|pickle|pkgutil|py_compile|queue|runpy|signal|site|socketserver|sqlite|sqlite3"
    r"|subprocess|support|sys|sys_setprofile|sys_settrace|thread|threadedtempfile|threading|threading_local"
    r"|threadsignals|traceback|urllib|urllib2|urllib2_localnet|urllib_response|urlparse|warnings|weakref|wsgiref|xmlrpc"
    r"|zipimport)(\..*)?)$"
)
#: More time than this in all is a failure.
TOLERATED = 1.10
#: Stands behind a file's name for the outcome of the file itself: regrtest's exit code, 3 when it has left the
#: process or the folder otherwise than it found them.
WHOLE = " (the file itself)"
#: The same where there was a thread more at its end by ``_thread._count()``, and nothing else.
THREADS = " (threads at its end)"
_WARNING = re.compile(r"^Warning -- (\w\S*)", re.MULTILINE)
_RERUNS = 3
_TIMEOUT = 600
_HEADERS = "the request carries the trace context (`traceparent`), which is what the agent is for"
#: What changes and stays so, and why: pattern of a test's name -> reason. Anything else that changes is a failure.
REASONS = {
    "*.test_httplib.BasicTest.test_send_file": _HEADERS,
    "*.test_httplib.BasicTest.test_send_iter": _HEADERS,
    "*.test_xmlrpc.HeadersServerTestCase.test_header*": _HEADERS,
    "*.CursorTests.test_execute_named_param_and_sequence": "sqlite3 warns (3.12+) of the code that has called it, "
    "which is our wrapper",
    f"*{THREADS}": "`_thread._count()` counts the agent's thread, which was started meanwhile",
}


class Run:
    """One run of one file."""

    def __init__(self, outcomes: dict[str, str], wall: float, cpu: float) -> None:
        """:param outcomes: of each test, and of the file itself. :param wall: seconds. :param cpu: the same."""
        self.outcomes = outcomes
        self.wall = wall
        self.cpu = cpu


class Suite:
    """The test suite of one interpreter."""

    def __init__(self, python: str, more: str | None, environment: dict[str, str]) -> None:
        """:param more: a folder of test files that the installation lacks. :param environment: for both ways."""
        self.python = python
        self.more = more
        self.environment = environment
        self.version = self._ask("-c", "import platform; print(platform.python_version())").strip()

    def _ask(self, *words: str) -> str:
        command = [self.python, *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    def files(self, patterns: list[str]) -> list[str]:
        """The names of the files to run; ``patterns`` choose among them where any are given."""
        found = [name for name in self._ask("-m", "test", "--list-tests").split() if ABOUT.match(name)]
        if self.more:
            paths = [path.relative_to(self.more).with_suffix("") for path in Path(self.more).glob("**/test_*.py")]
            found += sorted({".".join(path.parts) for path in paths} - set(found))
        names = {name: name.rpartition("test.")[2] for name in found}
        return [name for name in found if not patterns or any(fnmatch.fnmatch(names[name], one) for one in patterns)]

    def run(self, name: str, prefix: tuple[str, ...] = ()) -> Run:
        """Run one file to its end, ``prefix`` in front of the command."""
        with tempfile.TemporaryDirectory(prefix="transparency-", ignore_cleanup_errors=True) as folder:
            report = os.path.join(folder, "report.xml")
            command = [*prefix, self.python, "-m", "test", "--fail-env-changed", "--junit-xml", report]
            if self.more and Path(self.more, f"{name.replace('.', '/')}.py").exists():
                command += ["--testdir", self.more]
            work = os.path.join(folder, "work")
            os.mkdir(work)
            environment = {**self.environment, "TMPDIR": work, "HOME": work, "XDG_STATE_HOME": f"{folder}/state"}
            with open(os.path.join(folder, "output"), "w+b") as output:
                code, wall, cpu = timed([*command, name], cwd=work, env=environment, output=output)
                output.seek(0)
                text = output.read().decode("utf-8", "replace")
            outcomes = outcomes_of(report)
        only_threads = code == 3 and set(_WARNING.findall(text)) <= {"threading_cleanup()", "Dangling"}
        outcomes[name + THREADS] = "one more" if only_threads else "none more"
        code = 0 if only_threads else code
        outcomes[name + WHOLE] = f"exit code {code}"
        if "-v" in sys.argv and code != 0:
            print(text, file=sys.stderr)
        return Run(outcomes, wall, cpu)


def timed(command: list[str], output, limit: float = _TIMEOUT, **how) -> tuple[int | str, float, float]:
    """Run a command: its exit code, or why it has none, and its time in seconds, of the clock and of the CPU."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **how
    )
    code: int | str = "none: hangs"
    usage = None
    while time.perf_counter() - start < limit and usage is None:
        pid, status, found = os.wait4(process.pid, os.WNOHANG)
        if pid:
            usage = found
            code = process.returncode = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.005)
    wall = time.perf_counter() - start
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    if usage is None:
        process.wait()
        return code, wall, 0.0
    return code, wall, usage.ru_utime + usage.ru_stime


def outcomes_of(report: str) -> dict[str, str]:
    """The outcome of every test in a report of regrtest or pytest; several of one name are counted together."""
    found: dict[str, list[str]] = {}
    if os.path.exists(report):
        for case in ElementTree.parse(report).iter("testcase"):
            # A test with a failed subtest is left without a name: it is then missing under its own.
            outcome = next(
                (kind for kind in ("error", "failure", "skipped", "output") if case.find(kind) is not None), ""
            )
            if case.get("name"):
                name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
                found.setdefault(name, []).append(outcome or case.get("outcome") or "ok")
    return {name: ", ".join(sorted(outcomes)) for name, outcomes in found.items()}


class Comparison:
    """What the runs of one file have shown."""

    def __init__(self, name: str) -> None:
        """:param name: of the file."""
        self.name = name
        self.file = name + WHOLE
        self.bare: list[Run] = []
        self.traced: list[Run] = []

    def differing(self) -> dict[str, tuple[Counter[str], Counter[str]]]:
        """Test -> how often it had which outcome bare and traced, for those that did not always have the same."""
        names = dict.fromkeys(name for run in (*self.bare, *self.traced) for name in run.outcomes)
        found = {}
        for name in names:
            each = [Counter(run.outcomes.get(name, "not run") for run in runs) for runs in (self.bare, self.traced)]
            if len(each[0] | each[1]) > 1:
                found[name] = (each[0], each[1])
        return found

    def changed(self) -> dict[str, tuple[Counter[str], Counter[str]]]:
        """Those of them whose outcome has changed."""
        found = {}
        for name, (bare, traced) in self.differing().items():
            steady = len(bare) == 1 and sum(traced[one] for one in traced if one not in bare) > 1
            if steady or not bare.keys() & traced.keys():
                found[name] = (bare, traced)
        if len(found) > 1:  # the file's own outcome then only says the same again
            found.pop(self.file, None)
        return found

    def to_json(self) -> dict[str, object]:
        """What a later page needs of it."""
        bare, traced = self.bare[0], self.traced[0]
        differing, changed = self.differing(), self.changed()
        return {
            "name": self.name,
            "tests": sum(not name.endswith((WHOLE, THREADS)) for name in bare.outcomes),
            "skipped": sum(outcome == "skipped" for outcome in bare.outcomes.values()),
            "passed": sum(outcome == "ok" for outcome in bare.outcomes.values()),
            "bare": [bare.wall, bare.cpu],
            "traced": [traced.wall, traced.cpu],
            "changed": {name: [dict(one) for one in each] for name, each in changed.items()},
            "unsteady": {
                name: [dict(one) for one in each]
                for name, each in differing.items()
                if name not in changed and not (changed and name == self.file)
            },
        }


def compare(suite: Suite, name: str, prefix: tuple[str, ...], reruns: int) -> Comparison:
    """Run one file both ways, and again as long as a test differs."""
    found = Comparison(name)
    for _ in range(1 + reruns):
        found.bare.append(suite.run(name))
        found.traced.append(suite.run(name, prefix))
        if not found.differing():
            break
    return found


def environment(url: str, strict: bool) -> dict[str, str]:
    """The variables of both ways: nothing of the developer's own, and a server for the one that asks for it."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM", "TZ") if name in os.environ}
    more = {"APM_RUN_STRICT": "1"} if strict else {}
    return {"LANG": "C.UTF-8", **kept, **more, "ELASTIC_APM_SERVER_URL": url, "ELASTIC_APM_SERVICE_NAME": "cpython"}


def interpreter(wanted: str) -> str:
    """The path of an interpreter: given itself, or found by its version among those of pyenv."""
    if not wanted:
        return os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    if "/" in wanted:
        return wanted
    found = sorted(Path.home().glob(f".pyenv/versions/{wanted}*/bin/python"))
    if not found:
        raise SystemExit(f"no interpreter {wanted}")
    return str(found[-1])


def main(arguments: list[str]) -> int:
    """Run, print the table, write the section of the page; 1 when something has changed."""
    parser = argparse.ArgumentParser(prog="make transparency ARGS=...", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="patterns of files such as test_sqlite3* (default: all)")
    parser.add_argument("--python", default="", help="path or version, such as 3.13 (default: this environment's)")
    parser.add_argument("--more", help="folder of test files that the interpreter's installation lacks")
    parser.add_argument("--jobs", type=int, default=1, help="files at once; times are worth nothing then")
    parser.add_argument("--reruns", type=int, default=_RERUNS)
    parser.add_argument("--strict", action="store_true", help="errors of the agent come out (APM_RUN_STRICT=1)")
    parser.add_argument("--json", help="keep the figures in this file: what it holds is not run again")
    parser.add_argument("--no-page", action="store_true", help="leave docs/reference/transparency.md alone")
    parser.add_argument("-v", action="store_true", help="show the output of failing files")
    options = parser.parse_args(arguments)
    # In the background of a shell it is ignored; tests that interrupt themselves then never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Receiver(port=0) as receiver:
        suite = Suite(interpreter(options.python), options.more, environment(receiver.url, options.strict))
        prefix = (os.path.join(os.path.dirname(sys.executable), "apm-run"),)
        names = suite.files(options.files)
        results = kept(options.json, suite.version)
        print(f"CPython {suite.version}: {len(names)} files, {len(results)} of them done before", flush=True)
        todo = [name for name in names if name not in results]
        with ThreadPoolExecutor(options.jobs) as pool:
            for found in pool.map(lambda name: compare(suite, name, prefix, options.reruns), todo):
                result = results[found.name] = {**found.to_json(), "commit": commit(), "version": suite.version}
                print("\n".join([_row(result), *changes(result)]), flush=True)
                if options.json:
                    Path(options.json).write_text(json.dumps(list(results.values()), indent=1))
        rejected = receiver.summary()["rejected"]
    verdict = Verdict(suite.version, [results[name] for name in names], rejected)
    print(verdict.line())
    if not options.no_page and not options.files:
        verdict.write()
    return verdict.exit_code()


def kept(path: str | None, version: str) -> dict[str, dict]:
    """What a run before has left in the file of ``--json``: file -> result."""
    if not path or not os.path.exists(path):
        return {}
    found = {result["name"]: result for result in json.loads(Path(path).read_text())}
    return {name: result for name, result in found.items() if result["version"] == version}


def commit() -> str:
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%h"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def _row(result: dict) -> str:
    ratio = result["traced"][0] / result["bare"][0]
    return f"| {result['name']} | {result['tests']} | {len(result['changed'])} | {ratio:.2f} |"


def changes(result: dict, reasons: dict[str, str] = REASONS) -> list[str]:
    """What differed in a file, a line each."""
    found = []
    for kind in ("changed", "unsteady"):
        for name, (bare, traced) in result[kind].items():
            why = reason(name, reasons)
            text = f"* {kind}: `{name}`: bare {counted(bare)}, traced {counted(traced)}"
            found.append(f"{text}; {why}" if why else text)
    return found


def reason(name: str, reasons: dict[str, str] = REASONS) -> str:
    """Why a test changes and stays so; empty where that is not known."""
    return next((reasons[one] for one in reasons if fnmatch.fnmatch(name, one)), "")


def counted(outcomes: dict[str, int]) -> str:
    if len(outcomes) == 1 and 1 in outcomes.values():
        return next(iter(outcomes))
    return " and ".join(f"{outcome} ({times} times)" for outcome, times in outcomes.items())


class Verdict:
    """All files of one interpreter."""

    def __init__(self, version: str, results: list[dict], rejected: int) -> None:
        """:param rejected: how many events the receiver refused."""
        self.version = version
        self.results = results
        self.rejected = rejected
        self.tests = sum(result["tests"] for result in results)
        self.changed = sum(len(result["changed"]) for result in results)
        self.explained = sum(bool(reason(name)) for result in results for name in result["changed"])
        self.bare = sum(result["bare"][0] for result in results)
        self.wall = sum(result["traced"][0] for result in results) / max(0.001, self.bare)
        cpu = [sum(result[way][1] for result in results) for way in ("bare", "traced")]
        self.cpu = cpu[1] / max(0.001, cpu[0])

    def line(self) -> str:
        """It in one line."""
        return (
            f"{len(self.results)} files, {self.tests} tests, {self.changed} changed ({self.explained} of them for a "
            f"reason given below); {self.bare:.0f} s bare, time x {self.wall:.3f}, CPU time x {self.cpu:.3f}; "
            f"{self.rejected} events rejected"
        )

    def exit_code(self) -> int:
        """0 when nothing has changed without a known reason and the time is within the bounds."""
        return 1 if self.changed > self.explained or self.wall > TOLERATED else 0

    def write(self) -> None:
        """Write its section of the page; those of other versions stay."""
        text = PAGE.read_text() if PAGE.exists() else _HEAD
        _, *sections = re.split(r"(?m)^(?=## CPython )", text)
        kept = {section.split()[2]: section for section in sections}
        kept[self.version] = self._section()
        order = sorted(kept, key=lambda version: tuple(map(int, re.findall(r"\d+", version))))
        PAGE.write_text(_HEAD + "\n".join(kept[version].rstrip() + "\n" for version in order))

    def _section(self) -> str:
        found = {result["commit"] for result in self.results}
        git = ["git", "-C", str(ROOT), "log", "--no-walk=sorted", "--format=%h", *found]
        commits = subprocess.run(git, capture_output=True, text=True, check=True).stdout.split()
        shown = " to ".join(dict.fromkeys((commits[-1], commits[0])))
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        lines = [f"## CPython {self.version}", "", f"{day}, commit {shown}. {self.line()}.", ""]
        changed = [text for result in self.results for text in changes(result)]
        lines += [*changed, ""] if changed else []
        lines += ["| File | Tests | Changed | Time |", "|---|---:|---:|---:|", *map(_row, self.results)]
        return "\n".join(lines) + "\n"


_HEAD = """\
# Transparency: CPython's own tests under apm-run

<!-- Written by `make transparency` (integration/transparency.py). -->

The tests that CPython comes with, of the modules that the agent instruments, uses or could disturb, run bare and with
`apm-run` in front, sending to a receiver on the same machine; without network beyond it. The outcome of every single
test is compared. A test that differed was run again up to three times each way. *Changed* are those that bare and
traced never had an outcome in common, or that were steady bare and differed twice traced; *unsteady* the others.

"Time" is traced by bare, of the first run of each. A file of less than a second tells of the start of an interpreter
and of its end; on a machine that has other work to do, CPU time tells more than the clock.

Files that an installation lacks can be given with `--more DIR`. For CPython 3.11.7, whose installation has neither
test_concurrent_futures nor test_multiprocessing_*, they are those of Debian's libpython3.11-testsuite 3.11.2
(`*.test_all`).

"""

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
