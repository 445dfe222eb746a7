from __future__ import annotations

import gzip
import json
import zlib

import pytest

from apm_run.intake import decode
from apm_run.intake.decode import Stream, StreamError
from apm_run.intake.limits import MAX_EVENT_SIZE

METADATA = {"service": {"name": "shop", "agent": {"name": "python", "version": "1"}}}
SPAN = {"id": "a", "trace_id": "t", "parent_id": "p", "name": "n", "type": "db", "duration": 1, "timestamp": 1}
HEAD = json.dumps({"metadata": METADATA}).encode() + b"\n"
GOOD = json.dumps({"span": SPAN}).encode() + b"\n"


def span_of(size):
    """A span's line of exactly ``size`` bytes, its newline included."""
    event = dict(SPAN, context={"db": {"statement": ""}})
    missing = size - len(json.dumps({"span": event})) - 1
    event["context"] = {"db": {"statement": "x" * missing}}
    return json.dumps({"span": event}).encode() + b"\n"


def read(body, encoding="", step=None):
    """Feed ``body`` in pieces of ``step`` bytes; return the stream and its events."""
    stream, events = Stream(encoding), []
    step = step or len(body) or 1
    try:
        for start in range(0, len(body), step):
            events.extend(stream.feed(body[start : start + step]))
        events.extend(stream.close())
    except StreamError as error:
        stream.fail(error)
    return stream, events


def reasons(stream):
    return [error["message"] for error in stream.errors]


@pytest.mark.parametrize("step", [1, 2, 7, 100, None])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("", gzip.compress),
        ("", zlib.compress),
        ("br", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
    ],
)
def test_however_it_comes(step, encoding, pack):
    stream, events = read(pack(HEAD + GOOD + b"\n" + GOOD), encoding, step)
    assert (stream.status, stream.accepted, stream.rejected, stream.errors) == (202, 2, 0, [])
    assert [event.kind for event in events] == ["span", "span"]
    assert events[0].body == SPAN
    assert events[0].metadata == METADATA
    assert events[0].line + b"\n" == GOOD
    assert json.loads(events[0].raw) == {"span": SPAN}


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_an_empty_body_is_legal(encoding):
    stream, events = read(b"", encoding)
    assert (stream.status, stream.accepted, events) == (202, 0, [])


def test_metadata_alone():
    assert read(HEAD)[0].status == 202


def test_the_last_line_needs_no_newline():
    stream, events = read(HEAD + GOOD.rstrip())
    assert (stream.status, len(events)) == (202, 1)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (GOOD, '"metadata" required'),
        (b"\n", '"metadata" required'),
        (b"x", '"metadata" required'),
        (b"nonsense\n", '"metadata" required'),
        (HEAD.rstrip(), "EOF while reading metadata"),
        (b'{"metadata": {"user": null}}\n', "validation error: 'metadata' required"),
        (b'{"metadata": {\n', "data read error: Expecting property name"),
        (b'{"metadata": ' + b"[" * 200_000 + b"\n", "data read error: "),
        (b'{"metadata": "' + b"x" * MAX_EVENT_SIZE + b'"}\n', "event exceeded the permitted size"),
    ],
)
def test_without_metadata_nothing_is_taken(first, reason):
    stream, events = read(first + (GOOD if first.endswith(b"\n") else b""))
    assert (stream.status, stream.accepted, stream.rejected, events) == (400, 0, 1, [])
    assert stream.errors[0]["message"].startswith(f"cannot read metadata in stream: {reason}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"tennis-court": {}}', 'did not recognize object type: "tennis-court"'),
        (HEAD.rstrip(), 'did not recognize object type: "metadata"'),
        (b"{}", 'did not recognize object type: ""'),
        (b"[1]", 'did not recognize object type: ""'),
        (b'{"span": {}', "data read error: Expecting ',' delimiter"),
        (b'["span"]', "data read error: expects an object"),
        (b'{"span": NaN}', "data read error: NaN is not JSON"),
        (b'{"span": {"id": "\xff"}}', "data read error: 'utf-8' codec"),
        (b'{"span": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "data read error: "),
        (b'{"span": {}}', "validation error: 'span' required"),
        (b'{"span": {"id": 5}}', "validation error: span: 'id': expects a string, found an integer"),
    ],
)
def test_a_bad_line_costs_only_itself(line, reason):
    stream, events = read(HEAD + GOOD + line + b"\n" + GOOD)
    assert (stream.status, stream.accepted, stream.rejected, len(events)) == (400, 2, 1, 2)
    assert stream.errors[0]["message"].startswith(reason)
    assert stream.errors[0]["document"].startswith(line.decode("utf-8", "replace")[:1000])


def test_what_follows_the_first_value_of_a_line_is_not_looked_at():
    stream, events = read(HEAD + b"  " + GOOD.rstrip() + b"` and more\n")
    assert stream.status == 202
    assert json.loads(events[0].raw) == {"span": SPAN}


def test_five_errors_are_listed_and_all_are_counted():
    stream, _ = read(HEAD + b'{"x": 1}\n' * 7 + GOOD)
    assert (stream.status, stream.accepted, stream.rejected, len(stream.errors)) == (400, 1, 7, 5)


@pytest.mark.parametrize("step", [None, 1000, 100_000])
@pytest.mark.parametrize(("size", "accepted"), [(MAX_EVENT_SIZE, 1), (MAX_EVENT_SIZE + 1, 0), (10 * MAX_EVENT_SIZE, 0)])
def test_the_size_of_a_line_is_limited(size, accepted, step):
    stream, events = read(HEAD + span_of(size) + GOOD, step=step)
    assert len(events) == accepted + 1
    if not accepted:
        assert reasons(stream) == ["event exceeded the permitted size"]
        assert len(stream.errors[0]["document"]) == 10_000


def test_a_too_long_last_line_without_newline():
    stream, events = read(HEAD + GOOD + b"x" * MAX_EVENT_SIZE)
    assert (stream.status, len(events)) == (400, 1)


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"no gzip at all", "gzip", "invalid compressed body"),
        (b"no zlib at all", "deflate", "invalid compressed body"),
        (gzip.compress(HEAD + GOOD)[:-9], "gzip", "unexpected end of the compressed body"),
        (gzip.compress(HEAD + GOOD) + b"rubbish", "gzip", "invalid compressed body"),
    ],
    ids=["no gzip", "no zlib", "cut", "trailer"],  # not the bodies: they hold the time
)
def test_bad_compression(body, encoding, reason):
    stream, _ = read(body, encoding)
    assert stream.status == 400
    assert reasons(stream)[0].startswith(reason)


def test_events_before_the_break_are_kept():
    stream, events = read(gzip.compress(HEAD + GOOD) + b"rubbish", "gzip")
    assert (stream.accepted, len(events)) == (1, 1)


def test_what_follows_a_zlib_stream_is_not_read():
    stream, events = read(zlib.compress(HEAD + GOOD) + b"rubbish", "deflate", step=5)
    assert (stream.status, len(events)) == (202, 1)


def test_a_decompression_bomb_is_stopped(monkeypatch):
    monkeypatch.setattr(decode, "MAX_REQUEST_SIZE", 5_000_000)
    stream = Stream("gzip")
    bomb = gzip.compress(HEAD + b"x" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(StreamError) as caught:
        list(stream.feed(bomb))
    stream.fail(caught.value)
    assert (stream.status, reasons(stream)[-1]) == (413, "request body too large")
    assert len(stream._line) < MAX_EVENT_SIZE


@pytest.mark.parametrize(
    ("metricset", "kept"),
    [
        ({"samples": {"a": {"value": 1}}}, True),
        ({"samples": {"a": {"value": 1}}, "transaction": {"name": None}}, True),
        ({"samples": {"a": {"value": 1}}, "transaction": {"name": "t"}}, False),
        ({"samples": {"span.self_time.count": {"value": 1}}, "transaction": {"name": "t"}}, False),
        (
            {
                "samples": {"span.self_time.count": {"value": 1}},
                "transaction": {"name": "t"},
                "span": {"type": "db"},
            },
            True,
        ),
    ],
)
def test_a_metricset_of_a_transaction_is_kept_only_as_breakdown(metricset, kept):
    stream, events = read(HEAD + json.dumps({"metricset": metricset}).encode() + b"\n")
    assert (stream.status, stream.accepted, len(events)) == (202, kept, kept)


def test_the_highest_status_is_answered():
    stream = Stream()
    stream.fail(StreamError("full", status=503))
    stream.fail(StreamError("bad"))
    assert (stream.status, stream.rejected) == (503, 2)
