from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.traced import environment
from tests.unit.export.support import METADATA as LINE
from tests.unit.export.support import ids, lines, outbox, segment, stamp, waiting

from apm_run.export import files
from apm_run.export import outbox as module
from apm_run.export.segment import EVENTS, FIRST_SIZE, METADATA, SIZE, Segment, read
from apm_run.export.stored import Stored


def on_disk(directory) -> list[int]:
    """The ids that an adopter would find, in order."""
    found = []
    for path in sorted(directory.glob("*.seg")):
        image = read(path.read_bytes())
        if image is not None:
            one = Stored(image, str(path), b"")
            assert one.pin()
            found += [(image.sequence, number) for payload, _ in one.lines() for number in ids(payload)]
    return [number for _, number in sorted(found)]


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    return tmp_path if request.param == "disk" else None


def test_put_is_durable_on_return(tmp_path):
    made = outbox(tmp_path)
    for number in range(5):
        made.put(lines(number), 1)
        assert on_disk(tmp_path) == list(range(number + 1))
    assert made.durable
    assert not outbox().durable or not outbox().segments


def test_the_memory_of_a_burst_is_given_back(tmp_path):
    made = outbox(tmp_path)
    for number in range(9000):
        made.put(lines(number, size=1000), 1)
    assert len(made.segments) > 8
    before = mapped(tmp_path)
    made.advance(9000)
    made.unpin()
    assert before > 8000
    assert mapped(tmp_path) < 200
    made.put(lines(1), 1)
    assert waiting(made) == on_disk(tmp_path) == [1]


def mapped(directory) -> int:
    """Kilobytes of the files there that this process has in memory."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            inside = bool(rest) and rest[-1].startswith(str(directory))
        elif inside and name == "Rss:":
            found += int(rest[0])
    return found


def test_what_was_put_comes_out_in_order_and_once(place):
    made = outbox(place)
    for number in range(0, 3000, 3):
        made.put(lines(number, number + 1, number + 2, size=700), 3)
    assert len(made.segments) == (3 if place is None else 4)
    assert made.waiting == 3000
    for step in (1, 999, 0, 1000, 1000):
        made.advance(step)
        made.unpin()
    assert (made.waiting, made.backlog) == (0, 0)
    assert waiting(made) == []
    made.put(lines(7), 1)
    assert waiting(made) == [7]
    assert made.durable == (place is not None)


def test_a_quiet_process_stays_on_its_first_pages(tmp_path):
    made = outbox(tmp_path)
    for number in range(5000):
        made.put(lines(number), 1)
        made.advance(1)
    assert [one.tail < 512 for one in made.segments] == [True]
    assert len(list(tmp_path.iterdir())) == 1


def test_many_processes_of_little_traffic_find_room(tmp_path):
    parent = stamp(pid=os.getppid(), start=files.start_time(os.getppid()))
    crowd = [outbox(tmp_path, cap=SIZE, stamp=parent) for _ in range(17)]
    for made in crowd:
        made.put(lines(1, 2), 2)
    assert [made.durable for made in crowd] == [True] * 16 + [False]
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {FIRST_SIZE}
    crowd[0].advance(2)
    crowd[0].close()
    crowd[-1].advance(2)
    crowd[-1].put(lines(3), 1)
    assert crowd[-1].durable, "as soon as there is room again"


def test_what_is_too_large_for_the_first_segment_goes_into_the_next(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(1, size=FIRST_SIZE), 1)
    assert on_disk(tmp_path) == [1]
    assert made.dropped == {}
    made.put(lines(2), 1)
    made.advance(2)
    made.unpin()
    assert [one.size for one in made.segments] == [SIZE]
    assert len(list(tmp_path.iterdir())) == 1


def test_metadata_that_is_large_for_the_first_segment(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(1), 1)
    made.set_metadata(b"m" * FIRST_SIZE)
    assert {read(path.read_bytes()).metadata for path in tmp_path.iterdir()} == {LINE, b"m" * FIRST_SIZE}
    made.advance(1)
    made.put(lines(2), 1)
    assert [one.size for one in made.segments] == [SIZE]
    other = outbox(tmp_path)
    other.metadata = b"m" * FIRST_SIZE
    other.put(lines(1), 1)
    assert [one.size for one in other.segments] == [SIZE]


def test_drained_segments_are_used_again(tmp_path):
    made = outbox(tmp_path)
    for number in range(3000):
        made.put(lines(number, size=1000), 1)
    made.advance(3000)
    before = set(tmp_path.iterdir())
    assert len(before) == 3, "the first, small one is gone"
    for number in range(2900):
        made.put(lines(number, size=1000), 1)
    assert set(tmp_path.iterdir()) == before
    assert waiting(made) == list(range(2900))
    assert on_disk(tmp_path) == list(range(2900))


def test_each_segment_begins_with_the_metadata_known_by_then(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(1), 1)
    made.set_metadata(b"real\n")
    (path,) = tmp_path.iterdir()
    assert read(path.read_bytes()).metadata == b"real\n"
    made.put(lines(2, size=SIZE - 300), 1)
    made.put(lines(3, size=2000), 1)
    assert {read(path.read_bytes()).metadata for path in tmp_path.iterdir()} == {b"real\n"}
    assert waiting(made) == [1, 2, 3]


def test_metadata_that_no_longer_fits_waits_for_the_next_segment(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(1, size=FIRST_SIZE), 1)
    made.advance(0)
    (active,) = made.segments
    made.put(lines(2, size=active.size - active.tail - 70), 1)
    made.set_metadata(b"m" * 100)
    assert made.segments == [active]
    made.put(lines(3), 1)
    assert read(bytes(made.segments[1].buffer)).metadata == b"m" * 100
    assert made.dropped == {}


def test_close_leaves_only_what_waits(tmp_path):
    made = outbox(tmp_path)
    for number in range(3000):
        made.put(lines(number, size=1000), 1)
    made.advance(1500)
    assert len(made._free) == 1
    before = len(list(tmp_path.iterdir()))
    made.close()
    assert on_disk(tmp_path) == list(range(1500, 3000))
    assert len(list(tmp_path.iterdir())) == before - 1
    made.advance(1500)
    made.close()
    assert list(tmp_path.iterdir()) == []
    made.put(lines(5), 1)
    assert on_disk(tmp_path) == [5]


def test_memory_has_nothing_to_leave():
    made = outbox()
    made.put(lines(1), 1)
    made.advance(1)
    made.close()
    assert made.segments == []


def test_the_oldest_are_evicted_at_the_cap_and_counted(place):
    made = outbox(place, cap=2 * SIZE)
    for number in range(5000):
        made.put(lines(number, size=1000), 1)
    left = waiting(made)
    assert left == list(range(left[0], 5000))
    assert made.dropped == {"evicted": left[0]}
    assert made.waiting == len(left)
    in_files = [one.size for one in made.segments if one.path is not None]
    assert sum(in_files) == (0 if place is None else 2 * SIZE)
    assert len(made.segments) - len(in_files) == 2
    made.advance(len(left))
    assert (made.waiting, made.backlog) == (0, 0)


def test_what_is_in_a_request_is_not_evicted(place):
    made = outbox(place, cap=2 * SIZE)
    for number in range(1900):
        made.put(lines(number, size=1000), 1)
    batch = list(made.batch())
    for number in range(1900, 8000):
        made.put(lines(number, size=1000), 1)
    made.advance(sum(events for _, events in batch))
    made.unpin()
    left = waiting(made)
    # What followed in the segment of the request stayed too.
    assert made.dropped == {"evicted": 6100 - len(left)}
    assert (left[0], left[-1]) == (1900, 7999)
    assert left == sorted(left)


def test_the_newest_take_the_files_when_the_disk_is_full(tmp_path, monkeypatch):
    made = outbox(tmp_path)
    for number in range(1500):
        made.put(lines(number, size=1000), 1)
    monkeypatch.setattr(files, "create", lambda *_: None)
    for number in range(1500, 4000):
        made.put(lines(number, size=1000), 1)
    assert waiting(made) == list(range(4000)), "the oldest wait in memory"
    assert made.dropped == {}
    assert [one.path is not None for one in made.segments][-2:] == [True, True]
    assert on_disk(tmp_path)[-1] == 3999
    for number in range(4000, 12_000):
        made.put(lines(number, size=1000), 1)
    assert on_disk(tmp_path)[-1] == 11_999
    left = waiting(made)
    assert left == list(range(left[0], 12_000))
    assert made.dropped == {"evicted": left[0]}
    made.advance(len(left))
    made.unpin()
    made.put(lines(1), 1)
    assert made.durable


def test_without_any_file_the_same_bytes_wait_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "create", lambda *_: None)
    made = outbox(tmp_path)
    for number in range(10_000):
        made.put(lines(number, size=1000), 1)
    assert len(made.segments) == 8
    assert not made.durable
    left = waiting(made)
    assert left[-1] == 9999
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_dead_processes_go_before_our_own(tmp_path):
    dead = stamp(start=1)
    for index in range(3):
        old = Segment(bytearray(SIZE), None, dead)
        old.reset(1)
        old.append(EVENTS, lines(1, 2), 2)
        path = tmp_path / f"9-{index}.seg"
        path.write_bytes(old.buffer)
        os.utime(path, (index, index))
    made = outbox(tmp_path, cap=3 * SIZE, stamp=stamp())
    made.stamp.pid = os.getpid()
    # Another's pid, or they would pass for living.
    for number in range(1000):
        made.put(lines(number, size=1000), 1)
    assert sorted(path.name for path in tmp_path.glob("9-*")) == ["9-2.seg"]
    assert made.dropped == {"evicted": 4}
    for number in range(1000, 9000):
        made.put(lines(number, size=1000), 1)
    assert list(tmp_path.glob("9-*")) == []
    assert made.dropped["evicted"] > 6


def test_packed_segments_make_room_and_come_out_in_order(place):
    made = outbox(place)
    for number in range(5000):
        made.put(lines(number, size=1000), 1)
    made.advance(10)
    before = len(made.segments)
    assert made.squeeze()
    while made.squeeze():
        pass
    assert [type(one) for one in made.segments] == [Stored] * (before - 1) + [Segment]
    assert sum(one.cost for one in made.segments) < 2 * SIZE
    assert len(made._free) == before - (1 if place is None else 2)
    if place is not None:
        assert on_disk(place) == list(range(10, 5000))
    assert waiting(made) == list(range(10, 5000))
    count = sum(events for _, events in made.batch())
    made.advance(count - 1)
    made.unpin()
    assert waiting(made) == [4999]
    made.advance(1)
    made.close()
    assert place is None or list(place.iterdir()) == []


def test_the_segment_of_a_request_is_not_packed():
    made = outbox()
    for number in range(1500):
        made.put(lines(number, size=1000), 1)
    batch = made.batch()
    next(batch)
    assert not made.squeeze()
    batch.close()
    made.unpin()
    assert made.squeeze()


def test_packing_on_a_full_disk_leaves_things_as_they_are(tmp_path, monkeypatch):
    made = outbox(tmp_path)
    for number in range(2000):
        made.put(lines(number, size=1000), 1)
    monkeypatch.setattr(files, "write", lambda *_: False)
    assert not made.squeeze()
    assert waiting(made) == list(range(2000))


def test_packed_segments_are_evicted_until_there_is_room(place):
    made = outbox(place, cap=3 * SIZE)
    number = 0
    while not made.dropped.get("evicted"):
        # Not very compressible.
        made.put(b'{"transaction":{"id":%d,"pad":"%s"}}\n' % (number, os.urandom(500).hex().encode()), 1)
        number += 1
        if len(made.segments) > 1 and type(made.segments[-2]) is Segment:
            made.squeeze()
            made._free.clear()
        assert number < 100_000
    assert waiting(made)[-1] == number - 1
    assert made.waiting == number - made.dropped["evicted"]


def test_a_packed_file_that_was_removed_is_counted_as_lost(tmp_path):
    made = outbox(tmp_path)
    for number in range(3000):
        made.put(lines(number, size=1000), 1)
    made.squeeze()
    lost = made.segments[0].waiting
    os.unlink(made.segments[0].path)
    assert waiting(made) == list(range(lost, 3000))
    assert made.dropped == {"lost": lost}
    assert made.waiting == 3000 - lost


def test_a_payload_larger_than_a_segment_is_divided_by_lines():
    made = outbox()
    made.put(lines(*range(10), size=250_000), 10)
    made.put(lines(10), 1)
    assert waiting(made) == list(range(11))
    assert made.dropped == {}


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (lines(1, size=SIZE), 1),
        (b"x" * SIZE, 2),
        (lines(1, size=SIZE) + b"rest", 1),
    ],
)
def test_a_line_larger_than_a_segment_is_dropped(payload, events):
    made = outbox()
    made.put(payload, events)
    made.put(lines(2), 1)
    assert waiting(made) == [2]
    assert made.dropped == {"too large": events}


def test_an_oversized_line_among_others_is_dropped_alone():
    made = outbox()
    made.put(lines(1) + lines(2, size=SIZE) + lines(3) + lines(4), 4)
    assert waiting(made) == [1, 3, 4]
    assert made.dropped == {"too large": 1}


def test_reentrant_puts_are_taken_in(tmp_path):
    """A signal handler that puts, at every point of a put."""
    made = outbox(tmp_path)
    seen = []

    def handler(*_):
        made.put(lines(1_000_000 + len(seen)), 1)
        seen.append(len(seen))

    before = signal.signal(signal.SIGVTALRM, handler)
    number = 0
    try:
        for index in range(25):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + index * 1e-6)
            while len(seen) <= index:
                made.put(lines(number), 1)
                number += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    got = waiting(made)
    assert sorted(n for n in got if n < 1_000_000) == list(range(number))
    assert len(got) == number + len(seen)
    assert sorted(on_disk(tmp_path)) == sorted(got)


INTERRUPTED = """
import signal
from tests.unit.export.support import lines, outbox, waiting
class Stop(BaseException): pass
def handler(*_): raise Stop
made = outbox()
signal.signal(signal.SIGVTALRM, handler)
got, put, stopped = [], 0, 0
while stopped < 50:
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001 + stopped * 1e-5)
        while True:
            made.put(lines(put), 1)
            put += 1
    except Stop:
        stopped += 1
        put += 1
        got += waiting(made)
        made.advance(made.waiting)
# The interrupted ones may have begun or not; all others are there.
assert made.dropped == {}
assert len(set(range(put)) - set(got)) <= stopped
assert len(got) - len(set(got)) <= stopped
"""


@pytest.mark.skipif(sys.version_info < (3, 10), reason="3.9 may raise between the end of a with block and its exit")
def test_exceptions_of_signal_handlers_lose_nothing():
    """A handler that raises in the middle of a put, as KeyboardInterrupt does.

    In a process of its own: coverage's locks do not survive it.
    """
    root = Path(__file__).resolve().parents[3]
    env = environment(PYTHONPATH=f"{root / 'src'}:{root}")
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_threads_put_at_once():
    made = outbox()

    def work(index):
        for number in range(2000):
            made.put(lines(index * 10_000 + number), 1)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = waiting(made)
    assert sorted(got) == sorted(index * 10_000 + number for index in range(4) for number in range(2000))
    for index in range(4):
        own = [number for number in got if number // 10_000 == index]
        assert own == sorted(own)
    assert made.waiting == 8000


def test_while_another_holds_the_lock_puts_pile_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(module, "PENDING_CAP", 10)
    made = outbox()
    made._lock.acquire()
    for number in range(20):
        made.put(lines(number), 1)
    assert not made.durable
    assert made.waiting == 11
    assert made.dropped == {"queue": 9}
    made._lock.release()
    made.settle()
    assert waiting(made) == list(range(11))


def test_touch_moves_the_time_of_the_files(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(1), 1)
    (path,) = tmp_path.iterdir()
    os.utime(path, (1, 1))
    made.touch()
    assert path.stat().st_mtime > 1000
    memory = outbox()
    memory.put(lines(1), 1)
    memory.touch()
    path.unlink()
    made.touch()
    assert not path.exists()


def test_the_metadata_of_a_fresh_outbox_is_the_provisional_line():
    made = outbox()
    made.put(lines(1), 1)
    assert read(bytes(made.segments[0].buffer)).metadata == LINE
    assert segment().append(METADATA, LINE, 0)


def test_several_small_ones_go_when_one_does_not_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MEMORY_CAP", 0)
    made = outbox(tmp_path)
    for number in range(5500):
        made.put(lines(number, size=1000), 1)
    while made.squeeze():
        pass
    for one in made._free:
        os.unlink(one.path)
    made._free.clear()
    small = made.segments[0].cost
    made.cap = files.usage(str(tmp_path)) + SIZE - small - 1
    count = len(made.segments)
    made.put(lines(5500, size=SIZE - 2000), 1)
    assert len(made.segments) == count - 2 + 1
    left = waiting(made)
    assert made.dropped == {"evicted": left[0]}
    assert left == list(range(left[0], 5501))


def test_more_done_than_there_is_changes_nothing_else():
    made = outbox()
    made.put(lines(1), 1)
    made.advance(1)
    made.advance(0)
    assert waiting(made) == []
    made.segments.clear()
    made.advance(0)
    assert made.waiting == 0


def test_it_says_whether_a_thread_is_inside():
    made = outbox(None)
    assert not made.busy
    with made._lock:
        assert made.busy
