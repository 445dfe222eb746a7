"""Forked children begin anew: nothing is sent twice, nobody waits for the parent's locks (design 5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.export.support import event, exporter, left, numbers
from tests.servers import Server
from tests.traced import environment

ROOT = Path(__file__).resolve().parents[2]

BUSY = """
import os, sys, time, threading
from tests.export.support import event, settings, METADATA
from apm_run.export import Exporter
url, forks = sys.argv[1], int(sys.argv[2])
made = Exporter(settings(url), lambda: b'{"metadata":{"service":{"name":"%d"}}}\\n' % os.getpid())
stop = False
put = [0] * 4
def busy(index):
    while not stop:
        made.put(event(index * 1_000_000 + put[index]), 1)
        put[index] += 1
        time.sleep(0.0005)
threads = [threading.Thread(target=busy, args=(index,)) for index in range(4)]
for thread in threads: thread.start()
hung = 0
for number in range(forks):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            made.put(event(10_000_000 + number), 1)
            made.close()
            code = 0 if made.stats.accepted == 1 else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 20
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: break
        if time.monotonic() > deadline:
            os.kill(pid, 9); os.waitpid(pid, 0); status = -1
            break
        time.sleep(0.001)
    hung += status != 0
stop = True
for thread in threads: thread.join()
made.close()
print(hung, sum(put), made.stats.accepted, made.stats.waiting)
"""


def test_children_of_a_busy_process_deliver_their_own_and_nothing_else(state):
    forks = 100
    with Server() as server:
        env = environment(PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", APM_RUN_STATE_DIR=str(state), APM_RUN_STRICT="1")
        done = subprocess.run(
            [sys.executable, "-c", BUSY, server.url, str(forks)], env=env, capture_output=True, text=True, timeout=100
        )
        assert done.stderr == ""
        hung, put, accepted, waiting = map(int, done.stdout.split())
        assert (hung, waiting) == (0, 0)
        assert accepted == put
        got = numbers(server.events)
        assert len(got) == len(set(got)) == put + forks
        own = [number for number in got if number >= 10_000_000]
        assert sorted(own) == [10_000_000 + number for number in range(forks)]
        pids = {request.lines[0]["metadata"]["service"]["name"] for request in server.requests}
        assert len(pids) == forks + 1, "each under its own metadata"
        assert left(state) == []


def test_a_child_that_puts_nothing_leaves_the_parents_outbox_alone(state):
    with Server(answers=["hang"]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        files = left(state)
        pid = os.fork()
        if not pid:
            made.close()
            os._exit(made.stats.waiting)
        assert os.waitpid(pid, 0)[1] == 0
        assert left(state) == files
        assert made.stats.waiting == 1


def test_a_child_does_not_write_into_the_parents_segment(state):
    with Server(answers=["hang"]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        (name,) = left(state)
        path = state / "outbox" / name
        before = path.read_bytes()
        pid = os.fork()
        if not pid:
            for number in range(100):
                made.put(event(number, 20_000), 1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert len(left(state)) == 1 + 3, "two MB of the child's, behind a small first file"
        after = path.read_bytes()
        # The metadata line may have come meanwhile, from the parent's thread.
        assert after.count(b"transaction") == before.count(b"transaction") == 1


def test_a_child_that_is_made_for_a_job_is_looked_at_before_anything_has_ended_in_it(state):
    """It may be killed in the middle of that job: what is left of it is to say that it has begun."""
    with Server() as server, exporter(server.url) as made:
        looked, told = os.pipe()
        made.looks = lambda: os.write(told, b"looked") and None
        pid = os.fork()
        if not pid:
            try:
                made.begun()
                os.write(told, b"not yet, ")
                made.begun(job=True)
                time.sleep(60)
            finally:
                os._exit(0)
        try:
            os.close(told)
            found = b""
            while b"looked" not in found:
                piece = os.read(looked, 100)
                assert piece, found
                found += piece
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(looked)
        assert found.startswith(b"not yet, looked")
