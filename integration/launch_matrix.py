"""The whole matrix of ways to start, to end and to serve: ``make launch``; writes docs/reference/launch-matrix.md.

The tests of tests/launch run most of it on one interpreter. ``--part ends`` chooses parts, ``--python 3.11`` versions,
``--way os._exit`` ways; then nothing is written. Two cells are tried at a time (``--jobs``).
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.launch import endings, greening, serving, starts  # noqa: E402
from tests.launch.support import INTERPRETERS, traced  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "launch-matrix.md"

HEAD = """\
# Ways to start, to end and to serve

<!-- Written by `make launch` (integration/launch_matrix.py). -->

Each program is run bare and under `apm-run`. **!** marks what is not as it should be: an event that is missing or came
twice, another process in its metadata, another exit code, signal, output or error output than bare.

Run on {date}, on commit {commit}.
"""


def _of(count: int, outcome: Any) -> str:
    return f"{outcome.transactions} of {count}" + (", flush" if outcome.flushed else "")


class Part(NamedTuple):
    """One table.

    ``everywhere``: on every CPython found, or on the one whose libraries are installed.
    """

    title: str
    intro: str
    ways: Iterable[str]
    judge: Callable[[str, str, Path], Any]
    told: Callable[[Any], str]
    everywhere: bool = True


PARTS = {
    "starts": Part(
        "Ways to start",
        "How many of the Python programs that a command starts are traced, where there are several. *Untouched*: it is "
        "to run without the agent, and nothing tells that it was launched.",
        starts.STARTS,
        starts.judge,
        lambda outcome: outcome.text,
    ),
    "ends": Part(
        "Ways to end",
        "Every program makes ten requests to an application, each with a database span, and then ends in its way. A "
        "cell says how many of the ten transactions arrived within two seconds after the end, with no other process to "
        "help; *flush*: after `apm-run flush`, which sends what a killed process has left.",
        endings.ENDS,
        endings.judge,
        lambda outcome: _of(endings.TEN, outcome),
    ),
    "servers": Part(
        "Servers",
        "Every server answers twenty requests, some of them at once, and is ended by SIGTERM. A cell says how many of "
        "the twenty transactions arrived, each once and from the process that answered; *flush*: as above.",
        serving.SERVERS,
        serving.judge,
        lambda outcome: _of(serving.TWENTY, outcome),
        everywhere=False,
    ),
    "greenlets": Part(
        "Greenlets",
        "Programs that gevent or eventlet patches in their first line, after their imports, by a worker class or "
        "never, whose handlers ask an HTTPS server in greenlets, pools and threads. A cell says how many transactions "
        "and spans arrived, each below the right one.",
        greening.GREEN,
        greening.judge,
        lambda outcome: f"{outcome.transactions} with {outcome.spans} spans",
        everywhere=False,
    ),
}


def main() -> int:
    """Run it; whether a cell is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="can be repeated")
    parser.add_argument("--python", action="append", help="a version, such as 3.11; can be repeated")
    parser.add_argument("--way", action="append", help="can be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time (2)")
    chosen = parser.parse_args()
    found = {version: path for version, path in INTERPRETERS.items() if traced(version)}
    pythons = dict(sorted(found.items(), key=lambda one: [int(part) for part in one[0].split(".")]))
    sections, wrong, count = [], 0, 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for name in chosen.part or PARTS:
            part = PARTS[name]
            where = pythons if part.everywhere else {"{}.{}.{}".format(*sys.version_info): sys.executable}
            where = {v: path for v, path in where.items() if not chosen.python or v.rpartition(".")[0] in chosen.python}
            ways = [way for way in part.ways if not chosen.way or way in chosen.way]
            cells = [(way, version) for way in ways for version in where]
            outcomes = dict(zip(cells, pool.map(lambda cell: run(part, where[cell[1]], cell[0]), cells)))  # noqa: B023
            sections.append(table(part, ways, list(where), outcomes))
            wrong += sum(not outcome.good for outcome in outcomes.values())
            count += len(cells)
    print(f"{count - wrong} of {count} as they should be")
    if not (chosen.part or chosen.python or chosen.way):
        PAGE.write_text(page(sections))
    return bool(wrong)


def run(part: Part, python: str, way: str) -> Any:
    """One cell."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = part.judge(python, way, Path(folder) / "cell")
    where = Path(python).parents[1].name
    print(f"{where:8} {way}: {cell(part, outcome)}", *outcome.differences, sep="\n    ", flush=True)
    return outcome


def cell(part: Part, outcome: Any) -> str:
    """What the table says of one run."""
    return part.told(outcome) if outcome.good else f"**!** {part.told(outcome)}"


def table(part: Part, ways: list[str], versions: list[str], outcomes: dict[tuple[str, str], Any]) -> str:
    """One section of the page."""
    lines = [f"| Way | {' | '.join(versions)} |", f"|---{'|---' * len(versions)}|"]
    for way in ways:
        told = " | ".join(cell(part, outcomes[way, version]) for version in versions)
        lines.append(f"| {way.replace('|', chr(92) + '|')} | {told} |")
    return f"## {part.title}\n\n{part.intro}\n\n" + "\n".join(lines) + "\n"


def page(sections: list[str]) -> str:
    """The reference page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    date = datetime.date.today().isoformat()
    return "\n".join([HEAD.format(date=date, commit=commit), *sections])


if __name__ == "__main__":
    sys.exit(main())
