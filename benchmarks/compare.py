"""What each agent adds, side by side: ``make bench``; writes docs/reference/performance.md.

Runs are interleaved (each agent once, then each again), figures are medians. The environments of the agents are kept
in ``--folder``; ``--only`` names parts, ``--agents`` agents, and with these no page is written.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from agents import AGENTS, ROOT, environment, version
from measure import Place, asked, load, median, run, sink, spread

PROGRAMS = ROOT / "benchmarks" / "programs"
PAGE = ROOT / "docs" / "reference" / "performance.md"

#: What is measured in one process -> how many requests, and what it is.
REQUESTS = {
    "flask": (3000, "Flask: 5 sqlite3 queries, 1 call with requests"),
    "fastapi": (2000, "FastAPI: 5 sqlite3 queries, 1 call with httpx"),
    "plain": (10000, "Flask, a route without anything"),
    "raising": (5000, "Flask, a route that raises"),
    "orm": (2000, "Flask: 5 objects by SQLAlchemy's ORM"),
    "script": (10000, "A script of 10,000 queries, per query"),
    "outside": (50000, "A query outside of any request"),
}
STARTS = {"`python -c pass`": "pass", "`import flask`": "import flask"}
EXITS = {"fine": "healthy", "refused": "refusing", "503": "answering 503", "hang": "not answering"}

SERVERS = {
    "gunicorn, 2 workers": ("gunicorn", "-w2", "-kgthread", "--threads=4", "-b127.0.0.1:{port}", "served:wsgi"),
    "uvicorn": ("uvicorn", "--port={port}", "--no-access-log", "--log-level=warning", "served:asgi"),
}

Table = list[str]


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved runs of each case")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "apm-run-bench")
    parser.add_argument("--only", nargs="*", choices=CASES, help="parts; the page keeps the others as they are")
    parser.add_argument("--agents", nargs="*", help=f"of {', '.join(agent.name for agent in AGENTS)}; writes no page")
    options = parser.parse_args()
    wanted = [agent for agent in AGENTS if not options.agents or agent.name in ("bare", *options.agents)]
    with tempfile.TemporaryDirectory(prefix="apm-run-bench-home-") as home:
        places = [Place(agent, environment(agent, options.folder), home) for agent in wanted]
        for name, (case, _) in CASES.items():
            if options.only and name not in options.only:
                continue
            table = "\n".join(case(places, options.rounds))
            print(table, "\n", flush=True)
            if not options.agents:
                versions = ", ".join(f"{agent.name} {version(agent, options.folder)}".strip() for agent in AGENTS[1:])
                write(name, table, f"{versions}; {options.rounds} rounds")
    return 0


def head(places: list[Place], first: str) -> Table:
    """The head of a table."""
    names = [place.agent.name for place in places]
    return [f"| {first} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]


def interleaved(places: list[Place], rounds: int, once: Callable[[Place], float]) -> list[list[float]]:
    """So many values for each place, taken in turn; the first round only warms up."""
    found: list[list[float]] = [[] for _ in places]
    for number in range(rounds + 1):
        for values, place in zip(found, places):
            value = once(place)
            if number:
                values.append(value)
    return found


def added(values: list[list[float]]) -> list[str]:
    """The bare median, and what the others add to the bare run of their round, with the smallest and the largest."""
    bare = median(values[0])
    shown = [f"{bare:.1f}" if bare < 100 else f"{bare:.0f}"]
    for each in values[1:]:
        more = [value - beside for value, beside in zip(each, values[0])]
        shown.append(f"+{median(more):.1f} ({spread(more)})" if bare < 100 else f"+{median(more):.0f} ({spread(more)})")
    return shown


def requests(places: list[Place], rounds: int) -> Table:
    """Microseconds of CPU per request: all of the process's from its first request to its end, and the caller's."""
    rows = head(places, "us of CPU per request")
    for case, (_, title) in REQUESTS.items():
        foreground: dict[str, list[float]] = {}

        def once(place: Place, case: str = case, kept: dict[str, list[float]] = foreground) -> float:
            count = REQUESTS[case][0]
            with sink() as url:
                words = place.python(PROGRAMS / "web.py", case, count, f"{url}/target")
                done = run(words, place.environment(url))
            said = json.loads(done.said.splitlines()[-1])
            kept.setdefault(place.agent.name, []).append(said["foreground"] / count * 1e6)
            return (done.cpu - said["begin"]) / count * 1e6

        rows.append(f"| {title}, all | {' | '.join(added(interleaved(places, rounds, once)))} |")
        caller = [foreground[place.agent.name][1:] for place in places]
        rows.append(f"| {title}, caller's thread | {' | '.join(added(caller))} |")
        print(rows[-2], rows[-1], sep="\n", flush=True)
    return rows


def starts(places: list[Place], rounds: int) -> Table:
    """Milliseconds of the start: wall clock and CPU, with a server there."""
    rows = head(places, "ms to start and end")
    for title, source in STARTS.items():
        cpu: dict[str, list[float]] = {}

        def once(place: Place, source: str = source, kept: dict[str, list[float]] = cpu) -> float:
            with sink() as url:
                done = run(place.python("-c", source), place.environment(url))
            kept.setdefault(place.agent.name, []).append(done.cpu * 1000)
            return done.wall * 1000

        rows.append(f"| {title}, wall | {' | '.join(added(interleaved(places, rounds * 2, once)))} |")
        rows.append(f"| {title}, CPU | {' | '.join(added([cpu[place.agent.name][1:] for place in places]))} |")
    able = [place for place in places if place.agent.options or not place.agent.launcher]

    def told(place: Place) -> float:
        with sink() as url:
            return run(place.python("-c", "pass", options=place.agent.options), place.environment(url)).wall * 1000

    shown = dict(zip([place.agent.name for place in able], added(interleaved(able, rounds * 2, told))))
    told_by = " | ".join(shown.get(place.agent.name, "") for place in places)
    rows.append(f"| `python -c pass`, the launcher given an option, wall | {told_by} |")
    count = "import sys; print(len(sys.modules))"
    with sink() as url:
        modules = [int(run(place.python("-c", count), place.environment(url)).said) for place in places]
    rows.append(f"| modules at the end of `pass` | {' | '.join(map(str, modules))} |")
    return rows


def memory(places: list[Place], rounds: int) -> Table:
    """Megabytes resident: before any request, after 50,000; and of a script that loads no HTTP."""
    rows = head(places, "MB resident")
    found: list[list[int]] = []
    for place in places:
        with sink() as url:
            env = place.environment(url)
            served = json.loads(run(place.python(PROGRAMS / "web.py", "plain", 50_000, f"{url}/target"), env).said)
            script = run(place.python(PROGRAMS / "sending.py"), env).said.split()
            found.append([served["before"], served["after"], *map(int, script)])
    titles = "Flask after 50 requests", "Flask after 50,000 requests", "a script after a query", "the script after 5 s"
    for title, values in zip(titles, zip(*found)):
        more = " | ".join(f"+{(value - values[0]) / 1024:.1f}" for value in values[1:])
        rows.append(f"| {title} | {values[0] / 1024:.1f} | {more} |")
    return rows


def wire(places: list[Place], rounds: int) -> Table:
    """Bytes that go to the server for a request of five queries and a call; what compressing them costs."""
    rows = head(places, "Flask: 5 sqlite3 queries, 1 call with requests")
    count = REQUESTS["flask"][0]
    for title, address in (("on this machine", "127.0.0.1"), ("elsewhere, as its address says", _own_address())):
        sent: dict[str, list[float]] = {}

        def once(place: Place, address: str = address, kept: dict[str, list[float]] = sent) -> float:
            with sink() as target, sink(address=address) as url:
                words = place.python(PROGRAMS / "web.py", "flask", count, f"{target}/target")
                done = run(words, place.environment(url))
                kept.setdefault(place.agent.name, []).append(asked(f"{url}/counted")["bytes"] / count)
            return (done.cpu - json.loads(done.said.splitlines()[-1])["begin"]) / count * 1e6

        cpu = added(interleaved(places, rounds, once))
        size = " | ".join(f"{median(sent[place.agent.name]):.0f}" for place in places)
        rows.append(f"| server {title}, bytes per request | {size} |")
        rows.append(f"| server {title}, us of CPU, all | {' | '.join(cpu)} |")
    return rows


def exits(places: list[Place], rounds: int) -> Table:
    """Milliseconds from the program's last line to its end, with one transaction to send, by the server's temper."""
    rows = head(places, "ms the exit takes")
    source = PROGRAMS / "exiting.py"
    for temper, title in EXITS.items():

        def once(place: Place, temper: str = temper) -> float:
            with sink(temper) as fine:
                url = f"http://127.0.0.1:{_free()}" if temper == "refused" else fine
                done = run(place.python(source), place.environment(url))
                return (time.time() - float(done.said.splitlines()[-1])) * 1000

        few = interleaved(places, 3, once)
        rows.append(f"| server {title} | {' | '.join(f'{median(each):.0f}' for each in few)} |")
    return rows


def served(places: list[Place], rounds: int) -> Table:
    """Latency under load of real servers, in milliseconds; and what has arrived of it."""
    rows = head(places, "4 clients, 4 s")
    for title, words in SERVERS.items():
        shown: list[list[str]] = [[], [], [], []]
        for place in places:
            with sink() as url:
                latency = _under_load(place, url, words)
                time.sleep(1)
                events = asked(f"{url}/counted")
            shown[0].append(f"{len(latency) / 4:.0f}")
            shown[1].append(f"{latency[len(latency) // 2] * 1000:.2f}")
            shown[2].append(f"{latency[len(latency) * 99 // 100] * 1000:.2f}")
            lost = len(latency) - events["events"].get("transaction", 0)
            shown[3].append(
                f"{events['bytes'] / max(len(latency), 1):.0f} B, {lost} lost"
                if events["events"]
                else f"{events['bytes'] / max(len(latency), 1):.0f} B"
            )
        for name, values in zip(("requests a second", "p50 ms", "p99 ms", "sent per request"), shown):
            rows.append(f"| {title}, {name} | {' | '.join(values)} |")
    return rows


def _under_load(place: Place, url: str, words: tuple[str, ...]) -> list[float]:
    port = _free()
    program, *rest = (word.format(port=port) for word in words)
    command = place.command(place.folder / program, *rest)
    env = place.environment(url, PYTHONPATH=str(PROGRAMS))
    process = subprocess.Popen(command, env=env, cwd=PROGRAMS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        load(port, "/items/1", 0.5)
        asked(f"{url}/forget")
        time.sleep(1.5)
        asked(f"{url}/forget")
        return load(port, "/items/1", 4)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def full(places: list[Place], rounds: int) -> Table:
    """Two processes that do nothing but make requests, as many as they can."""
    rows = head(places, "2 processes, 10 s")
    shown: list[list[str]] = [[], [], []]
    for place in places:
        with sink() as url, ThreadPoolExecutor(2) as both:
            command, env = place.python(PROGRAMS / "full.py", 10), place.environment(url)
            ends = [both.submit(run, command, env) for _ in range(2)]
            made = sum(int(end.result().said.splitlines()[-1]) for end in ends)
            events = asked(f"{url}/counted")
        arrived = events["events"].get("transaction", 0)
        shown[0].append(f"{made / 10:.0f}")
        shown[1].append(f"{arrived} of {made}" if arrived else "")
        shown[2].append(f"{events['bytes'] / made:.0f}" if events["bytes"] else "")
    for name, values in zip(("requests a second", "transactions arrived", "bytes sent per request"), shown):
        rows.append(f"| {name} | {' | '.join(values)} |")
    return rows


def _own_address() -> str:
    """The address by which others reach this machine; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


#: Parts of the page: how each is measured, and its title.
CASES: dict[str, tuple[Callable[[list[Place], int], Table], str]] = {
    "requests": (requests, "Requests and queries"),
    "start": (starts, "Start"),
    "memory": (memory, "Memory"),
    "wire": (wire, "On the wire"),
    "exit": (exits, "Exit"),
    "load": (served, "Under load"),
    "full": (full, "At full speed"),
}

HEAD = """\
# Performance

Written by `make bench`, which measures agents side by side: the same programs, each agent in an environment of its own,
a server on the same machine that takes what they send, everything sampled. Figures are medians of interleaved runs; in
brackets the smallest and the largest. Columns of agents show what they add to the bare program, to its run of the
same round. Compare within a row: absolute figures are this machine's, whose interpreters are built without optimisation
by profile.

New Relic's agent sends to nobody here: it runs in its developer mode, which makes its payloads and answers itself.
Metrics and logs of OpenTelemetry are off, as are telemetry and remote configuration of ddtrace. The launcher of
elastic-apm begins no transaction for FastAPI, and its spans belong to none: its figures there are of less work.

What must hold (issue 6) and what is missed, with a profile: [decision 29](../decisions/0029-cost.md).
"""


def write(name: str, table: str, how: str) -> None:
    """Put a part into the page; the others stay as they are."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} processors"
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    parts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in text.split("\n## ")[1:]}
    parts[CASES[name][1]] = f"{datetime.date.today().isoformat()}, commit {commit}, {machine}; {how}.\n\n{table}"
    written = [f"\n## {title}\n\n{parts[title]}\n" for _, title in CASES.values() if title in parts]
    PAGE.write_text(HEAD + "".join(written), "utf-8")
    print(f"{PAGE.relative_to(ROOT)} written")


if __name__ == "__main__":
    sys.exit(main())
