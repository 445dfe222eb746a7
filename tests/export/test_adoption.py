"""What dead processes left is sent by whoever sends anyway, once (design 5a, "Adoption")."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.export.support import event, exporter, left, numbers
from tests.servers import Server, refused_port
from tests.traced import environment

from apm_run.export import files, leftovers
from apm_run.export.segment import read

ROOT = Path(__file__).resolve().parents[2]

VICTIM = """
import os, sys, time
from apm_run.export.segment import read
from tests.export.support import event, settings
from apm_run.export import Exporter
url, first, count, wait, *options = sys.argv[1:]
options = dict(option.split("=") for option in options)
metadata = b'{"metadata":{"service":{"name":"victim"},"process":{"pid":%d}}}\\n' % os.getpid()
made = Exporter(settings(url, **options), lambda: metadata)
number = int(first)
made.put(event(number), 1)
def mine():
    with os.scandir(os.environ["APM_RUN_STATE_DIR"] + "/outbox") as entries:
        return b"".join(open(entry.path, "rb").read() for entry in entries if entry.name.startswith(f"{os.getpid()}-"))
while wait == "ready" and b"victim" not in mine():
    time.sleep(0.001)
while number < int(first) + int(count) - 1:
    number += 1
    made.put(event(number, 200), 1)
    print(number, time.monotonic(), flush=True)
print("end", flush=True)
time.sleep(100)
"""


def victim(url: str, state, first: int, count: int, *options: str, wait: str = "ready") -> subprocess.Popen[str]:
    env = environment(PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", APM_RUN_STATE_DIR=str(state))
    command = [sys.executable, "-c", VICTIM, url, str(first), str(count), wait, *options]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def left_by_a_kill(url: str, server: Server, state, count: int, *options: str) -> int:
    """The pid of a process that put so many events and was killed; the server takes nothing until then."""
    with victim(url, state, 0, count, *options) as process:
        assert "end\n" in iter(process.stdout.readline, "")
        process.kill()
    # Requests in flight are answered, and forgotten; what still waits to be accepted comes before this one.
    asked = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=10)
    asked.request("GET", "/last")
    asked.getresponse().read()
    asked.close()
    for thread in server.threads[1:]:
        thread.join(5)
    server.answers[:] = [202]
    server.requests.clear()
    return process.pid


def adopt(url: str, **options) -> None:
    """Be the process that sends anyway."""
    with exporter(url, **options) as made:
        made.put(event(1_000_000), 1)
        assert made.flush(5)
        made.flush(5)
        deadline = time.monotonic() + 5
        worker = made._workers[os.getpid()]
        while not worker._adopt_at and time.monotonic() < deadline:
            time.sleep(0.01)
        # Its end is waited for.
        made.put(event(1_000_001), 1)
        assert made.flush(5)


def test_the_leftovers_of_a_killed_process_arrive_once_under_its_own_metadata(state):
    with Server(answers=[503]) as server:
        pid = left_by_a_kill(server.url, server, state, 3000)
        assert len(left(state)) >= 1
        for _ in range(2):
            adopt(server.url)
        got = [(number, request) for request in server.requests for number in numbers(request.events)]
        adopted = [number for number, _ in got if number < 1_000_000]
        assert len(adopted) == 3000
        assert set(adopted) == set(range(3000))
        for number, request in got:
            if number < 1_000_000:
                assert request.lines[0]["metadata"]["process"]["pid"] == pid
        assert left(state) == []


@pytest.mark.parametrize("other", ["destination", "credentials"])
def test_leftovers_for_another_server_or_of_other_credentials_stay(other, state):
    with Server(answers=[503]) as server:
        if other == "destination":
            left_by_a_kill(f"http://127.0.0.1:{refused_port()}", server, state, 10)
        else:
            left_by_a_kill(server.url, server, state, 10, "secret_token=other")
        before = left(state)
        adopt(server.url, secret_token="mine")
        assert left(state) == before
        assert all(number >= 1_000_000 for number in numbers(server.events))
        assert b"other" not in b"".join(path.read_bytes() for path in (state / "outbox").iterdir())


def test_the_outbox_of_a_living_process_is_left_alone(state):
    with Server(answers=[503]) as server:
        with victim(server.url, state, 0, 10) as process:
            assert list(iter(process.stdout.readline, "end\n"))
            (path,) = (state / "outbox").iterdir()
            stamp = read(path.read_bytes()).stamp
            assert leftovers.find(str(state / "outbox"), stamp, set()) == []
            assert leftovers.evict_oldest(str(state / "outbox"), set()) is None
            process.kill()
        assert [found.waiting for found in leftovers.find(str(state / "outbox"), stamp, set())] == [10]


def test_one_adopter_at_a_time(state):
    outbox = state / "outbox"
    outbox.mkdir(parents=True)
    program = (
        "import sys; from apm_run.export.leftovers import Adoption\n"
        "with Adoption(sys.argv[1]) as granted: print(granted)"
    )
    env = environment(PYTHONPATH=str(ROOT / "src"))

    def other() -> str:
        command = [sys.executable, "-c", program, str(outbox)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    with leftovers.Adoption(str(outbox)) as granted:
        assert granted
        assert other() == "False\n"
    assert other() == "True\n"
    with leftovers.Adoption("/proc/x/outbox") as granted:
        assert not granted


def test_foreign_and_hostile_files_are_neither_sent_nor_fatal(state):
    with Server(answers=[503]) as server:
        left_by_a_kill(server.url, server, state, 50)
        folder = state / "outbox"
        (good,) = folder.iterdir()
        data = good.read_bytes()
        dice = random.Random(3)
        for index in range(30):
            broken = bytearray(data[: dice.randrange(len(data))])
            for _ in range(dice.randrange(4)):
                if broken:
                    broken[dice.randrange(min(len(broken), 5000))] ^= 0xFF
            (folder / f"7-{index}.seg").write_bytes(broken)
        (folder / "8-link.seg").symlink_to("/etc/passwd")
        os.mkfifo(folder / "8-fifo.seg")
        (folder / "8-dir.seg").mkdir()
        (folder / "8-empty.seg").write_bytes(b"")
        adopt(server.url)
        assert {number for number in numbers(server.events) if number < 1_000_000} == set(range(50))
        assert not good.exists()


def test_junk_is_removed_when_it_is_old(state, tmp_path):
    folder = state / "outbox"
    folder.mkdir(parents=True)
    for name in ("old", "new"):
        (folder / f"1-{name}.seg").write_bytes(b"junk")
    os.utime(folder / "1-old.seg", (1, 1))
    assert leftovers.find(str(folder), files.stamp_of_this_process(b"", b""), set()) == []
    assert left(state) == ["1-new.seg"]


def test_kills_at_random_lose_nothing_that_ended_10_ms_before(state):
    """design 5a: durable when put returns; here even what the victim only just had time to say."""
    dice = random.Random(5)
    with Server(answers=[202]) as server:
        expected = set()
        for round_ in range(12):
            with victim(server.url, state, round_ * 10_000, 9_000, wait="no") as process:
                time.sleep(dice.uniform(0.15, 0.4))
                process.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                for line in process.stdout:
                    number, _, at = line.partition(" ")
                    if at and float(at) < killed - 0.01:
                        expected.add(int(number))
        adopt(server.url)
        got = numbers(server.events)
        assert len(expected) > 100
        assert expected <= set(got)
        assert left(state) == []
