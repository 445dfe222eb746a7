"""Reading and writing W3C trace context (spec 14)."""

from __future__ import annotations

from random import Random

import pytest

from apm_run.propagation import parse, root_tracestate, traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


def test_good():
    found = parse([GOOD])
    assert (found.trace_id, found.parent_id, found.sampled, found.tracestate) == (TRACE, PARENT, True, "")


@pytest.mark.parametrize("value", [f" {GOOD}", f"{GOOD}\t", f"\t {GOOD} \t"])
def test_surrounding_blanks_do_not_matter(value):
    assert parse([value]).trace_id == TRACE


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_flags(flags, sampled):
    assert parse([f"00-{TRACE}-{PARENT}-{flags}"]).sampled is sampled


@pytest.mark.parametrize("suffix", ["", "-", "-more", "-what-the-future-will-be-like"])
def test_later_versions_may_say_more(suffix):
    assert parse([f"01-{TRACE}-{PARENT}-01{suffix}"]).parent_id == PARENT
    assert parse([f"fe-{TRACE}-{PARENT}-01{suffix}"]).parent_id == PARENT


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "-",
        "---",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-001",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-more",
        f"01-{TRACE}-{PARENT}-01.more",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"000-{TRACE}-{PARENT}-01",
        f"0x-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT.upper()}-01",
        f"00-{TRACE}-{PARENT}-0A",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{'g' * 32}-{PARENT}-01",
        f"00-{chr(0x661) * 32}-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
        f"\n{GOOD}",
        f"\xa0{GOOD}",
    ],
)
def test_wrong(value):
    assert parse([value]) is None
    assert parse([value], ["es=s:0.5"]) is None


def test_none_or_more_than_one_is_none():
    assert parse([]) is None
    assert parse([GOOD, GOOD]) is None
    assert parse(iter([GOOD])).trace_id == TRACE


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ([], ""),
        ([""], ""),
        ([" ", "\t"], ""),
        ([",", " , "], ""),
        (["a=1"], "a=1"),
        ([" a=1 "], "a=1"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1", "", "b=2,c=3"], "a=1,b=2,c=3"),
        ([",".join(f"k{n}=v" for n in range(33))], ",".join(f"k{n}=v" for n in range(33))),
        (["anything goes", "=;:"], "anything goes,=;:"),
    ],
)
def test_tracestate_is_joined_and_otherwise_left_alone(values, joined):
    assert parse([GOOD], values).tracestate == joined


@pytest.mark.parametrize(
    ("state", "rate"),
    [
        ("", None),
        ("es=s:0.5", 0.5),
        ("es=s:1", 1.0),
        ("es=s:0", 0.0),
        ("es=s:0.0001", 0.0001),
        ("other=1, es=s:0.25 ,more=2", 0.25),
        ("es=a:b;s:0.5;c:d", 0.5),
        ("es=", None),
        ("es=s", None),
        ("es=s:", None),
        ("es=s:wrong", None),
        ("es=s:nan", None),
        ("es=s:inf", None),
        ("es=s:-0.1", None),
        ("es=s:1.1", None),
        ("es=a:0.5", None),
        ("ess=s:0.5", None),
        ("other=es=s:0.5", None),
        ("es=a:b,es=s:0.5", 0.5),
    ],
)
def test_sample_rate(state, rate):
    assert parse([GOOD], [state]).sample_rate == rate


def test_what_is_written_can_be_read():
    random = Random(1)
    for _ in range(200):
        trace, span = f"{random.getrandbits(128) or 1:032x}", f"{random.getrandbits(64) or 1:016x}"
        sampled = random.random() < 0.5
        rate = round(random.random(), 4)
        found = parse([traceparent(trace, span, sampled)], [root_tracestate(rate)])
        assert (found.trace_id, found.parent_id, found.sampled, found.sample_rate) == (trace, span, sampled, rate)


@pytest.mark.parametrize(
    ("rate", "written"),
    [(1.0, "es=s:1"), (0, "es=s:0"), (0.5, "es=s:0.5"), (0.0001, "es=s:0.0001"), (0.1235, "es=s:0.1235")],
)
def test_root_tracestate(rate, written):
    assert root_tracestate(rate) == written


def test_any_text_is_read_or_refused():
    random = Random(2)
    pieces = ["00", "ff", TRACE, PARENT, "-", "--", "01", " ", "\0", "ä", "\ud800", "0" * 16]
    for _ in range(3000):
        value = "".join(random.choice(pieces) for _ in range(random.randrange(9)))
        found = parse([value], [value])
        assert found is None or (len(found.trace_id), len(found.parent_id)) == (32, 16)
        if found is not None:
            assert found.sample_rate is None
