"""``apm-run doctor``: the installation, the options, the state directory."""

from __future__ import annotations

import os
import platform
import stat
import time

from apm_run.cli import launch
from apm_run.cli.doctor_findings import Finding
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.config import Problem, Settings

#: Options without which nothing arrives: a bad value of theirs is more than a default in its place.
_VITAL = frozenset({
    "enabled", "recording", "server_url", "secret_token", "api_key", "server_cert", "server_ca_cert_file",
    "configuration file",
})  # fmt: skip

#: Seconds after which waiting events are no longer just under way.
_OLD = 300.0


def installation() -> list[Finding]:
    """The agent's version and place, and the directory that interpreters find it through."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    own = f"{platform.python_implementation()} {platform.python_version()}"
    found = [
        Finding("installation", "agent", "ok", f"{__version__} in {package}"),
        Finding("installation", "python", "ok", f"CPython 3.9 and newer is traced; doctor itself runs on {own}"),
        _bootstrap(launch.bootstrap()),
    ]
    hidden = [path for path in (package, launch.bootstrap()) if path is not None and not _is_open(path)]
    if hidden:
        text = f"other users can not read {hidden[0]}: programs that run as another user start untraced"
        fix = "chmod -R a+rX the directory, and the ones above it"
        found.append(Finding("installation", "permissions", "warning", text, fix))
    return found


def _bootstrap(folder: str | None) -> Finding:
    if folder is None:
        text, fix = "the bootstrap directory is missing or can not be read", "install apm-run anew"
        return Finding("installation", "bootstrap", "problem", text, fix)
    if os.pathsep in folder:
        text = f"{folder} holds a {os.pathsep!r}: PYTHONPATH can not name it"
        return Finding("installation", "bootstrap", "problem", text, "install apm-run into another directory")
    return Finding("installation", "bootstrap", "ok", folder)


def _is_open(path: str) -> bool:
    """Whether every user can read a directory: it, and all above it, by their modes."""
    try:
        if not os.stat(path).st_mode & stat.S_IROTH:
            return False
        while True:
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
            path, before = os.path.dirname(path), path
            if path == before:
                return True
    except OSError:
        return False


def options(
    settings: Settings, problems: list[Problem], environ: Mapping[str, str]
) -> tuple[list[Finding], list[dict[str, str]]]:
    """What the options mean for the data; and those that are not the default, secrets masked."""
    shown = [
        {"name": name, "value": settings.shown(name), "origin": settings.origin(name)}
        for name in settings.__slots__
        if not name.startswith("_") and settings.origin(name) != "default"
    ]
    found = []
    for problem in problems:
        state = "problem" if problem.option in _VITAL else "warning"
        fix = f"correct it where it is set: {problem.origin}"
        found.append(Finding("options", problem.option, state, str(problem), fix))
    found += _unknown(environ)
    for name, meant, means in (
        ("enabled", True, "nothing is traced"),
        ("recording", True, "nothing is captured or sent"),
        ("instrument", True, "no library is instrumented"),
        ("disable_send", False, "nothing is sent"),
    ):
        if getattr(settings, name) is not meant:
            text = f"{name} is {settings.shown(name)} ({settings.origin(name)}): {means}"
            found.append(Finding("options", name, "problem", text, f"set {name} to {str(meant).lower()}, or unset it"))
    if settings.transaction_sample_rate == 0:
        text = "transaction_sample_rate is 0: transactions carry neither spans nor context"
        found.append(Finding("options", "transaction_sample_rate", "warning", text, "set it to 0.01 or more"))
    if settings.log_file and not _can_be_written(settings.log_file):
        text = f"log_file {settings.log_file} ({settings.origin('log_file')}) can not be written: there is no log"
        found.append(Finding("options", "log_file", "warning", text, "name a file in a directory of this user's"))
    if not any(finding.state in ("problem", "warning") for finding in found):
        found.append(Finding("options", "values", "ok", f"{len(shown)} set, all can be used"))
    return found, shown


def _unknown(environ: Mapping[str, str]) -> list[Finding]:
    """Variables that set nothing: a name misspelled, or an option that only other agents have."""
    from apm_run.config import unknown

    found, foreign = [], []
    for problem in unknown(environ):
        if "did you mean" in problem.reason:
            fix = f"correct its name, or unset it: {problem.origin}"
            found.append(Finding("options", problem.option, "warning", str(problem), fix))
        else:
            foreign.append(problem.origin.rpartition(" ")[2])
    if foreign:
        found.append(Finding("options", "unknown", "note", f"without effect on apm-run: {', '.join(foreign)}"))
    return found


def _can_be_written(path: str) -> bool:
    folder = os.path.dirname(os.path.abspath(path))
    return os.access(path, os.W_OK) if os.path.exists(path) else os.access(folder, os.W_OK | os.X_OK)


def state_directory(environ: Mapping[str, str]) -> tuple[list[Finding], dict[str, Any]]:
    """Whether unsent events can be kept on disk, and which wait there."""
    from apm_run.export import statedir

    directory = statedir.find(environ)
    if directory is None or statedir.key(directory) is None:
        tried = ", ".join(statedir.candidates(environ))
        text = f"no usable directory for unsent events (tried {tried}): what is unsent is lost when a process is killed"
        fix = "name one in APM_RUN_STATE_DIR that only this user can write"
        return [Finding("outbox", "directory", "warning", text, fix)], _facts(None)
    facts = _facts(directory)
    found = [Finding("outbox", "directory", "ok", f"{directory} (of user {os.geteuid()})")]
    named = environ.get("APM_RUN_STATE_DIR")
    if named and directory != os.path.join(named, "outbox"):
        text = f"APM_RUN_STATE_DIR={named} can not be used: it is not a directory that user {os.geteuid()} owns"
        fix = "name one below it, which apm-run makes, or give it to this user (chown)"
        found.append(Finding("outbox", "APM_RUN_STATE_DIR", "warning", text, fix))
    found += _room(directory, facts["files"])
    if facts["events"]:
        age = _span(facts["oldest_s"])
        text = f"{facts['events']} events in {facts['files']} files wait to be sent, the oldest for {age}"
        state = "warning" if facts["oldest_s"] > _OLD else "note"
        fix = "the next program that sends there with the same credentials takes them along, or apm-run flush"
        found.append(Finding("outbox", "waiting", state, text, fix))
    return found, facts


def _room(directory: str, files: int) -> list[Finding]:
    """Whether there is place for more: on the disk, and below the limit."""
    from apm_run.export.outbox import DISK_CAP
    from apm_run.export.segment import SIZE

    disk = os.statvfs(directory)
    if files * SIZE >= DISK_CAP:
        text = f"the outbox is full ({DISK_CAP >> 20} MB): the oldest events are dropped for new ones"
        return [Finding("outbox", "room", "problem", text, "see what is said of the server; apm-run flush empties it")]
    if disk.f_bavail * disk.f_frsize < SIZE:
        text = f"the disk of {directory} is full: what is unsent waits in memory and is lost when a process is killed"
        return [Finding("outbox", "room", "warning", text, "make room there, or name a place in APM_RUN_STATE_DIR")]
    return []


def _facts(directory: str | None) -> dict[str, Any]:
    from apm_run.export import files
    from apm_run.export.segment import read

    facts: dict[str, Any] = {"directory": directory, "files": 0, "events": 0, "oldest_s": 0.0}
    now = time.time()
    for path in files.segments(directory) if directory is not None else ():
        image = read(files.read(path) or b"")
        if image is not None and image.waiting:
            facts["files"] += 1
            facts["events"] += image.waiting
            facts["oldest_s"] = max(facts["oldest_s"], round(files.age(path, now), 1))
    return facts


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} seconds"
