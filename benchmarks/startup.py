"""What apm-run adds to the start of a program: wall time, modules and memory, interleaved with the bare command.

Run it with ``make bench``; ``--runs N`` sets how often. Figures are medians of one run on this machine: compare the
ratios, not the milliseconds.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAUNCHER = Path(sys.executable).parent / "apm-run"
PROGRAMS = {
    "python -c pass": "pass",
    "import flask": "import flask",
    "one sqlite3 query": "import sqlite3; sqlite3.connect(':memory:').execute('select 1')",
}


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall milliseconds and CPU milliseconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall * 1000, cpu * 1000


def modules(command: list[str], environment: dict[str, str]) -> int:
    """How many modules are loaded at the end of the program."""
    source = command[-1] + "\nimport sys; print(len(sys.modules))"
    found = subprocess.run([*command[:-1], source], env=environment, check=True, capture_output=True, text=True)
    return int(found.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ELASTIC_", "APM_RUN_"))}
    if not LAUNCHER.exists():
        sys.exit(f"{LAUNCHER} is missing: run make setup first")
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, median of {runs} interleaved runs")
    print(f"{'program':20} {'bare ms':>8} {'apm-run':>8} {'added':>6} {'ratio':>6} {'added CPU':>10} {'modules':>8}")
    for name, source in PROGRAMS.items():
        bare = [sys.executable, "-c", source]
        launched = [str(LAUNCHER), *bare]
        measured: tuple[list, list] = ([], [])
        for _ in range(runs + 1):
            measured[0].append(once(bare, environment))
            measured[1].append(once(launched, environment))
        walls = [statistics.median(wall for wall, _ in each[1:]) for each in measured]
        cpus = [statistics.median(cpu for _, cpu in each[1:]) for each in measured]
        added = modules(launched, environment) - modules(bare, environment)
        print(
            f"{name:20} {walls[0]:8.1f} {walls[1]:8.1f} {walls[1] - walls[0]:6.1f} {walls[1] / walls[0]:6.2f}"
            f" {cpus[1] - cpus[0]:10.1f} {added:+8d}"
        )


if __name__ == "__main__":
    main()
