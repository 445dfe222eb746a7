"""``apm-run doctor -- COMMAND``: run it traced, watch its tree, and judge each of its processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from apm_run.cli import launch
from apm_run.cli.doctor_findings import Finding
from apm_run.cli.doctor_python import WITHOUT_OFFICIAL
from apm_run.cli.doctor_tree import Tree, adopt_orphans, is_alive
from apm_run.ends import TOOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds between two looks at the tree; and for what is left of it once COMMAND has ended.
_LOOK = 0.03
_LINGER = 2.0

#: Verdicts. The first three are fine.
TRACED, QUIET, LEFT, SKIPPED = "traced", "hooked, no traffic", "left alone", "skipped"
UNTRACED, UNDELIVERED, UNSENT = "not traced", "not delivered", "not sent"

_FIXES = {
    SKIPPED: "see what is said of the options; the program itself runs as without apm-run",
    UNDELIVERED: "see what is said of the server",
    UNSENT: "see what is said of the options",
}
_OURS = "this is an error of apm-run: please report it"
#: Part of a reason -> what to do; the first that fits counts before the verdict's.
_FIXES_OF_REASONS = {
    "official agent": WITHOUT_OFFICIAL,
    "only CPython": "run it on CPython 3.9 or newer",
    "events rejected": _OURS,
}


class NoPlace(Exception):
    """No directory can be written, so that no process could report."""


class Run:
    """One run of COMMAND.

    :ivar status: its exit code; minus the number of the signal that it died by; None if it did not start.
    :ivar reports: pid -> what the process itself says (docs/reference/doctor.md).
    """

    def __init__(self, words: list[str], environment: dict[bytes, bytes], to_stderr: bool) -> None:
        """:param to_stderr: put its output there, for ours is JSON."""
        self.status: int | None = None
        self.reports: dict[int, dict[str, Any]] = {}
        self._tree = Tree()
        folder = _make_folder(environment)
        try:
            # With the slash it stays a directory: who is left behind writes nothing once it is gone.
            environment = {**environment, b"APM_RUN_REPORT": os.fsencode(folder + "/")}
            launch.mark(environment, launch.bootstrap(), os.getpid())
            self._run(words, environment, to_stderr)
            self._read(folder)
        finally:
            shutil.rmtree(os.path.dirname(folder), ignore_errors=True)

    def _run(self, words: list[str], environment: dict[bytes, bytes], to_stderr: bool) -> None:
        file = launch.find(words[0], environment)
        sys.stdout.flush()
        adopt_orphans()
        output = 2 if to_stderr else None
        try:
            child = subprocess.Popen(words, executable=file, env=environment, stdout=output)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise launch.refusal(words[0], error) from None
            shell = ["/bin/sh", os.fsdecode(file), *words[1:]]
            child = subprocess.Popen(shell, env=environment, stdout=output)
        # What the terminal sends reaches the program by itself; the report comes when it has ended.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: child.send_signal(number))
        while child.poll() is None:
            self._tree.look(child.pid)
            time.sleep(_LOOK)
        self.status = child.returncode
        deadline = time.monotonic() + _LINGER
        while self._tree.look(child.pid) and time.monotonic() < deadline:
            time.sleep(_LOOK)

    def _read(self, folder: str) -> None:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".json"):
                try:
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        report = json.load(file)
                    self.reports[int(report["pid"])] = report
                except (OSError, ValueError, KeyError):
                    continue

    def processes(self) -> list[dict[str, Any]]:
        """Each process: ``pid``, ``program``, ``verdict``, ``reason``, ``fix``, ``running``, ``report``."""
        pids = sorted({*self.reports, *self._tree.pythons})
        return [self._process(pid) for pid in pids]

    def _process(self, pid: int) -> dict[str, Any]:
        report = self.reports.get(pid)
        seen = self._tree.pythons.get(pid)
        if report is not None and seen is not None and seen.has_replaced(report):
            report = None
        program = report.get("started", {}).get("program") if report else None
        fix = ""
        if report is not None:
            verdict, reason = judge(report)
        else:
            verdict = LEFT if seen is not None and seen.left else UNTRACED
            reason, fix = seen.reason() if seen is not None else ("", "")
        return {
            "pid": pid,
            "program": program or (seen.program if seen is not None else None),
            "verdict": verdict,
            "reason": reason,
            "fix": fix or _fix(verdict, reason),
            "running": is_alive(pid),
            "report": report,
        }


def _make_folder(environment: dict[bytes, bytes]) -> str:
    """A directory for the reports, below one that goes with it.

    :raises NoPlace: there is none that can be written.
    """
    own = os.fsdecode(environment.get(b"APM_RUN_STATE_DIR", b"")) or None
    for base in (None, own, "/dev/shm"):
        try:
            parent = tempfile.mkdtemp(prefix="apm-run-doctor-", dir=base)
            break
        except OSError:
            continue
    else:
        raise NoPlace
    folder = os.path.join(parent, os.urandom(8).hex())
    os.mkdir(folder)
    if (
        os.geteuid() == 0
    ):  # a service may give up its rights, and then reports as another user; nobody else knows the name
        os.chmod(parent, 0o711)
        os.chmod(folder, 0o733)
    return folder


def _fix(verdict: str, reason: str) -> str:
    return next((fix for part, fix in _FIXES_OF_REASONS.items() if part in reason), _FIXES.get(verdict, ""))


def judge(report: dict[str, Any]) -> tuple[str, str]:
    """The verdict on a process by its report, and the reason."""
    if report.get("aside"):
        return LEFT if report["aside"] == TOOL else SKIPPED, report["aside"]
    if not report["recording"]:
        return SKIPPED, "recording is false"
    if not report["transactions"]:
        return QUIET, "it has ended no transaction"
    export = report["export"]
    counts = f"{report['transactions']} transactions, {export['accepted']} events accepted"
    if export["accepted"]:
        return TRACED, counts
    if export["reason"]:
        return UNSENT, export["reason"]
    if export["rejected"]:
        return UNDELIVERED, f"{export['rejected']} events rejected: {'; '.join(export['reasons'][:3])}"
    if export["dropped"]:
        return (UNDELIVERED if _lost(export) else QUIET), _dropped(export)
    kept = f"; {export['waiting']} events wait in {export['outbox']}" if export["outbox"] else ""
    return UNDELIVERED, f"{export['last_error'] or 'it ended before the server answered'}{kept}"


def _lost(export: dict[str, Any]) -> bool:
    """Whether events were dropped that the program did not want to be dropped."""
    return bool(set(export["dropped"]) - {"filter"})


def _dropped(export: dict[str, Any]) -> str:
    return "events dropped: " + ", ".join(f"{count} {reason}" for reason, count in export["dropped"].items())


def findings(processes: list[dict[str, Any]], status: int | None) -> list[Finding]:
    """What the processes mean."""
    found: list[Finding] = []
    for process in processes:
        name = f"{process['program'] or 'python'} [{process['pid']}]"
        found += _of_verdict(name, process)
        if process["report"] is not None and "export" in process["report"]:
            found += _of_report(name, process["report"])
    if not processes:
        text = "no Python process was seen under COMMAND"
        fix = "see what it starts, and how: only Python programs on this machine are traced"
        found.append(Finding("processes", "none", "problem", text, fix))
    elif any(process["running"] for process in processes):
        pids = ", ".join(str(process["pid"]) for process in processes if process["running"])
        text = f"COMMAND has ended and left processes behind ({pids}): what they do from now on is not seen here"
        fix = "tell the service to stay in the foreground, or see APM_RUN_REPORT (docs/reference/doctor.md)"
        found.append(Finding("processes", "running", "note", text, fix))
    elif all(process["verdict"] in (QUIET, LEFT) for process in processes) and not _crashed(status):
        text = "nothing has happened that would be a transaction: no request was served, no call was made"
        fix = "send requests while doctor runs it, and end it with Ctrl-C"
        found.append(Finding("processes", "traffic", "note", text, fix))
    if status:
        ended = f"signal {-status}" if status < 0 else f"exit code {status}"
        found.append(Finding("processes", "end", "note", f"COMMAND ended by {ended}"))
    return found


def _crashed(status: int | None) -> bool:
    return status is not None and -status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGBUS)


def _of_verdict(name: str, process: dict[str, Any]) -> list[Finding]:
    verdict, text = process["verdict"], f"{process['verdict']}: {process['reason']}"
    if verdict in (TRACED, QUIET):
        return [Finding("processes", name, "ok", text)]
    if verdict == LEFT:
        return [Finding("processes", name, "note", text)]
    return [Finding("processes", name, "problem", text, process["fix"])]


def _of_report(name: str, report: dict[str, Any]) -> list[Finding]:
    found = []
    export = report["export"]
    if export["accepted"] and export["rejected"]:
        text = f"{export['rejected']} events rejected: {'; '.join(export['reasons'][:3])}"
        found.append(Finding("processes", name, "problem", text, _OURS))
    if export["accepted"] and _lost(export):
        found.append(Finding("processes", name, "problem", _dropped(export), "see whether the server keeps up"))
    if export["accepted"] and export["waiting"]:
        text = f"{export['waiting']} events wait in the outbox"
        found.append(Finding("processes", name, "note", text, "the next program that sends there takes them along"))
    for agent in report["agents"]:
        if not report["aside"]:
            text = f"{agent} is at work in this process too: both trace"
            found.append(Finding("processes", name, "warning", text, "run one of them"))
    for library in report["instrumentations"]:
        if library["state"] in ("failed", "switched off"):
            text = f"{library['library']} {library['state']}: {_detail(library)}"
            found.append(Finding("processes", name, "problem", text, _blame(library["library"])))
        elif library["state"] in ("imported too early", "missed"):
            text = f"{library['library']} {library['state']}: {_detail(library)}"
            fix = "import it later, not in a .pth file or sitecustomize"
            found.append(Finding("processes", name, "warning", text, fix))
    failures = [one for one in report["failures"] if not one["where"].startswith("load ")]  # told above
    if failures:
        text = "the agent failed at " + ", ".join(
            f"{failure['where']} ({failure['count']} x {failure['last']})" for failure in failures[:5]
        )
        found.append(Finding("processes", name, "warning", text, _OURS))
    return found


def _blame(library: str) -> str:
    if os.sep in library:  # the file of a third party that could not be loaded
        return "correct that file, or tell whoever ships it; the program's other libraries are instrumented"
    return "this is an error of its instrumentation: please report it, to us if it is one of apm-run's"


def _detail(library: dict[str, Any]) -> str:
    targets = [target for target in library["targets"] if target["state"] == library["state"]]
    paths: dict[str, list[str]] = {}
    for target in targets[:3]:
        paths.setdefault(target["detail"], []).append(target["path"])
    return library["detail"] or "; ".join(f"{', '.join(some)}: {detail}" for detail, some in paths.items())
