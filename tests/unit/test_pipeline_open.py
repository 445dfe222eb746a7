"""What the pipeline says of a transaction that may never end: with its open record it is a valid event at any time."""

from __future__ import annotations

import json

import pytest
from tests.engine import Engine
from tests.receiver import objections

from apm_run import guard
from apm_run.export.open_records import OpenRecords
from apm_run.intake.limits import MAX_EVENT_SIZE
from apm_run.model import SpanDraft
from apm_run.pipeline import Pipeline


class Exporter:
    """Keeps the open records as an outbox does."""

    def __init__(self):
        self.found = OpenRecords()
        self.puts = []
        self.calls = 0

    def begun(self, job=False):
        self.calls += 1

    def takes(self, sampled):
        return True

    def put(self, payload, events):
        assert payload.count(b"\n") == events
        self.puts += [next(iter(json.loads(line))) for line in payload.splitlines()]

    def open(self, id, end, line):
        self.found.note(OpenRecords.record(id, end, line))

    def gone(self, id):
        self.found.note(OpenRecords.record(id))

    @property
    def events(self):
        return [event["transaction"] for event in self.all if "transaction" in event]

    @property
    def all(self):
        return [json.loads(line) for line in self.found.events()[0].splitlines()]


@pytest.fixture
def engine():
    engine = Engine(span_compression_enabled="true", breakdown_metrics="false")
    engine.exporter = Exporter()
    engine.tracer.sink = Pipeline(engine.tracer.settings, engine.exporter)
    return engine


def test_it_is_a_failure_as_of_now(engine):
    transaction = engine.begin("GET /slow")
    transaction.context["request"] = {"method": "GET", "url": {"full": "http://localhost/slow"}}
    engine.clock.advance(1500)
    for _ in range(3):
        engine.tracer.end(engine.tracer.begin(SpanDraft("work", "custom", exit=False), transaction))
        engine.clock.advance(100)
    transaction.capture(ValueError(), handled=True)
    assert engine.exporter.calls == 1
    assert engine.exporter.puts == ["span", "span", "span", "error"]
    (event,) = engine.exporter.events
    assert objections("transaction", event) == []
    assert (event["id"], event["name"], event["outcome"]) == (transaction.id, "GET /slow", "failure")
    assert event["span_count"] == {"started": 3, "dropped": 0}
    assert event["duration"] == pytest.approx(1800, abs=0.01)
    assert event["context"]["request"]["url"]["full"] == "http://localhost/slow"
    engine.tracer.end_transaction(transaction)
    assert engine.exporter.puts[4:] == ["transaction"]


def test_an_unsampled_one_has_no_spans(engine):
    transaction = engine.begin()
    transaction.sampled = False
    engine.clock.advance(1500)
    engine.tracer.look()
    (event,) = engine.exporter.events
    assert (event["span_count"], event["sampled"]) == ({"started": 0, "dropped": 0}, False)
    assert "context" not in event


def test_one_with_too_much_context_goes_without(engine):
    transaction = engine.begin()
    transaction.context["request"] = {"method": "GET", "headers": {f"h{n}": "x" * 9000 for n in range(40)}}
    engine.clock.advance(1500)
    engine.tracer.look()
    (event,) = engine.exporter.events
    assert "context" not in event
    assert len(json.dumps(event)) < MAX_EVENT_SIZE


def test_one_that_ends_meanwhile_is_not_open(engine):
    """In another thread, between the hand-over and the record."""
    transaction = engine.begin()
    engine.clock.advance(1500)
    put = engine.exporter.open

    def late(*record):
        transaction.ended = True
        put(*record)

    engine.exporter.open = late
    engine.tracer.look()
    assert engine.exporter.events == []


def test_one_that_can_not_be_encoded_harms_nothing(engine, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    transaction = engine.begin()
    transaction.context = 7
    engine.clock.advance(1500)
    monkeypatch.setattr(guard, "failures", {})
    engine.tracer.look()
    assert engine.exporter.events == []
    assert list(guard.failures) == ["put open transaction"]


def test_a_span_that_may_become_part_of_a_longer_one_is_as_it_is_now(engine):
    transaction = engine.begin()
    engine.clock.advance(1500)
    for count in (1, 2, 3):
        engine.tracer.end(engine.tracer.begin(SpanDraft("SELECT", "db", "sqlite"), transaction))
        (span,) = [event["span"] for event in engine.exporter.all if "span" in event]
        assert objections("span", span) == []
        assert span.get("composite", {"count": 1})["count"] == count
        (event,) = engine.exporter.events
        assert event["span_count"] == {"started": 1, "dropped": 0}
    assert engine.exporter.puts == []
    engine.tracer.end_transaction(transaction)
    assert engine.exporter.puts == ["span", "transaction"]


def test_a_span_that_can_not_be_told_of_harms_nothing(engine, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    transaction = engine.begin()
    engine.clock.advance(1500)
    draft = SpanDraft("SELECT", "db", "sqlite", db=7)
    draft.target_name = "x"
    engine.tracer.end(engine.tracer.begin(draft, transaction))
    assert list(guard.failures) == ["hold span"]


def test_metricsets(engine, monkeypatch):
    puts = engine.exporter.puts
    engine.tracer.sink.metricset({"timestamp": 1, "samples": {"x": {"value": 1}}})
    assert puts == ["metricset"]
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    engine.tracer.sink.metricset({"transaction": 7})
    assert list(guard.failures) == ["encode metricset"]


def test_13_of_an_unsampled_transaction_a_new_server_gets_the_errors_only(engine):
    taken = []
    engine.exporter.takes = lambda sampled: (taken.append(sampled), sampled)[1]
    for sampled in (True, False):
        transaction = engine.begin()
        transaction.sampled = sampled
        transaction.capture(ValueError(), handled=True)
        engine.tracer.end_transaction(transaction)
    assert engine.exporter.puts == ["transaction", "error", "error"]
    assert taken == [True, False]


def test_13_nor_is_it_said_to_be_open_any_more(engine):
    transaction = engine.begin()
    transaction.sampled = False
    engine.clock.advance(1500)
    transaction.capture(ValueError(), handled=True)
    assert [event["sampled"] for event in engine.exporter.events] == [False]
    engine.exporter.takes = lambda sampled: sampled  # the server has told its version
    other = engine.begin()
    other.sampled = False
    engine.clock.advance(1500)
    other.capture(ValueError(), handled=True)
    assert [event["id"] for event in engine.exporter.events] == [transaction.id]
    engine.tracer.end_transaction(transaction)
    engine.tracer.end_transaction(other)
    assert engine.exporter.events == []
    assert engine.exporter.puts == ["error", "error"]
