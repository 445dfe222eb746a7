"""Breakdown metrics: where the time of transactions goes (spec 10, 24.2). All times in ms."""

from __future__ import annotations

import json

import pytest
from tests.engine import Engine
from tests.receiver import objections

from apm_run.intake import encode
from apm_run.model import SpanDraft
from apm_run.tracer import breakdown


class Work:
    """An engine whose spans take the time they are told to."""

    def __init__(self, **options):
        self.engine = Engine(**options)
        self.tracer = self.engine.tracer

    def begin(self, parent, type="app", subtype=None, exit=False):
        return self.tracer.begin(SpanDraft("x", type, subtype, exit=exit), parent)

    def wait(self, milliseconds):
        self.engine.clock.advance(milliseconds)

    def end(self, *spans):
        for span in spans:
            self.tracer.end(span)

    def metrics(self, name="test"):
        """(type, subtype) -> (count, milliseconds) of the transactions of that name."""
        self.engine.sink.metricsets.clear()
        self.tracer.collect()
        found = {}
        for event in self.engine.sink.metricsets:
            assert objections("metricset", event) == []
            assert event["transaction"]["type"] == "test"
            if event["transaction"]["name"] == name:
                samples = event["samples"]
                found[event["span"]["type"], event["span"].get("subtype")] = (
                    samples["span.self_time.count"]["value"],
                    round(samples["span.self_time.sum.us"]["value"] / 1000),
                )
        return found


@pytest.fixture
def work():
    return Work()


def test_24_2_a_transaction_without_spans(work):
    transaction = work.engine.begin()
    work.wait(30)
    work.tracer.end_transaction(transaction)
    assert work.metrics() == {("app", None): (1, 30)}
    assert work.metrics() == {}


def test_24_2_self_times_add_up_to_the_duration(work):
    transaction = work.engine.begin()
    work.wait(10)
    outer = work.begin(transaction, "template", "jinja2")
    work.wait(5)
    for _ in range(2):
        query = work.begin(outer, "db", "sqlite", exit=True)
        work.wait(7)
        work.end(query)
    work.end(outer)
    query = work.begin(transaction, "db", "sqlite", exit=True)
    work.wait(4)
    work.end(query)
    work.wait(1)
    work.tracer.end_transaction(transaction)
    found = work.metrics()
    assert found == {("app", None): (1, 11), ("template", "jinja2"): (1, 5), ("db", "sqlite"): (3, 18)}
    assert sum(milliseconds for _, milliseconds in found.values()) == 34


def test_24_2_children_that_overlap_are_counted_once(work):
    """As the tasks that a coroutine waits for."""
    transaction = work.engine.begin()
    work.wait(10)
    first = work.begin(transaction, "external", "http", exit=True)
    work.wait(10)
    second = work.begin(transaction, "external", "http", exit=True)
    work.wait(10)
    work.end(first)
    work.wait(10)
    work.end(second)
    work.wait(10)
    work.tracer.end_transaction(transaction)
    assert work.metrics() == {("app", None): (1, 20), ("external", "http"): (2, 40)}


def test_24_2_a_child_that_outlives_its_parent(work):
    transaction = work.engine.begin()
    work.wait(10)
    late = work.begin(transaction, "db", "sqlite", exit=True)
    work.wait(10)
    work.tracer.end_transaction(transaction)
    work.wait(10)
    work.end(late)
    assert work.metrics() == {("app", None): (1, 10)}


def test_24_2_a_child_that_outlives_a_span(work):
    transaction = work.engine.begin()
    outer = work.begin(transaction)
    work.wait(5)
    late = work.begin(outer, "db", "sqlite", exit=True)
    work.wait(10)
    work.end(outer)
    work.wait(10)
    work.end(late)
    work.tracer.end_transaction(transaction)
    assert work.metrics() == {("app", None): (2, 15), ("db", "sqlite"): (1, 20)}


@pytest.mark.parametrize(
    "options", [{"transaction_max_spans": "0"}, {"exit_span_min_duration": "1s"}, {"span_compression_enabled": "true"}]
)
def test_24_2_what_is_dropped_or_compressed_counts(options):
    work = Work(**options)
    transaction = work.engine.begin()
    for _ in range(3):
        query = work.begin(transaction, "db", "sqlite", exit=True)
        work.wait(5)
        work.end(query)
        work.wait(1)
    work.tracer.end_transaction(transaction)
    assert len(work.engine.sink.spans(transaction)) <= 1
    assert work.metrics() == {("app", None): (1, 3), ("db", "sqlite"): (3, 15)}


def test_24_2_unsampled_transactions_do_not_count(work):
    unsampled = Work(transaction_sample_rate="0")
    transaction = unsampled.engine.begin()
    unsampled.wait(10)
    unsampled.tracer.end_transaction(transaction)
    assert unsampled.metrics() == {}


def test_24_2_ignored_transactions_do_not_count(work):
    transaction = work.engine.begin()
    transaction.ignore()
    work.tracer.end_transaction(transaction)
    assert work.metrics() == {}


def test_24_2_by_the_name_at_the_end_added_up_over_transactions(work):
    for name, milliseconds in (("a", 10), ("b", 20), ("a", 30)):
        transaction = work.engine.begin("unknown route")
        work.wait(milliseconds)
        transaction.set_name(name)
        work.tracer.end_transaction(transaction)
    work.tracer.collect()
    found = {
        event["transaction"]["name"]: event["samples"]["span.self_time.count"]["value"]
        for event in work.engine.sink.metricsets
    }
    assert found == {"a": 2, "b": 1}


def test_24_2_every_interval_while_there_is_something(work):
    assert work.tracer.look() is None
    work.tracer.end_transaction(work.engine.begin())
    assert work.tracer.look() == pytest.approx(30)
    work.wait(29_999)
    work.tracer.look()
    assert work.engine.sink.metricsets == []
    work.wait(2)
    assert work.tracer.look() is None
    assert len(work.engine.sink.metricsets) == 1
    work.wait(100_000)
    work.tracer.end_transaction(work.engine.begin())
    assert work.tracer.look() == pytest.approx(30)


@pytest.mark.parametrize("options", [{"breakdown_metrics": "false"}, {"metrics_interval": "0s"}])
def test_24_2_switched_off(options):
    work = Work(**options)
    transaction = work.engine.begin()
    work.end(work.begin(transaction))
    work.tracer.end_transaction(transaction)
    assert work.metrics() == {}
    assert work.tracer.look() is None


@pytest.mark.parametrize(
    ("pattern", "left"),
    [("span.self_time.sum.us", ["span.self_time.count"]), ("*.self_time.*", []), ("system.*", ["count", "sum"])],
)
def test_disable_metrics(pattern, left):
    work = Work(disable_metrics=pattern)
    work.tracer.end_transaction(work.engine.begin())
    work.tracer.collect()
    found = [list(event["samples"]) for event in work.engine.sink.metricsets]
    assert [len(samples) for samples in found] == ([len(left)] if left else [])


def test_24_2_at_most_1000_kinds(work, monkeypatch):
    told = []
    monkeypatch.setattr(breakdown.log, "write", lambda *line: told.append(line[:2]))
    for number in range(1200):
        work.tracer.end_transaction(work.engine.begin(f"name {number}"))
    work.tracer.collect()
    assert len(work.engine.sink.metricsets) == 1000
    assert told == [("warning", "metrics.full")]


def test_24_2_a_child_begins_anew(work):
    work.tracer.end_transaction(work.engine.begin())
    work.tracer.forked()
    assert work.metrics() == {}
    assert work.tracer.look() is None


def test_24_2_not_while_nothing_is_captured(work):
    work.tracer.end_transaction(work.engine.begin())
    work.tracer.active = False
    assert work.metrics() == {}


def test_10_names_are_cut_and_of_any_type():
    work = Work(span_compression_enabled="false")
    transaction = work.engine.begin("n" * 3000)
    work.end(work.begin(transaction, "t" * 3000, "s" * 3000))
    work.end(work.begin(transaction, ["odd"], {"odd": 1}))
    work.end(work.begin(transaction, 5))
    work.tracer.end_transaction(transaction)
    odd = work.engine.begin()
    odd.name, odd.type = ["odd"], {}
    work.tracer.end_transaction(odd)
    work.tracer.collect()
    assert len(work.engine.sink.metricsets) == 4
    for event in work.engine.sink.metricsets:
        line = json.loads(encode.metricset_line(event))["metricset"]
        assert objections("metricset", line) == []
