"""Where the outbox goes in all surroundings, and what becomes of events that have no room: cases of `make delivery`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.delivering import LAUNCHER, Folder, Row, account
from integration.delivery_server import HEALTHY, Receiving
from tests.servers import refused_port


@dataclass
class Place:
    """Where the outbox goes in some surroundings: ``prepare`` gives variables, ``mount`` is for a shell."""

    prepare: Callable[[Path], dict[str, str]]
    expected: str | None
    mount: str = ""


def _own(**variables: str) -> Callable[[Path], dict[str, str]]:
    return lambda path: {name: value.format(path) for name, value in variables.items()}


def _unsafe(make: Callable[[Path], None]) -> Callable[[Path], dict[str, str]]:
    def prepare(path: Path) -> dict[str, str]:
        make(path / "unsafe")
        return {"APM_RUN_STATE_DIR": f"{path}/unsafe", "XDG_STATE_HOME": f"{path}/next"}

    return prepare


def _of_another_user(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)


def _link(path: Path) -> None:
    path.with_name("target").mkdir(mode=0o700)
    path.symlink_to(path.with_name("target"))


def _open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _a_file(path: Path) -> None:
    path.write_text("")


_NEXT = "{}/next/apm-run/outbox"
_TMPFS = "mount -t tmpfs -o size={} none '{{0}}/unsafe'"
#: Surroundings -> what has to come of them; ``expected`` None: bounded memory.
PLACES = {
    "APM_RUN_STATE_DIR": Place(_own(APM_RUN_STATE_DIR="{}/own", XDG_STATE_HOME="{}/next"), "{}/own/outbox"),
    "STATE_DIRECTORY": Place(_own(STATE_DIRECTORY="{0}/a:{0}/b", XDG_STATE_HOME="{}/next"), "{}/a/apm-run/outbox"),
    "XDG_STATE_HOME": Place(_own(XDG_STATE_HOME="{}/next", HOME="{}/home"), _NEXT),
    "HOME": Place(_own(HOME="{}/home"), "{}/home/.local/state/apm-run/outbox"),
    "HOME is missing": Place(_own(TMPDIR="{}/temp"), f"{{}}/temp/apm-run-{os.geteuid()}/outbox"),
    "of another user": Place(_unsafe(_of_another_user), _NEXT),
    "a symbolic link": Place(_unsafe(_link), _NEXT),
    "a file": Place(_unsafe(_a_file), _NEXT),
    "open to everybody: closed": Place(_unsafe(_open_to_all), "{}/unsafe/outbox"),
    "read-only": Place(_unsafe(Path.mkdir), _NEXT, "mount --bind '{0}/unsafe' '{0}/unsafe' && "
                       "mount -o remount,bind,ro '{0}/unsafe'"),
    "nowhere": Place(lambda _: {"TMPDIR": "/proc"}, None, " && ".join(
        f"mkdir -p {temp}/apm-run-{os.geteuid()} && mount -o ro -t tmpfs none {temp}/apm-run-{os.geteuid()}"
        for temp in ("/tmp", "/var/tmp"))),
    "disk of 64 KiB": Place(_unsafe(Path.mkdir), None, _TMPFS.format("64k")),
    "disk full from the start": Place(_unsafe(Path.mkdir), None, _TMPFS.format("64k") + " && "
                                      "head -c 65536 /dev/zero >'{0}/unsafe/full' 2>/dev/null"),
}  # fmt: skip


def may_mount() -> bool:
    """Whether this machine lets us have a mount namespace."""
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return shutil.which("unshare") is not None and subprocess.call(command, stderr=subprocess.DEVNULL) == 0


def place(name: str, folder: Folder) -> Row:
    """A program of 10 requests ends with the server away: what waits lies where it should, and a flush sends it.

    Where only memory is left, a second program has to deliver its own with the server there.
    """
    row, wanted = Row(f"outbox: {name}"), PLACES[name]
    variables = wanted.prepare(folder.path)
    for inside in ("next", "temp", "home"):
        (folder.path / inside).mkdir()
    expected = wanted.expected and wanted.expected.format(folder.path)
    mount = wanted.mount.format(folder.path)
    there = ["unshare", "-m", "sh", "-c", f'{mount}; exec "$0" "$@"'] if mount else []
    with Receiving() as server:
        env = folder.environment(server.url, APM_RUN_REPORT=str(folder.path / "report-%p.json"))
        env = {key: value for key, value in env.items() if key not in ("APM_RUN_STATE_DIR", "STATE_DIRECTORY", "HOME")}
        how: dict[str, Any] = {"env": {**env, **variables}, "capture_output": True, "text": True, "timeout": 60}
        command = [*there, *folder.command("steady", 100, 0.1)]
        server.mode("refused")
        done = subprocess.run(command, check=False, **how)
        row.expect((done.returncode, done.stdout) == (0, ""), f"{done.returncode} {done.stdout}")
        (report,) = folder.reports()
        row.note = "in memory" if report["outbox"] is None else str(report["outbox"]).replace(str(folder.path), "...")
        row.expect(report["outbox"] == expected, f"kept in {report['outbox']}, not in {expected}")
        row.expect(done.stderr.count("\n") == 1, done.stderr)
        server.mode(HEALTHY)
        if expected is None:
            folder.forget()
            command = [*there, *folder.command("steady", 100, 0.1)]
        else:
            command = [*there, str(LAUNCHER), "flush"]
        done = subprocess.run(command, check=False, **how)
        row.expect((done.returncode, done.stderr) == (0, ""), f"{done.returncode} {done.stdout}{done.stderr}")
        account(row, folder.notes(), server.received())
    row.expect(not row.twice, f"{row.twice} twice")
    return row


def evictions(folder: Folder) -> Row:
    """In bounded memory and with the server away: the oldest go, are counted and told."""
    row = Row("disk of 64 KiB, server away: evictions")
    (folder.path / "unsafe").mkdir()
    env = folder.environment(
        f"http://127.0.0.1:{refused_port()}",
        APM_RUN_REPORT=str(folder.path / "report-%p.json"),
        APM_RUN_STATE_DIR=str(folder.path / "unsafe"),
    )
    there = ["unshare", "-m", "sh", "-c", f'{_TMPFS.format("64k").format(folder.path)}; exec "$0" "$@"']
    command = [*there, *folder.command("noise", 15_000)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    row.expect((done.returncode, done.stdout) == (0, ""), f"{done.returncode} {done.stdout}")
    (report,) = folder.reports()
    row.put = len(folder.notes())
    dropped = report["dropped"]
    row.note = f"{report['waiting']} events wait in memory at the end, {dropped} dropped"
    row.expect(dropped.keys() == {"evicted"}, f"dropped: {dropped}")
    row.expect(report["waiting"] + sum(dropped.values()) == 2 * row.put, "events that nobody counted")
    return row
