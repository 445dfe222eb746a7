"""The cases of `make delivery`: real programs under ``apm-run``, a server that misbehaves, and what arrived of what."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from integration.delivery_server import HEALTHY, ROOT, Received, Receiving
from tests.servers import refused_port
from tests.traced import environment

from apm_run.export.segment import read

LAUNCHER = Path(sys.executable).with_name("apm-run")
PROGRAM = ROOT / "integration" / "delivery_program.py"
#: What has ended that long before a kill is kept (design: durable at the end of a transaction).
GRACE = 0.01


@dataclass
class Note:
    """One request, as the program itself noted it."""

    path: str
    ended: float
    took: float
    parent: int

    @property
    def pid(self) -> int:
        return int(self.path.split("/")[1])


@dataclass
class Row:
    """What the table says of one case. ``wrong``: what is not as it should be."""

    case: str
    put: int = 0
    arrived: int = 0
    twice: int = 0
    requests: int = 0
    healthy: str = ""
    away: str = ""
    note: str = ""
    wrong: list[str] = field(default_factory=list)

    def expect(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


class Folder:
    """Where one case has its state directory and its notes."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.state = path / "state"
        self.outbox = self.state / "outbox"
        self._notes = path / "notes"

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.path / name)

    def environment(self, url: str, **more: str) -> dict[str, str]:
        """As a user has it: strict, but with the limits of the product."""
        own = {"APM_RUN_STATE_DIR": str(self.state), "ELASTIC_APM_EXIT_TIMEOUT": "", "APM_RUN_STRICT": "1"}
        return environment(**{**own, "ELASTIC_APM_SERVER_URL": url, **more})

    def command(self, *words: object, launcher: bool = True) -> list[str]:
        own = [str(LAUNCHER)] if launcher else []
        return [*own, sys.executable, str(PROGRAM), str(self._notes), *map(str, words)]

    def start(self, url: str, *words: object, start_new_session: bool = False, **more: str) -> subprocess.Popen[str]:
        env = self.environment(url, APM_RUN_REPORT=str(self.path / "report-%p.json"), **more)
        return subprocess.Popen(
            self.command(*words),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=start_new_session,
        )

    def flush(self, url: str, timeout: str = "10s", **more: str) -> str:
        """``apm-run flush``; all that it says."""
        command = [str(LAUNCHER), "flush", "--timeout", timeout]
        env = self.environment(url, **more)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
        return (done.stdout + done.stderr).strip()

    def notes(self) -> list[Note]:
        """Whole lines only: the last one may be cut off by a kill."""
        text = self._notes.read_text() if self._notes.exists() else ""
        found = (line.split() for line in text.rpartition("\n")[0].splitlines())
        return [Note(path, float(ended), float(took), int(parent)) for path, ended, took, parent in found]

    def reports(self) -> list[dict[str, object]]:
        return [json.loads(path.read_text())["export"] for path in self.path.glob("report-*.json")]

    def forget(self) -> None:
        self._notes.unlink(missing_ok=True)


def finish(program: subprocess.Popen[str], row: Row, timeout: float = 60) -> str:
    """Wait for the end of the program, which shall be as that of the bare one; its output."""
    out, err = program.communicate(timeout=timeout)
    row.expect(program.returncode == 0, f"exit code {program.returncode}")
    row.expect(not err, f"error output {err!r}")
    return out


def latency(notes: list[Note]) -> str:
    """Median and 99th percentile, in microseconds."""
    if len(notes) < 2:
        return ""
    cuts = quantiles([note.took for note in notes], n=100)
    return f"{cuts[49]:.0f} / {cuts[98]:.0f}"


def account(row: Row, notes: list[Note], received: Received) -> None:
    """Every request that ended has arrived."""
    row.put = len(notes)
    keys = [f"transaction {note.path}" for note in notes]
    missing = [key for key in keys if key not in received.times]
    row.arrived = len(keys) - len(missing)
    row.requests = len(received.requests)
    row.twice = len(received.twice)
    row.expect(not missing, f"{len(missing)} lost: {', '.join(missing[:5])}")


def processors() -> int:
    return len(os.sched_getaffinity(0))


def undisturbed(folder: Folder) -> str:
    """The latency of the bare program."""
    subprocess.run(folder.command("steady", 50, 4, launcher=False), env=environment(), check=True, timeout=60)
    return latency(folder.notes())


def outage(
    mode: str,
    folder: Folder,
    seconds: float = 20,
    rate: float = 50,
    away: tuple[float, float] = (4, 16),
    every: str = "1s",
) -> Row:
    """The server is away in some way from one moment to another while the program works.

    :param every: seconds between two requests under load, ``api_request_time``.
    """
    row = Row(f"server away {away[1] - away[0]:.0f} of {seconds:.0f} s, {rate * 2:.0f} events/s: {mode}")
    with Receiving() as server:
        program = folder.start(server.url, "steady", rate, seconds, ELASTIC_APM_API_REQUEST_TIME=every)
        while not folder.notes():
            time.sleep(0.01)
        begun = time.monotonic()
        time.sleep(away[0])
        server.mode(mode)
        left = time.monotonic()
        time.sleep(begun + away[1] - left)
        server.mode(HEALTHY)
        back = time.monotonic()
        finish(program, row, seconds + 60)
        at_the_end = server.received()
        told = folder.flush(server.url)
        notes, received = folder.notes(), server.received()
    account(row, notes, received)
    row.away = latency([note for note in notes if left < note.ended < back])
    row.healthy = latency([note for note in notes if not left < note.ended < back])
    row.expect(not row.twice, f"{row.twice} twice, though every request was answered or left")
    row.expect(" 0 left" in told, told)
    repeated(row, folder, at_the_end, late=not told.startswith("0 "))
    return row


def repeated(row: Row, folder: Folder, received: Received, late: bool) -> None:
    """What a server read and did not answer is sent again, and may be there twice: the agent has to count it.

    :param late: whether the last request was in flight at the end of the program.
    """
    unanswered = received.unanswered
    maybe = sum(len(request.events) for request in unanswered)
    if unanswered:
        row.note = f"{maybe:,} events in {len(unanswered)} requests that nobody answered, sent again"
    allowed = {maybe}
    if late:
        row.note += ", of the last one by `apm-run flush`"
        row.expect(unanswered, "a flush had to help, though no request was in flight")
        allowed.add(maybe - sum(len(request.events) for request in unanswered[-1:]))
    (report,) = folder.reports()
    row.expect(report["resent"] in allowed, f"{maybe} events sent again, {report['resent']} counted")


def failures(number: int, seconds: float, folder: Folder, most: int) -> Row:
    """So many errors within so many seconds, then the end."""
    row = Row(f"{number} errors in {seconds:g} s, then the end")
    with Receiving() as server:
        finish(folder.start(server.url, "errors", number, seconds), row)
        received = server.received()
    account(row, folder.notes(), received)
    errors = sum(key.startswith("error ") for key in received.times)
    row.expect(errors == number, f"{errors} errors arrived")
    row.expect(not row.twice, "some came twice")
    row.expect(row.requests <= most, f"{row.requests} requests, more than {most}")
    return row


def kills(number: int, folder: Folder, seed: int = 3) -> Row:
    """``kill -9`` at a random moment; the server is well, busy or hanging; ``apm-run flush`` after every fifth."""
    row = Row(f"{number} times kill -9 at random")
    dice = random.Random(seed)
    expected: list[Note] = []
    with Receiving() as server:
        for index in range(number):
            server.mode(dice.choice([HEALTHY, HEALTHY, "503", "hang"]))
            folder.forget()
            program = folder.start(server.url, "flood")
            while not folder.notes():
                time.sleep(0.002)
            time.sleep(dice.uniform(0, 0.6))
            killed = time.monotonic()
            program.send_signal(signal.SIGKILL)
            program.communicate()
            expected += [note for note in folder.notes() if note.ended < killed - GRACE]
            if index % 5 == 4 or index == number - 1:
                server.mode(HEALTHY)
                told = folder.flush(server.url, "60s")
                row.expect(" 0 left" in told, told)
        received = server.received()
    account(row, expected, received)
    beyond = received.twice_beyond_one_request()
    row.expect(not beyond, f"{len(beyond)} came twice beyond the one request in flight")
    # One that was just being made is removed as rubbish, later.
    left = [path.name for path in folder.outbox.iterdir() if read(path.read_bytes()) is not None]
    row.expect(not left, f"files are left in the outbox: {left}")
    return row


def crowd(number: int, each: int, folder: Folder) -> Row:
    """As many workers of one user at once, the server away; all of them are killed."""
    row = Row(f"{number} idle workers killed at once")
    with Receiving() as server:
        server.mode("refused")
        program = folder.start(server.url, "crowd", number, each, start_new_session=True)
        deadline = time.monotonic() + 60
        while len(folder.notes()) < number * each + 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(program.pid, signal.SIGKILL)
        program.communicate()
        server.mode(HEALTHY)
        told = folder.flush(server.url, "60s")
        account(row, folder.notes(), server.received())
    row.expect(row.put == number * each + 1, f"{row.put} requests done")
    row.expect(" 0 left" in told, told)
    row.expect(not row.twice, f"{row.twice} twice")
    return row


def adopters(folder: Folder, victims: int = 6) -> Row:
    """Two ``apm-run flush`` and a fresh program at once, among foreign and hostile files: everything comes once."""
    row = Row("two adopters and a sibling at once; torn, hostile and foreign files")
    with Receiving() as server:
        server.mode("refused")
        for _ in range(victims):
            killed_after(0.7, folder.start(server.url, "flood"))
        tear(folder)
        expected = folder.notes()
        killed_after(0.7, folder.start(f"http://127.0.0.1:{refused_port()}", "flood"))
        others = [note.path for note in folder.notes()[len(expected) :]]
        lay_foreign(folder)
        foreign = {name for name in os.listdir(folder.outbox) if name.startswith(("hostile", others[0].split("/")[1]))}
        server.mode(HEALTHY)
        env = folder.environment(server.url)
        both = [
            subprocess.Popen([str(LAUNCHER), "flush"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        finish(folder.start(server.url, "steady", 50, 2), row)
        for one in both:
            said = one.communicate(timeout=60)
            row.expect(one.returncode == 0 and not said[1], f"flush: {one.returncode} {said}")
        received = server.received()
    notes = folder.notes()
    account(row, [note for note in notes if note.path not in others], received)
    row.expect(expected and others, "no requests")
    row.expect(not received.twice, f"{len(received.twice)} twice")
    strange = {request.process["pid"] for request in received.requests} - {note.pid for note in notes}
    row.expect(not strange, f"from no process of ours: {strange}")
    sent = [path for path in others if f"transaction {path}" in received.times]
    row.expect(not sent, f"{len(sent)} of another server's were sent")
    left = set(os.listdir(folder.outbox))
    row.expect(left == foreign, f"left: {sorted(left ^ foreign)}")
    return row


def killed_after(seconds: float, program: subprocess.Popen[str]) -> None:
    """Let it work so long, then kill it."""
    time.sleep(seconds)
    program.kill()
    program.communicate()


def tear(folder: Folder) -> None:
    """Behind the last record of each segment, the beginning of one: as a kill in the middle of a write leaves it."""
    for path in folder.outbox.iterdir():
        image = read(path.read_bytes())
        assert image is not None
        with path.open("r+b") as file:
            file.seek(image.tail)
            file.write(b"\x40\x01\0\0torn\x02\0\0\0\x01\0\0\0" + b'{"transaction":{"id":')


def lay_foreign(folder: Folder) -> None:
    """Lay files beside the outbox's own: broken headers, rubbish, no files at all."""
    dice = random.Random(7)
    whole = next(folder.outbox.iterdir()).read_bytes()
    for index in range(20):
        data = bytearray(whole[: dice.randrange(16, len(whole))])
        data[dice.randrange(16)] ^= 0xFF
        (folder.outbox / f"hostile-{index}.seg").write_bytes(data)
    (folder.outbox / "hostile-link.seg").symlink_to("/etc/passwd")
    os.mkfifo(folder.outbox / "hostile-fifo.seg")
    (folder.outbox / "hostile-folder.seg").mkdir()
    (folder.outbox / "hostile-empty.seg").write_bytes(b"")


def forks(number: int, folder: Folder) -> Row:
    """Children that serve one request each while four threads serve theirs."""
    row = Row(f"{number} forks while 4 threads work")
    with Receiving() as server:
        hung = finish(folder.start(server.url, "forks", number), row, 300).strip()
        told = folder.flush(server.url)
        received = server.received()
    notes = folder.notes()
    account(row, notes, received)
    row.expect(hung == "0", f"{hung} children hung")
    row.expect(not row.twice, f"{row.twice} twice")
    row.expect(told.startswith("0 events sent, 0 left"), f"flush had to help: {told}")
    row.expect(len({note.pid for note in notes}) == number + 1, "not every child served its request")
    parents = {note.pid: note.parent for note in notes}
    seen: dict[str, int] = {}
    for request in received.requests:
        pids = {int(key.split("/")[1]) for key in request.events if key.startswith("transaction /")}
        pid, identity = request.process["pid"], request.agent["ephemeral_id"]
        row.expect(pids <= {pid}, f"{pids} came as from {pid}")
        row.expect(not pids or request.process["ppid"] == parents[pid], f"{pid} has parent {request.process['ppid']}")
        row.expect(seen.setdefault(identity, pid) == pid, f"{pid} and {seen[identity]} have the same ephemeral id")
    return row
