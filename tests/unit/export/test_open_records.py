"""Open records: what the adopter of a dead process's outbox finds of transactions that never ended."""

from __future__ import annotations

import json

import pytest
from tests.unit.export.support import ids, lines, outbox, waiting

from apm_run.export import leftovers
from apm_run.export.open_records import CAP, OpenRecords
from apm_run.export.segment import SIZE, read
from apm_run.export.stored import Stored


def line(id, name="x"):
    return b'{"transaction":{"id":"%016x","name":"%s"' % (id, name.encode())


def end(milliseconds):
    return b',"duration":%.3f}}\n' % milliseconds


def opened(made, id, milliseconds=1500, name="x"):
    made.open(f"{id:016x}", end(milliseconds), line(id, name))


def images(directory):
    found = [(read(path.read_bytes()), str(path), path.read_bytes()) for path in directory.glob("*.seg")]
    return sorted((one for one in found if one[0] is not None), key=lambda one: one[0].sequence)


def left(directory):
    """What an adopter would send: the transactions, oldest first."""
    found = []
    for group in leftovers._group(images(directory)):
        for payload, events in group.batch():
            assert payload.count(b"\n") == events
            found += [json.loads(text)["transaction"] for text in payload.splitlines()]
    return found


def numbers(found):
    return [(int(str(event["id"]), 16), event.get("duration")) for event in found]


def test_it_ends_as_it_was_last_heard_of(tmp_path):
    made = outbox(tmp_path)
    opened(made, 1, 1100)
    opened(made, 2, 1200)
    assert numbers(left(tmp_path)) == [(1, 1100), (2, 1200)]
    made.open(f"{1:016x}", end(1300), b"")
    assert numbers(left(tmp_path)) == [(1, 1300), (2, 1200)]
    made.gone(f"{2:016x}")
    assert numbers(left(tmp_path)) == [(1, 1300)]
    assert made.waiting == 0


def test_a_transaction_that_is_put_ends_it(tmp_path):
    made = outbox(tmp_path)
    opened(made, 1)
    opened(made, 2)
    ended = line(2, "ended") + end(7)
    made.put(ended + lines(5), 2)
    assert numbers(left(tmp_path)) == [(2, 7), (5, None), (1, 1500)]


def test_what_was_never_open_leaves_nothing(tmp_path):
    made = outbox(tmp_path)
    made.gone("0" * 16)
    made.open("1" * 16, end(5), b"")
    assert not made.segments
    assert list(tmp_path.iterdir()) == []


def test_it_outlives_the_segment_that_it_was_written_in(tmp_path):
    made = outbox(tmp_path)
    opened(made, 1)
    made.put(lines(5), 1)
    made.advance(1)  # the active segment starts anew
    assert numbers(left(tmp_path)) == [(1, 1500)]
    for number in range(2000):
        made.put(lines(number, size=700), 1)
    assert len(made.segments) > 1
    opened(made, 2, 9)
    made.advance(2000)
    assert numbers(left(tmp_path)) == [(1, 1500), (2, 9)]
    assert made.backlog == 0


def test_only_the_newest_segment_counts(tmp_path):
    """What ended later may stand in a segment that was used again since."""
    made = outbox(tmp_path)
    opened(made, 1)
    while len(made.segments) == 1:
        made.put(lines(7, size=1000), 1)
    made.put(line(1) + end(3), 1)
    assert [bool(image.open) for image, _, _ in images(tmp_path)] == [True, False]
    assert numbers(left(tmp_path)).count((1, 3)) == 1
    assert (1, 1500) not in numbers(left(tmp_path))


def test_a_segment_full_of_them_starts_anew(tmp_path):
    made = outbox(tmp_path)
    for number in range(2 * SIZE // 100):
        opened(made, 1, number)
    assert len(made.segments) == 1
    assert len(list(tmp_path.glob("*.seg"))) == 1
    assert made.backlog <= SIZE
    assert numbers(left(tmp_path)) == [(1, number)]
    made.put(lines(5), 1)
    assert waiting(made) == [5]
    made.advance(1)
    assert made.backlog == 0


def test_a_full_segment_with_events_is_followed_by_another(tmp_path):
    made = outbox(tmp_path)
    made.put(lines(5), 1)
    number = 0
    while len(made.segments) == 1:
        number += 1
        opened(made, 1, number)
    assert numbers(left(tmp_path)) == [(5, None), (1, number)]


def test_they_have_a_bound(tmp_path):
    made = outbox(tmp_path)
    for number in range(1, 5):
        opened(made, number, name="n" * (CAP // 3))
    assert [number for number, _ in numbers(left(tmp_path))] == [1, 2]
    opened(made, 1, 7, name="n" * CAP)  # too much: as before, but for its end
    assert numbers(left(tmp_path)) == [(1, 7), (2, 1500)]
    opened(made, 1, 8, name="short")
    opened(made, 3, name="short")
    assert [event["name"][:5] for event in left(tmp_path)] == ["short", "nnnnn", "short"]


def test_close_keeps_the_file_that_tells_of_them(tmp_path):
    """Before an exec: the program that comes adopts it."""
    made = outbox(tmp_path)
    opened(made, 1)
    made.close()
    assert numbers(left(tmp_path)) == [(1, 1500)]
    made.put(line(1) + end(3), 1)
    made.advance(1)
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_sent_of_them_is_not_sent_again(tmp_path):
    """The adopter is killed when the server has taken some."""
    made = outbox(tmp_path)
    made.put(lines(5), 1)
    for number in range(1, 4):
        opened(made, number)
    (group,) = leftovers._group(images(tmp_path))
    assert group.waiting == 4
    assert [ids(payload) if b"pad" in payload else len(payload.splitlines()) for payload, _ in group.batch()] == [
        [5],
        3,
    ]
    group.advance(3)
    group.unpin()
    (again,) = leftovers._group(images(tmp_path))
    assert again.waiting == 1
    assert numbers(left(tmp_path)) == [(3, 1500)]
    list(again.batch())
    again.advance(1)
    assert list(tmp_path.glob("*.seg")) == []


def test_a_file_that_ends_in_the_middle(tmp_path):
    """A record whose padding is cut off is a whole one."""
    made = outbox(tmp_path)
    opened(made, 1, name="abc")
    (path,) = tmp_path.glob("*.seg")
    data = path.read_bytes()
    at = data.rindex(end(1500)) if data.count(end(1500)) else -1
    assert at > 0
    whole = data.index(b'"name":"abc"') + len(b'"name":"abc"')
    path.write_bytes(data[:whole])
    assert len(data[:whole]) % 8
    assert numbers(left(tmp_path)) == [(1, 1500)]


@pytest.mark.parametrize("record", [b"", b"\0" * 40, b"x" * 200, b" " * 96])
def test_a_record_that_is_none_of_ours_harms_nothing(record):
    found = OpenRecords()
    found.note(record)
    found.ended(record)
    assert found.events()[1] in (0, 1)


def test_a_packed_segment_tells_of_them_too(tmp_path):
    from apm_run.export.stored import pack

    made = outbox(tmp_path)
    opened(made, 1)
    made.put(lines(5), 1)
    packed = pack(made.segments[0], None)
    image = read(packed._data)
    one = Stored(image, None, packed._data, newest=True)
    assert one.pin()
    assert [events for _, events in one.lines()] == [1, 1]


def test_what_is_put_is_open_no_more_wherever_it_stands(tmp_path):
    """A span that waited to become part of a longer one goes out with others."""
    made = outbox(tmp_path)
    made.open("a" * 16, b"}}\n", b'{"span":{"id":"%s","name":"x"' % (b"a" * 16))
    opened(made, 1)
    assert [
        json.loads(text)
        for payload, _ in next(leftovers._group(images(tmp_path))).batch()
        for text in payload.splitlines()
    ]
    made.put(lines(5) + b'{"span":{"id":"%s","name":"x"}}\n' % (b"a" * 16), 2)
    ((image, _, _),) = images(tmp_path)
    assert image.open.events() == (line(1) + end(1500), 1)
