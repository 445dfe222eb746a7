"""What the store keeps, and what it lets go when its cap is reached."""

from __future__ import annotations

import json
import os

import pytest
from tests.local.traffic import body, error, identity, metadata, span, transaction

from apm_run.intake.decode import Event, Stream
from apm_run.local import rows
from apm_run.local.store import SMALLEST_CAP, Store


def decoded(*lines):
    stream = Stream()
    events = [*stream.feed(body(*lines)), *stream.close()]
    assert stream.status == 202, stream.errors
    return events


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "events.sqlite"), SMALLEST_CAP)
    yield store
    store.close()


def count(store, table):
    return store.query(f"SELECT count(*) FROM {table}")[0][0]


def test_the_oldest_traces_go_first_and_whole(store):
    last = None
    for number in range(40):
        root = transaction(f"trace {number}")
        spans = [span(root, f"span {number}", context={"db": {"statement": "x" * 9000}}) for _ in range(10)]
        failure = error(root, log={"message": "m"})
        log = {"log": {"message": "m", "trace.id": root["transaction"]["trace_id"]}}
        store.add(decoded(metadata("shop", version=str(number)), root, *spans, failure, log))
        last = root
    assert store.evicted > 0
    assert store.size() <= SMALLEST_CAP
    assert os.path.getsize(store.path) < SMALLEST_CAP * 1.5
    names = [row["name"] for row in store.query("SELECT name FROM transactions ORDER BY id")]
    kept = len(names)
    assert 0 < kept < 40
    assert names == [f"trace {number}" for number in range(40 - kept, 40)]
    # Whole traces: what is left has all its parts.
    assert [count(store, table) for table in ("spans", "errors", "logs", "bunches")] == [10 * kept, kept, kept, kept]
    assert count(store, "metadata") <= kept + 2
    assert last is not None


def test_a_trace_that_goes_on_is_not_the_oldest(store):
    first = transaction("first")
    store.add(decoded(metadata(), first))
    while not store.evicted:
        other = transaction("other", context={"custom": {"filler": "x" * 50_000}})
        store.add(decoded(metadata(), other, span(first)))
    assert store.query("SELECT count(*) FROM transactions WHERE name = 'first'")[0][0] == 1


def test_events_without_a_trace_are_evicted_too(store):
    for _ in range(100):
        samples = {f"metric {number}": {"value": number} for number in range(50)}
        store.add(decoded(metadata(), *[{"metricset": {"samples": samples}} for _ in range(10)]))
    assert store.evicted > 0
    assert store.size() <= SMALLEST_CAP
    assert count(store, "samples") == 50 * count(store, "metricsets")


def test_services_without_events_are_forgotten(store):
    store.add(decoded(metadata("gone"), transaction()))
    while not store.evicted:
        store.add(decoded(metadata("here"), transaction(context={"custom": {"filler": "x" * 50_000}})))
    assert [row["service"] for row in store.query("SELECT service FROM services")] == ["here"]


def test_metadata_is_kept_once(store):
    store.add(decoded(metadata(), transaction(), transaction()))
    store.add(decoded(metadata(), transaction()))
    assert count(store, "metadata") == 1


def test_nothing_of_a_failed_write_stays(store, monkeypatch):
    events = decoded(metadata(), transaction("a"), transaction("b"))
    monkeypatch.setattr(rows, "service_name", lambda event: 1 / (event is events[0]))
    with pytest.raises(ZeroDivisionError):
        store.add(events)
    assert count(store, "transactions") == 0
    monkeypatch.undo()
    store.add(events)
    assert count(store, "transactions") == 2


def test_rejections_are_bounded(store):
    store.reject([{"message": f"m{number}", "document": "d"} for number in range(250)])
    kept = [row["message"] for row in store.query("SELECT message FROM rejections ORDER BY id")]
    assert kept == [f"m{number}" for number in range(150, 250)]


def test_clear(store):
    store.add(decoded(metadata(), transaction()))
    store.clear()
    store.add(decoded(metadata(), transaction()))
    assert (count(store, "transactions"), count(store, "services")) == (1, 1)


def test_hostile_text_and_numbers_are_stored(store):
    name = "\ud800 \x00 <script> ' \" %s 🙂"
    root = transaction(name, duration=1e308, timestamp=-(2**63), result="\udfff")
    child = span(transaction(), start=-1e308, timestamp=None, stacktrace=[], context={"tags": {"\ud800": "\ud800"}})
    metric = {"metricset": {"samples": {"\ud800": {"value": 1e308}, "h": {"values": [1e308], "counts": [2**62]}}}}
    store.add(decoded(metadata(), root, child, metric))
    assert store.query("SELECT name FROM transactions")[0]["name"] == name.replace("\ud800", "?")
    assert json.loads(store.query("SELECT raw FROM transactions")[0]["raw"])["transaction"]["name"] == name


def columns(line, **meta):
    (event,) = decoded(metadata(**meta), line)
    return rows.row(event)


def test_a_dotted_span_type_is_split():
    parent = transaction()
    for given, expected in {
        ("db.mysql.query", None, None): ("db", "mysql", "query"),
        ("db.mysql", None, None): ("db", "mysql", None),
        ("db", None, None): ("db", None, None),
        ("a.b.c.d", None, None): ("a", "b", "c.d"),
        ("db.mysql", "x", None): ("db.mysql", "x", None),
        ("", None, None): ("custom", None, None),
    }.items():
        _, row = columns(span(parent, type=given[0], subtype=given[1], action=given[2]))
        assert (row["type"], row["subtype"], row["action"]) == expected


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (transaction(outcome=None), "unknown"),
        (transaction(outcome=None, context={"response": {"status_code": 500}}), "failure"),
        (transaction(outcome=None, context={"response": {"status_code": 404}}), "success"),
        (transaction(outcome="success", context={"response": {"status_code": 500}}), "success"),
        (span(transaction(), outcome=None), "unknown"),
        (span(transaction(), outcome=None, context={"http": {"status_code": 404}}), "failure"),
        (span(transaction(), outcome=None, context={"http": {"response": {"status_code": 404}}}), "unknown"),
    ],
)
def test_the_outcome_that_the_server_assumes(line, outcome):
    assert columns(line)[1]["outcome"] == outcome


@pytest.mark.parametrize(
    ("context", "target"),
    [
        ({"service": {"target": {"type": "mysql", "name": "shop"}}}, "mysql/shop"),
        ({"service": {"target": {"type": "redis"}}}, "redis"),
        ({"service": {"target": {"type": "", "name": "x"}}}, "x"),
        ({"destination": {"service": {"resource": "old/one"}}}, "old/one"),
        ({}, None),
    ],
)
def test_the_target_of_a_span(context, target):
    assert columns(span(transaction(), context=context))[1]["target"] == target


@pytest.mark.parametrize(
    ("line", "service"),
    [
        (transaction(context={"service": {"name": "own"}}), "own"),
        (transaction(), "shop"),
        ({"metricset": {"samples": {"a": {"value": 1}}, "service": {"name": "own"}}}, "own"),
        ({"log": {"message": "m", "service.name": "flat"}}, "flat"),
        ({"log": {"message": "m", "service.name": "flat", "service": {"name": "nested"}}}, "nested"),
        ({"log": {"message": "m", "service": {"name": 5}}}, "shop"),
    ],
)
def test_the_service_of_an_event(line, service):
    assert columns(line)[1]["service"] == service


def test_errors_are_grouped_by_type_and_place_not_by_message():
    def key(**exception):
        return columns(error(exception=exception))[1]["grouping"]

    frame = {"filename": "a.py", "function": "f", "lineno": 1}
    base = key(type="ValueError", message="one", stacktrace=[frame])
    assert base == key(type="ValueError", message="two", stacktrace=[dict(frame, lineno=9)])
    assert base != key(type="KeyError", message="one", stacktrace=[frame])
    assert base != key(type="ValueError", message="one", stacktrace=[dict(frame, function="g")])
    assert base != key(type="ValueError", message="one", stacktrace=[frame], cause=[{"type": "OSError"}])
    assert key(message="one") != key(message="two")


def test_samples_of_a_metricset():
    metricset = {
        "tags": {"b": 1, "a": "x"},
        "transaction": {"name": "GET /", "type": "request"},
        "span": {"type": "db", "subtype": None},
        "samples": {
            "plain": {"value": 2},
            "histogram": {"values": [1, 3], "counts": [1, 3]},
            "empty": {"values": [1], "counts": [0]},
        },
    }
    labels = "a=x, b=1, transaction=GET //request, span=db"
    assert rows.samples(metricset) == [
        ("plain", labels, 2.0),
        ("histogram", labels, 2.5),
        ("empty", labels, 0.0),
    ]


def test_an_event_without_time_gets_the_time_of_arrival():
    assert isinstance(columns(transaction(timestamp=None))[1]["ts"], int)
    event = Event("log", {"message": identity()}, b"", "", metadata()["metadata"])
    assert isinstance(rows.row(event)[1]["ts"], int)
