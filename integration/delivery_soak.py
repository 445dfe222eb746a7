"""A server that misbehaves in every way, over and over: what that costs the program. A case of `make delivery`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from statistics import median

from integration.delivering import Folder, Row, account, finish, latency
from integration.delivery_server import HEALTHY, Receiving
from tests.tls import Authority


class Watched:
    """Memory (KiB), threads and file descriptors of a process, taken now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.seen: list[tuple[int, int, int]] = []

    def look(self) -> None:
        with suppress(OSError):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{self._pid}/status").read_text().splitlines())
            handles = len(os.listdir(f"/proc/{self._pid}/fd"))
            self.seen.append((int(status["VmRSS"].split()[0]), int(status["Threads"]), handles))

    def rest(self, seconds: float) -> None:
        """Wait, with a look every half second."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            time.sleep(min(0.5, max(0.0, until - time.monotonic())))

    def judge(self, row: Row) -> None:
        third = len(self.seen) // 3
        middle, last = self.seen[third : 2 * third], self.seen[2 * third :]
        memory = [max(one[0] for one in part) for part in (middle, last)]
        row.note = (
            f"memory at most {memory[0] // 1024} MiB in the second third, {memory[1] // 1024} in the last; "
            f"threads {max(one[1] for one in self.seen)}, descriptors {max(one[2] for one in last)}"
        )
        row.expect(memory[1] < memory[0] * 1.1 + 2048, "memory grows")
        row.expect(max(one[1] for one in self.seen) <= 2, "more than one thread of ours")
        handles = [max(one[2] for one in part) for part in (middle, last)]
        row.expect(handles[1] <= handles[0] + 1, f"descriptors grow: {handles}")


#: How a server misbehaves in the soak, for how many seconds, and for how many it is well then: a refusal is followed
#: by the slowest pace, and what a hanging server holds is given up after some seconds only.
TEMPERS = {
    "503": (5, 5),
    "429": (5, 5),
    "reset": (5, 5),
    "refused": (5, 5),
    "hang": (8, 8),
    "drip": (8, 8),
    "other certificate": (6, 8),
    "413": (4, 42),
    "401": (4, 42),
}


def soak(folder: Folder, minutes: float, rate: float = 50, scale: float = 1) -> Row:
    """The server flaps, hangs, resets, refuses, changes its certificate, over TLS and over again.

    :param scale: of the times.
    """
    row = Row(f"soak of {minutes:g} minutes, {rate * 2:.0f} events/s, TLS")
    own, other = (Authority(_made(folder.path / name)) for name in ("own", "other"))
    away: list[tuple[float, float]] = []
    with Receiving((own.certificate, own.key), (other.certificate, other.key)) as server:
        more = {"ELASTIC_APM_SERVER_CA_CERT_FILE": own.ca, "ELASTIC_APM_API_REQUEST_TIME": "1s"}
        program = folder.start(server.url, "steady", rate, minutes * 60, **more)
        watched = Watched(program.pid)
        end = time.monotonic() + minutes * 60
        for mode, (bad, well) in cycle(TEMPERS.items()):
            if time.monotonic() + (bad + well) * scale > end:
                break
            begun = time.monotonic()
            server.mode(mode)
            watched.rest(bad * scale)
            server.mode(HEALTHY)
            away.append((begun, time.monotonic()))
            watched.rest(well * scale)
        watched.rest(end - time.monotonic())
        finish(program, row)
        folder.flush(server.url, **more)
        notes, received = folder.notes(), server.received()
    account(row, notes, received)
    row.expect(not row.twice, f"{row.twice} twice, though every request was answered or left")
    bad = [note for note in notes if any(begun < note.ended < over for begun, over in away)]
    well = [note for note in notes if not any(begun < note.ended < over for begun, over in away)]
    row.away, row.healthy = latency(bad), latency(well)
    row.expect(median(n.took for n in bad) < 1.25 * median(n.took for n in well), "slower while the server is away")
    watched.judge(row)
    return row


def _made(path: Path) -> Path:
    path.mkdir()
    return path
