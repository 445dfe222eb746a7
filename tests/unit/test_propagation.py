"""Reading and writing W3C trace context and baggage; a number in a test's name is the section of spec.md."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_run.propagation import (
    TraceContext,
    baggage,
    incoming,
    members,
    parse,
    root_tracestate,
    traceparent,
    value,
)

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
        (["a=1, ,,b=2, c=3,"], "a=1,b=2, c=3"),
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


@pytest.mark.parametrize("value", [f"{GOOD},{GOOD}", f"cc-{TRACE}-{PARENT}-01-x,cc-{TRACE}-{PARENT}-01-x"])
def test_14_several_traceparents_joined_by_the_server_are_invalid(value):
    assert parse([value]) is None


def test_14_traceparent_wins_over_the_elastic_one():
    other = f"00-{'1' * 32}-{'2' * 16}-00"
    both = {"traceparent": [GOOD], "elastic-apm-traceparent": [other], "tracestate": ["es=s:0.5"]}
    assert incoming(both)[0].trace_id == TRACE
    legacy = incoming({"elastic-apm-traceparent": [other], "tracestate": ["es=s:0.5"]})[0]
    assert (legacy.trace_id, legacy.parent_id, legacy.sampled, legacy.sample_rate) == ("1" * 32, "2" * 16, False, 0.5)
    assert incoming({"traceparent": ["wrong"], "elastic-apm-traceparent": [other]})[0] is None
    assert incoming({"elastic-apm-traceparent": [other, other]})[0] is None


def test_14_tracestate_without_a_valid_traceparent_is_ignored():
    assert incoming({"tracestate": ["es=s:0.5"]}) == (None, {})
    assert incoming({"traceparent": ["00-wrong"], "tracestate": ["es=s:0.5"]})[0] is None


@pytest.mark.parametrize("state", ["a=\u00e4", "a=1\r\nx: y", "a=\x00", "a=\ud800"])
def test_14_a_tracestate_that_no_header_can_hold_is_not_forwarded(state):
    assert parse([GOOD], [state]).tracestate == ""


def test_14_a_huge_tracestate_loses_whole_entries_at_its_end():
    entries = [f"k{n}={'v' * 250}" for n in range(100)]
    kept = parse([GOOD], entries).tracestate
    assert 7900 < len(kept) <= 8192
    assert kept.split(",") == entries[: len(kept.split(","))]
    assert parse([GOOD], ["k=" + "v" * 9000]).tracestate == ""


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        (f"s:0.5;x:{'y' * 248}", 0.5),
        (f"s:0.5;x:{'y' * 249}", None),
        ("s:0.5;a=b", None),
        ("s:0.5:1", None),
        ("s:0_1", None),
        ("s:\u0661", None),
        ("s:1e-1", 0.1),
    ],
)
def test_14_our_own_entry_is_valid_or_says_nothing(values, rate):
    assert TraceContext(TRACE, PARENT, True, f"es={values}").sample_rate == rate


@pytest.mark.parametrize(
    ("state", "continued", "restarted", "external"),
    [
        ("es=s:0.5", False, True, False),
        ("a=b, es=s:0.5", False, True, False),
        ("", False, True, True),
        ("other=es=s:0.5", False, True, True),
        ("ees=s:0.5,esx=1", False, True, True),
    ],
)
def test_16_trace_continuation_strategy(state, continued, restarted, external):
    context = TraceContext(TRACE, PARENT, True, state)
    assert context.restarted("continue") is continued
    assert context.restarted("restart") is restarted
    assert context.restarted("restart_external") is external
    own = TraceContext(TRACE, PARENT, True, state, own=True)
    assert not any(map(own.restarted, ("continue", "restart", "restart_external")))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], {}),
        ([""], {}),
        ([" , ,"], {}),
        (["a=1"], {"a": "1"}),
        (["a=1", " b = 2 ,c=3"], {"a": "1", "b": "2", "c": "3"}),
        (["a=1;p;q=2 ; r = x"], {"a": "1;p;q=2;r = x"}),
        (["a="], {"a": ""}),
        (["a=%20b%2C"], {"a": "%20b%2C"}),
        (["a=b=c"], {"a": "b=c"}),
        (["a=1,a=2"], {"a": "2"}),
        (["A=1,a=2"], {"A": "1", "a": "2"}),
        # What is not valid costs itself only.
        (['a,b=2,=3,c d=4,e=f g,h="i",j=k\\l,m=\u00e4,\u00e4=n,o=p;,q=r;s t,u=v;w=x y,z=1'], {"b": "2", "z": "1"}),
        (["a=1\r\nb: c,d=4"], {"d": "4"}),
    ],
)
def test_15_baggage_is_parsed_and_validated(values, found):
    assert baggage(values) == found


def test_15_limits_of_baggage():
    assert len(baggage([",".join(f"k{n}=v" for n in range(64))])) == 64
    assert len(baggage([",".join(f"k{n}=v" for n in range(70))])) == 64
    assert baggage(["k=" + "v" * 8190]) == {"k": "v" * 8190}
    assert baggage(["k=" + "v" * 8191, "b=2"]) == {"b": "2"}
    assert len(members(baggage([",".join(f"{n:03}={'v' * 150}" for n in range(64))]))) <= 8192


def test_15_of_baggage_that_the_program_has_set_theirs_wins():
    ours = {"a": "1", "b": "2;p", "c": "3"}
    assert members(ours) == "a=1,b=2;p,c=3"
    assert members(ours, ["b=theirs"]) == "a=1,c=3"
    assert members(ours, ["b = theirs;x", "a=9"]) == "c=3"
    assert members(ours, ["B=theirs"]) == "a=1,b=2;p,c=3"
    assert members(ours, ["x=" + "v" * 8185]) == "a=1"
    assert members(ours, ["x=" + "v" * 9000]) == ""


@pytest.mark.parametrize(
    ("member", "shown"),
    [("a", "a"), ("a;p=1", "a"), ("%C3%A4%2c", "\u00e4,"), ("%ff", "\ufffd"), ("%", "%"), ("%4", "%4")],
)
def test_15_a_value_is_shown_decoded(member, shown):
    assert value(member) == shown


# Properties

HEADER = st.text() | st.text("0123456789abcdef-, \t;:=esg%", max_size=80)
KEYS = st.from_regex(r"\A[a-z0-9][a-z0-9_\-*/]{0,20}\Z").filter(lambda key: key != "es")
VALUES = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",="], min_size=1, max_size=40)
TOKENS = st.text([*"!#$%&'*+-.^_`|~09azAZ"], min_size=1, max_size=20)
OCTETS = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\'], max_size=40)


@given(st.lists(HEADER, max_size=3), st.lists(HEADER, max_size=3), st.lists(HEADER, max_size=3))
def test_any_text_is_read_or_refused_and_can_be_sent_on(parents, states, found):
    context, carried = incoming({"traceparent": parents, "tracestate": states, "baggage": found})
    sent = members(carried)
    assert sent.isascii()
    assert sent.isprintable() or "\t" in sent
    assert len(sent) <= 8192
    assert baggage([sent]) == carried
    for member in carried.values():
        value(member).encode()
    if context is not None:
        assert len(parents) == 1
        assert re.fullmatch(r"[0-9a-f]{32}", context.trace_id)
        assert re.fullmatch(r"[0-9a-f]{16}", context.parent_id)
        assert context.tracestate.isascii()
        assert "\n" not in context.tracestate
        assert context.sample_rate is None or 0 <= context.sample_rate <= 1


@given(
    st.integers(0, 254),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
    st.text("abc-_. ", max_size=9),
)
def test_a_well_formed_traceparent_is_read_as_it_is(version, trace, span, flags, suffix):
    text = f"{version:02x}-{trace:032x}-{span:016x}-{flags:02x}"
    found = parse([text])
    assert (int(found.trace_id, 16), int(found.parent_id, 16), found.sampled) == (trace, span, bool(flags & 1))
    assert (parse([f"{text}-{suffix}"]) is None) is (version == 0)
    again = parse([traceparent(found.trace_id, found.parent_id, found.sampled)])
    assert (again.trace_id, again.parent_id, again.sampled) == (found.trace_id, found.parent_id, found.sampled)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=33), st.integers(0, 33), st.integers(0, 10_000))
def test_tracestate_is_forwarded_in_order_whatever_stands_around_our_entry(entries, position, rate):
    pairs = [f"{key}={value}" for key, value in entries]
    pairs.insert(min(position, len(pairs)), root_tracestate(rate / 10_000))
    context = parse([GOOD], pairs)
    assert context.tracestate == ",".join(pairs)
    assert context.sample_rate == rate / 10_000


@given(st.dictionaries(TOKENS, st.tuples(OCTETS, st.lists(TOKENS, max_size=2)), max_size=20), st.data())
def test_valid_baggage_goes_round(found, data):
    text = {key: ";".join((first, *properties)) for key, (first, properties) in found.items()}
    assert baggage([f" {key}\t= {member} " for key, member in text.items()]) == text
    theirs = data.draw(st.lists(st.sampled_from(sorted(text)), unique=True)) if text else []
    merged = ",".join(
        filter(None, [*[f"{key}=theirs" for key in theirs], members(text, [f"{key}=theirs" for key in theirs])])
    )
    assert baggage([merged]) == {**text, **dict.fromkeys(theirs, "theirs")}
