"""A million calls of a library under apm-run: the memory of the process stays as it is (`make soak`).

integration/soak_program.py makes the calls, bare and with ``apm-run`` in front, and says its anonymous memory now and
then, when all that it has done has arrived: it calls faster than a receiver takes, and what the outbox's files have no
room for is in memory. Exit code 1 where a traced one has grown by more than ROOM since the first tenth. Libraries and
``--calls`` choose and shorten; then no page is written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from integration import transparency  # noqa: E402
from integration.services.postgres import Postgres  # noqa: E402
from integration.services.redis import Redis  # noqa: E402

from apm_run.local.server import Receiver  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "memory.md"
CALLS = 1_000_000
#: How much more memory it may have at the end, in KiB: of a million calls, one byte each.
ROOM = 1024
PROGRAM = str(Path(__file__).with_name("soak_program.py"))
#: Library -> where its calls go.
LIBRARIES = {
    "sqlite3": lambda _: ":memory:",
    "psycopg2": lambda stack: stack.enter_context(Postgres()).dsn,
    "redis": lambda stack: str(stack.enter_context(Redis()).port),
}


class Run(NamedTuple):
    """What a run of the program has shown: memory in KiB, time in seconds, and what has arrived of it."""

    warm: int
    end: int
    took: float
    spans: int

    @property
    def grown(self) -> int:
        """By how much after the first tenth."""
        return self.end - self.warm


def run(library: str, calls: int, traced: bool = True, leak: int = 0) -> Run:
    """Run the program to its end; ``leak``: bytes that it keeps of each call."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        receiver = stack.enter_context(Receiver(port=0))
        command = [sys.executable, PROGRAM, library, LIBRARIES[library](stack), str(calls), str(leak)]
        if traced:
            command.insert(0, os.path.join(os.path.dirname(sys.executable), "apm-run"))
        environment = {**transparency.environment(receiver.url, strict=True), "HOME": folder}
        environment.update(XDG_STATE_HOME=folder, ELASTIC_APM_SERVICE_NAME="soak")
        # What a buffer has taken is given back when it is freed: else the C library keeps as much as the largest, and
        # which tenth that has come in is chance.
        environment["MALLOC_MMAP_THRESHOLD_"] = "131072"
        began = time.monotonic()
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            memory = {}
            for done in map(int, process.stdout):
                await_spans(receiver, done if traced else 0)
                process.stdin.write("\n")
                process.stdin.flush()
                memory[done] = int(process.stdout.readline())
        assert process.returncode == 0
        return Run(memory[calls // 10], memory[calls], time.monotonic() - began, arrived(receiver))


def arrived(receiver: Receiver) -> int:
    """How many spans of the program have come."""
    counted: dict[str, int] = receiver.summary()["services"].get("soak", {})
    return counted.get("spans", 0)


def await_spans(receiver: Receiver, wanted: int) -> None:
    """Wait until so many have come; none for a minute is a failure."""
    had, since = -1, time.monotonic()
    while had < wanted:
        if arrived(receiver) > had:
            had, since = arrived(receiver), time.monotonic()
        assert time.monotonic() < since + 60, f"{had} spans of {wanted} have arrived"
        time.sleep(0.02)


def row(library: str, bare: Run, traced: Run) -> str:
    """Its line of the table."""
    memory = " | ".join(f"{kib / 1024:.1f}" for kib in (bare.warm, bare.end, traced.warm, traced.end))
    times = f"{bare.took:.0f} s | {traced.took:.0f} s"
    return f"| {library} | {memory} | {traced.grown:+} KiB | {times} | {traced.spans:,} |"


_HEAD = """\
# Memory over a million calls

<!-- Written by `make soak` (integration/soak.py). -->

A program makes {calls:,} calls of a library, ten to a transaction, bare and with `apm-run` in front, on CPython
{python}; every other SQL statement has a text of its own. Anonymous memory of its process in MiB, after a tenth of the
calls and at the end, each time when all that it has done has *arrived*, and by how much the traced one has *grown* in
between: up to {room} KiB count for nothing. The time includes those waits, fifty of them. What is
not answered in time is sent again, and has then arrived twice.

| Library | Bare, at 10 % | at the end | Traced, at 10 % | at the end | Grown | Time, bare | traced | Arrived |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def main(arguments: list[str]) -> int:
    """Run the program with each library, print the table, write the page; 1 when one has grown."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help=f"of {', '.join(LIBRARIES)} (default: all)")
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(LIBRARIES)
    if unknown:
        parser.error(f"not to be had: {', '.join(sorted(unknown))}; there are {', '.join(LIBRARIES)}")
    found, rows = 0, []
    for library in options.only or LIBRARIES:
        bare, traced = (run(library, options.calls, way) for way in (False, True))
        rows.append(row(library, bare, traced))
        print(rows[-1], flush=True)
        found += traced.grown > ROOM
    if not options.only and options.calls == CALLS:
        head = _HEAD.format(calls=CALLS, python=sys.version.partition(" ")[0], room=ROOM)
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        PAGE.write_text(head + "\n".join(rows) + f"\n\n{day}, commit {transparency.commit()}.\n", "utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
