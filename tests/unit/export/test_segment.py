from __future__ import annotations

import random
import zlib

import pytest
from tests.unit.export.support import ids, lines, segment, stamp

from apm_run.export.segment import EVENTS, MAGIC, METADATA, OPEN, PACKED, Segment, plain, read, read_header, unpack
from apm_run.export.stored import Stored, pack


def stored(data: bytes) -> Stored | None:
    image = read(data)
    return None if image is None else Stored(image, None, data)


def found(data: bytes) -> list[int]:
    """The ids of the waiting events in those bytes, as an adopter sees them."""
    one = stored(data)
    if one is None or not one.pin():
        return []
    return [number for payload, _ in one.lines() for number in ids(payload)]


def test_the_header_says_whose_it_is_and_nothing_secret():
    made = segment()
    image = read_header(bytes(made.buffer))
    mine = stamp()
    for name in ("pid", "start", "namespace", "boot", "credentials", "destination"):
        assert getattr(image.stamp, name) == getattr(mine, name)
    assert (image.generation, image.sequence, image.flags, image.first) == (1, 1, 0, made.first)
    assert made.first % 8 == 0


def test_records_come_back_in_order_with_the_last_metadata():
    made = segment()
    assert made.append(METADATA, b"one\n", 0)
    assert made.append(EVENTS, lines(1, 2), 2)
    assert made.append(METADATA, b"two\n", 0)
    assert made.append(OPEN, b"open\n", 1)
    assert made.append(99, b"of a later version", 5)
    assert made.append(EVENTS, lines(3), 1)
    image = read(bytes(made.buffer))
    assert image.metadata == b"two\n"
    assert image.waiting == made.waiting - 6 == 3
    assert found(bytes(made.buffer)) == [1, 2, 3]


def test_a_record_that_does_not_fit_is_refused():
    made = segment(512)
    assert not made.append(EVENTS, b"x" * 512, 1)
    assert made.waiting == 0
    assert made.append(EVENTS, b"x" * (512 - made.tail - 16), 1)
    assert made.tail >= 512
    assert not made.append(EVENTS, b"", 1)
    assert read(bytes(made.buffer)).waiting == 1


def test_the_cursor_moves_over_records_and_inside_them():
    made = segment()
    made.append(METADATA, b"m\n", 0)
    made.append(EVENTS, lines(1, 2, 3), 3)
    made.append(METADATA, b"m\n", 0)
    made.append(EVENTS, lines(4, 5), 2)
    for advance, rest, left in (
        (0, 0, [1, 2, 3, 4, 5]),
        (2, 0, [3, 4, 5]),
        (0, 0, [3, 4, 5]),
        (1, 0, [4, 5]),
        (1, 0, [5]),
        (3, 2, []),
    ):
        assert made.advance(advance) == rest
        assert made.waiting == len(left)
        assert found(bytes(made.buffer)) == left
    assert made.offset == made.tail


def test_what_an_earlier_use_left_behind_is_never_read():
    made = segment()
    for number in range(10):
        made.append(EVENTS, lines(number), 1)
    made.reset(2)
    made.append(EVENTS, lines(100), 1)
    # The old records lie behind it, at the very places where new ones would.
    assert lines(1) in bytes(made.buffer)
    assert found(bytes(made.buffer)) == [100]


def test_drained_means_nothing_waits():
    made = segment()
    made.append(EVENTS, lines(1, 2), 2)
    made.advance(1)
    made.drain()
    assert made.waiting == 0
    assert found(bytes(made.buffer)) == []


def full_segment() -> Segment:
    made = segment(8192)
    made.append(METADATA, b'{"metadata":{}}\n', 0)
    number = 0
    while made.append(EVENTS, lines(number, number + 1, size=50), 2):
        number += 2
    return made


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_anywhere_only_the_tail_is_lost(packed):
    made = full_segment()
    data = b"".join(made.packed()) if packed else bytes(made.buffer)
    whole = found(data)
    assert len(whole) > 50
    lengths = []
    for size in range(len(data)):
        got = found(data[:size])
        assert got == whole[: len(got)]
        lengths.append(len(got))
    assert lengths == sorted(lengths)
    assert lengths[-1] >= len(whole) - 2


def test_corrupted_anywhere_nothing_wrong_comes_out_and_nothing_before_is_lost():
    made = full_segment()
    data = bytes(made.buffer)
    whole = found(data)
    dice = random.Random(7)
    for _ in range(3000):
        place = dice.randrange(made.first, len(data))
        broken = bytearray(data)
        broken[place] ^= 1 << dice.randrange(8)
        got = found(bytes(broken))
        assert got == whole[: len(got)]
        behind = sum(2 for *_, offset, after in made.records() if after <= place and offset > made.first)
        assert len(got) >= behind


def test_a_broken_header_or_a_hostile_file_is_none_of_ours():
    made = full_segment()
    data = bytes(made.buffer)
    dice = random.Random(11)
    for place in [*range(16), *range(24, made.first)]:
        broken = bytearray(data)
        broken[place] ^= 1 << dice.randrange(8)
        assert read(bytes(broken)) is None
    for _ in range(2000):
        rubbish = MAGIC * dice.randrange(2) + dice.randbytes(dice.randrange(300))
        assert read(rubbish) is None
    assert read(b"") is None


def test_a_cursor_that_points_anywhere_only_hides_or_shows_records():
    data = bytes(full_segment().buffer)
    whole = found(data)
    dice = random.Random(13)
    for _ in range(500):
        broken = bytearray(data)
        broken[16:24] = dice.randbytes(8) if dice.randrange(2) else dice.randrange(8192).to_bytes(8, "little")
        got = found(bytes(broken))
        assert got == whole[len(whole) - len(got) :]
    # More lines done than the record has: the record is done.
    broken = bytearray(data)
    first = read(data).offset
    broken[16:24] = (first | 77 << 32).to_bytes(8, "little")
    assert read(bytes(broken)).line == 0, "the first record is metadata"


def test_a_packed_segment_says_the_same_in_less_room():
    made = segment(1 << 16)
    made.append(METADATA, b'{"metadata":{}}\n', 0)
    number = 0
    while made.append(EVENTS, lines(number, number + 1, size=500), 2):
        number += 2
    made.advance(3)
    packed = pack(made, None)
    assert packed.cost < made.cost / 8
    assert packed.waiting == made.waiting == number - 3
    assert packed.pin()
    assert [n for payload, _ in packed.lines() for n in ids(payload)] == list(range(3, number))
    assert packed.advance(5) == 0
    packed.unpin()
    assert packed.buffer == b""
    assert packed.pin()
    assert next(packed.lines())[1] == 2
    assert packed.waiting == number - 8
    image = read(b"".join(made.packed()))
    assert image.flags == PACKED
    assert image.metadata == b'{"metadata":{}}\n'


def test_a_segment_that_cannot_be_read_back_is_not_packed():
    made = segment()
    made.append(EVENTS, lines(1), 1)
    made.buffer[made.tail - 12] ^= 1
    assert pack(made, None) is None


def test_rubbish_behind_a_packed_header_is_nothing():
    head, body = full_segment().packed()
    assert unpack(b"rubbish") == b""
    image = read(head + b"rubbish")
    assert (image.waiting, plain(head + b"rubbish", image)) == (0, head)
    assert len(unpack(zlib.compress(bytes(50 << 20)))) == 2 << 20
    assert found(head + body[:-5]) == found(head + body)[: len(found(head + body[:-5]))]


def test_a_stored_file_that_is_gone_or_another_is_not_read(tmp_path):
    made = full_segment()
    path = tmp_path / "1-x.seg"
    path.write_bytes(made.buffer)
    one = Stored(read(bytes(made.buffer)), str(path), b"")
    assert one.pin()
    assert one.advance(2) == 0
    assert read(path.read_bytes()).waiting == made.waiting - 2
    other = segment(8192)
    other.reset(9)
    path.write_bytes(other.buffer)
    assert not one.pin()
    path.write_bytes(bytes(made.buffer)[:500])
    assert not one.pin()
    path.unlink()
    assert not one.pin()
    one._store(b"12345678")
    assert not path.exists()
