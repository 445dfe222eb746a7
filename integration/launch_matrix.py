"""The whole matrix of ways to end on every CPython found: ``make launch``; writes docs/reference/launch-matrix.md.

The tests of tests/launch run it on one interpreter. ``--python 3.11`` chooses versions, ``--way os._exit`` ways;
then nothing is written.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.launch.endings import ENDS, TEN, Outcome, judge  # noqa: E402
from tests.launch.support import INTERPRETERS, traced  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "launch-matrix.md"

HEAD = """\
# Ways to end

<!-- Written by `make launch` (integration/launch_matrix.py). -->

Every program makes ten requests to an application, each with a database span, and then ends in its way. It is run
bare and under `apm-run`. A cell says how many of the ten transactions arrived within two seconds after the end, with
no other process to help; *flush*: after `apm-run flush`, which sends what a killed process has left. **!** marks what
is not as it should be: an event that is missing or came twice, another process in its metadata, another exit code,
signal, output or error output than bare.

Run on {date}, on commit {commit}.

"""


def cell(outcome: Outcome) -> str:
    """What the table says of one run."""
    text = f"{outcome.transactions} of {TEN}" + (", flush" if outcome.flushed else "")
    return text if outcome.good else f"**!** {text}"


def main() -> int:
    """Run it; the number of cells that are not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="a version, such as 3.11; can be repeated")
    parser.add_argument("--way", action="append", choices=list(ENDS), help="can be repeated")
    chosen = parser.parse_args()
    pythons = {
        version: path
        for version, path in sorted(INTERPRETERS.items(), key=lambda one: [int(part) for part in one[0].split(".")])
        if traced(version) and (not chosen.python or version.rpartition(".")[0] in chosen.python)
    }
    ways = chosen.way or list(ENDS)
    table = {way: {version: run(path, way) for version, path in pythons.items()} for way in ways}
    wrong = [(way, version, found) for way, row in table.items() for version, found in row.items() if not found.good]
    for way, version, found in wrong:
        print(f"{way} on {version}: {'; '.join(found.differences)}")
    print(f"{len(ways) * len(pythons) - len(wrong)} of {len(ways) * len(pythons)} as they should be")
    if not (chosen.python or chosen.way):
        PAGE.write_text(page(table, list(pythons)))
    return bool(wrong)


def run(path: str, way: str) -> Outcome:
    """One cell."""
    with tempfile.TemporaryDirectory() as folder:
        found = judge(path, way, Path(folder))
    print(f"{Path(path).parents[1].name:8} {way}: {cell(found)}", flush=True)
    return found


def page(table: dict[str, dict[str, Outcome]], versions: list[str]) -> str:
    """The reference page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [f"| Way | {' | '.join(versions)} |", f"|---{'|---' * len(versions)}|"]
    lines += [f"| {way} | {' | '.join(cell(row[version]) for version in versions)} |" for way, row in table.items()]
    date = datetime.date.today().isoformat()
    return HEAD.format(date=date, commit=commit) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
