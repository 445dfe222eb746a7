"""Calls of a library, ten to a transaction, with a pause after a tenth of them and after each PACE.

    python integration/soak_program.py sqlite3 :memory: 1000000 0

In a pause it says how many it has made, waits for a line, and says its anonymous memory in KiB. The last argument is
how many bytes it keeps of each call: a leak, to see that one is found.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import apm_run

EACH = 10
#: Calls of which all spans find room in the outbox.
PACE = 20_000


def statements(module: str, where: str) -> Callable[[int], None]:
    """Two statements, one of them of a text of its own; nothing is added to the database."""
    connection = importlib.import_module(module).connect(where)
    cursor = connection.cursor()
    cursor.execute("create temporary table items (id int)")

    def two(number: int) -> None:
        cursor.execute("select count(*) from items")
        cursor.execute(f"delete from items where id = {number}")

    return two


def commands(port: str) -> Callable[[int], None]:
    """Two commands of redis-py."""
    from redis import Redis

    client = Redis(port=int(port))

    def two(number: int) -> None:
        client.set("key", number)
        client.get("key")

    return two


def anonymous() -> int:
    """KiB of this process that are in memory, without the files it has mapped.

    The outbox is such files: how many of its segments there are at a time depends on how busy the machine is.
    """
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def pause(done: int) -> None:
    """Let what was done arrive, then say the memory."""
    gc.collect()
    print(done, flush=True)
    sys.stdin.readline()
    print(anonymous(), flush=True)


def main(library: str, where: str, calls: int, leak: int) -> None:
    """Make the calls."""
    two = commands(where) if library == "redis" else statements(library, where)
    rest = max(0, leak - sys.getsizeof(b"") - sys.getsizeof([None]) + sys.getsizeof([]))
    kept: list[bytes] = []
    for done in range(EACH, calls + 1, EACH):
        with apm_run.start_transaction(f"round {done // EACH % 10}", "soak"):
            for number in range(done - EACH, done, 2):
                two(number)
        if leak:
            kept.extend(bytes(rest) for _ in range(EACH))
        if done in (calls // 10, calls) or done % PACE == 0:
            pause(done)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
