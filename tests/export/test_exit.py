"""How long the end of a process may take (design 5a, "Delay of the exit")."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.export.support import event, exporter, left, numbers
from tests.servers import Server, refused_port
from tests.traced import environment

pytestmark = pytest.mark.timing
ROOT = Path(__file__).resolve().parents[2]

#: Behaviour -> seconds over bare with the outbox on disk, and in memory.
LIMITS = {
    202: (0.2, 0.2),
    503: (0.3, 0.3),
    429: (0.3, 0.3),
    401: (0.3, 0.3),
    413: (0.3, 0.3),
    "reset": (0.3, 0.3),
    "hang": (0.35, 2.05),
    "deaf": (0.35, 2.05),
    # The first byte is a sign of life.
    "drip": (0.7, 2.1),
}

PROGRAM = """
import sys, time
from tests.export.support import event, settings, METADATA
from apm_run.export import Exporter
import atexit
url, when, place = sys.argv[1:]
if place == "memory":
    from apm_run.export import statedir
    statedir.candidates = lambda environ: ()
made = Exporter(settings(url), lambda: METADATA)
begin = []
@atexit.register
def end():
    if when == "exit":
        made.put(event(1) + event(2), 2)
    begin.append(time.perf_counter())
    made.close()
    print(time.perf_counter() - begin[0], made.stats.accepted, made.stats.waiting)
if when == "before":
    made.put(event(1) + event(2), 2)
elif when == "sent":
    made.put(event(0), 1)
    made.flush(1)
    made.put(event(1) + event(2), 2)
"""


def run(url: str, when: str, state: str, place: str = "disk", python: str = sys.executable) -> tuple[float, int, int]:
    env = environment(
        PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", APM_RUN_STATE_DIR=state, APM_RUN_STRICT="1", ELASTIC_APM_EXIT_TIMEOUT=""
    )
    done = subprocess.run(
        [python, "-c", PROGRAM, url, when, place], env=env, capture_output=True, text=True, timeout=30, check=True
    )
    seconds, accepted, waiting = done.stdout.split()
    return float(seconds), int(accepted), int(waiting)


@pytest.mark.parametrize("when", ["before", "exit", "sent"])
@pytest.mark.parametrize("place", ["disk", "memory"])
@pytest.mark.parametrize("behaviour", LIMITS)
def test_delay_of_the_end(behaviour, place, when, state):
    with Server(answers=[behaviour]) as server:
        seconds, _, waiting = run(server.url, when, str(state), place)
        allowed = LIMITS[behaviour][place == "memory"]
        assert seconds < allowed
        if behaviour == 202:
            assert waiting == 0
            assert numbers(server.events)[-2:] == [1, 2]
            assert left(state) == []
        elif behaviour != 413:
            assert waiting >= 2


@pytest.mark.parametrize("when", ["before", "exit", "sent"])
def test_delay_of_the_end_where_nobody_listens(when, state):
    seconds, _, waiting = run(f"http://127.0.0.1:{refused_port()}", when, str(state))
    assert seconds < 0.3
    assert waiting >= 2
    assert left(state)


def versions() -> list[str]:
    found = Path.home() / ".pyenv" / "versions"
    return [str(path) for minor in range(9, 14) for path in sorted(found.glob(f"3.{minor}.*/bin/python"))]


@pytest.mark.parametrize("python", versions())
def test_the_end_delivers_on_every_python(python, state):
    with Server() as server:
        for when in ("before", "exit"):
            _, accepted, waiting = run(server.url, when, str(state), python=python)
            assert (accepted, waiting) == (2, 0)
        assert numbers(server.events) == [1, 2, 1, 2]
        assert left(state) == []


def test_a_request_in_flight_does_not_hold_the_end():
    with Server(answers=["hang"]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda s: s.requests)
        begin = time.perf_counter()
        made.close()
        assert time.perf_counter() - begin < 0.35


def test_back_off_does_not_delay_the_end_and_one_last_try_is_made():
    with Server(answers=[503, 503, 503, 202]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda s: len(s.requests) == 2)
        begin = time.perf_counter()
        made.close()
        assert time.perf_counter() - begin < 0.3
        assert len(server.requests) == 3


def test_a_backlog_does_not_hold_the_end_for_longer(state):
    with Server() as server, exporter(server.url) as made:
        worker = None
        for number in range(4000):
            made.put(event(number, 10_000), 1)
        worker = next(iter(made._workers.values()))
        begin = time.perf_counter()
        made.close()
        assert time.perf_counter() - begin < 2.2
        assert worker.stats.accepted + worker.outbox.waiting == 4000
