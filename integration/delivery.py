"""The delivery contract with real processes: ``make delivery``; writes docs/reference/delivery.md.

Outages of every kind, errors in a burst, kills at random, forks, every place of the outbox, adopters at once, a soak.
``--case kills`` chooses cases, ``--minutes 2`` the length of the soak; then nothing is written.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from integration import delivering, delivery_places, delivery_soak  # noqa: E402
from integration.delivering import Folder, Row  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "delivery.md"
#: How the server is away for 12 of 20 s.
AWAY = ("503", "429", "refused", "hang", "reset", "413")
MINUTES = 6.0

HEAD = """\
# What arrives

<!-- Written by `make delivery` (integration/delivery.py). -->

Real programs under `apm-run` serve requests, each with a database span, and note themselves when each has ended; a
server in a process of its own misbehaves in the way the case says and remembers what came. *Requests done* are those
that the program has noted (of killed ones: 10 ms or more before the kill), *arrived* their transactions. *Twice* are
events, spans and errors included, that arrived more than once: only what was in flight at a kill may, one request per
kill. What is not answered when a program ends is left in the outbox. Latencies are those of the program's requests in
microseconds, median / 99th percentile; the same program bare: {bare}. **!** marks what is not as it should be.

Run on {date}, on commit {commit}, CPython {python}, {processors} processors.

"""


#: These mostly wait: all of them run side by side, before the others.
PATIENT = ("outages", "long", "soak")


def cases(minutes: float) -> dict[str, list[Callable[[Folder], Row]]]:
    """Name -> what gives its rows, each in a folder of its own."""
    return {
        "outages": [partial(delivering.outage, mode) for mode in AWAY],
        "long": [partial(delivering.outage, "503", seconds=375, rate=100, away=(10, 310), every="10s")],
        "soak": [partial(delivery_soak.soak, minutes=minutes)],
        "errors": [partial(delivering.failures, 40, 0.1, most=2), partial(delivering.failures, 300, 2, most=5)],
        "kills": [partial(delivering.kills, 200)],
        "crowd": [partial(delivering.crowd, 200, 20)],
        "adopters": [delivering.adopters],
        "forks": [partial(delivering.forks, 500)],
        "places": [partial(delivery_places.place, name) for name in delivery_places.PLACES],
        "evictions": [delivery_places.evictions],
    }


def run(names: Collection[str], minutes: float, folder: Folder) -> Iterator[Row]:
    """The rows of these cases, as they come."""
    for patient in (True, False):
        chosen = [one for name, all_ in cases(minutes).items() if name in names for one in all_
                  if (name in PATIENT) is patient]  # fmt: skip
        with ThreadPoolExecutor(len(chosen) if patient and chosen else 1) as pool:
            yield from pool.map(lambda one: one(folder=folder / uuid4().hex), chosen)


def main() -> int:
    """Run it; whether something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=list(cases(0)), help="can be repeated")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of the soak")
    chosen = parser.parse_args()
    if not delivery_places.may_mount():
        parser.error("a mount namespace is needed (unshare -m)")
    rows = []
    with tempfile.TemporaryDirectory(prefix="apm-run-delivery-") as name:
        folder = Folder(Path(name))
        bare = delivering.undisturbed(folder / "bare")
        print(f"bare: {bare}", flush=True)
        for row in run(chosen.case or cases(0), chosen.minutes, folder):
            print(" | ".join(cells(row)), *row.wrong, sep="\n    ", flush=True)
            rows.append(row)
    wrong = sum(bool(row.wrong) for row in rows)
    print(f"{len(rows) - wrong} of {len(rows)} as they should be")
    if not chosen.case and chosen.minutes == MINUTES:
        PAGE.write_text(page(rows, bare))
    return bool(wrong)


def cells(row: Row) -> list[str]:
    """What the table says of one case."""
    marked = f"**!** {row.case}" if row.wrong else row.case
    return [marked, *(f"{number:,}" for number in (row.put, row.arrived, row.twice, row.requests)), row.healthy,
            row.away, row.note]  # fmt: skip


def page(rows: list[Row], bare: str) -> str:
    """The reference page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    head = HEAD.format(
        bare=bare,
        date=datetime.date.today().isoformat(),
        commit=commit,
        python=platform.python_version(),
        processors=delivering.processors(),
    )
    names = [
        "Case",
        "Requests done",
        "Arrived",
        "Twice",
        "Requests to the server",
        "Latency, server well",
        "server away",
    ]
    lines = [[*names, "Note"], ["---"] * (len(names) + 1), *map(cells, rows)]
    return head + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
