"""Huge traces: limits, short exit spans, statistics of what is dropped, compression (spec 20). All times in ms."""

from __future__ import annotations

import json
import threading
import tracemalloc

import pytest
from tests import encoded
from tests.engine import Engine
from tests.receiver import objections

from apm_run.intake import encode
from apm_run.model import SpanDraft


def engine_of(**options):
    return Engine(**{"span_compression_enabled": "true", "breakdown_metrics": "false", **options})


def query(name="SELECT FROM t", instance="shop", subtype="sqlite"):
    return SpanDraft(name, "db", subtype, "query", db={"instance": instance, "statement": name})


def inner(name="work"):
    return SpanDraft(name, "app", exit=False)


def run(engine, parent, draft, duration=1, gap=1, outcome=None, headers=False):
    span = engine.tracer.begin(draft, parent)
    if headers:
        engine.tracer.headers(span)
    span.outcome = outcome
    engine.clock.now = span.start_ns + round(duration * 1e6) - 1  # the reading itself takes one
    engine.tracer.end(span)
    engine.clock.advance(gap)
    return span


def ended(engine, transaction):
    """The event of a transaction and those of its spans, valid ones."""
    engine.tracer.end_transaction(transaction)
    ((found, spans),) = [one for one in engine.sink.transactions if one[0] is transaction]
    event = encoded.transaction(found, spans)
    assert objections("transaction", event) == []
    events = [encoded.span(span) for span in spans]
    for one in events:
        assert objections("span", one) == []
    return event, events


def absorbed(spans):
    return sum(span["composite"]["count"] - 1 for span in spans if "composite" in span)


# 20.1 The hard limit


@pytest.mark.parametrize(("maximum", "started"), [("0", 0), ("1", 1), ("3", 3), ("5", 5), ("-1", 5)])
def test_20_1_spans_beyond_the_limit_are_counted(maximum, started):
    engine = engine_of(transaction_max_spans=maximum)
    transaction = engine.begin()
    for number in range(5):
        run(engine, transaction, inner(f"work {number}"))
    event, spans = ended(engine, transaction)
    assert event["span_count"] == {"started": started, "dropped": 5 - started}
    assert len(spans) == started


def test_20_1_the_limit_is_exact_for_spans_that_run_at_once():
    """It is checked at the end, when they are reported; trap 2: with ``<`` and not ``<=``."""
    engine = engine_of(transaction_max_spans="3")
    transaction = engine.begin()
    begun = [engine.tracer.begin(inner(), transaction) for _ in range(10)]
    for span in begun:
        engine.tracer.end(span)
    late = engine.tracer.begin(inner(), transaction)
    assert late.dropped
    engine.tracer.end(late)
    event, _ = ended(engine, transaction)
    assert event["span_count"] == {"started": 3, "dropped": 8}


def test_20_1_the_limit_is_that_of_the_transactions_beginning():
    engine = engine_of(transaction_max_spans="2")
    transaction = engine.begin()
    other = engine_of(transaction_max_spans="5").tracer.settings
    engine.tracer.settings = other
    for _ in range(4):
        run(engine, transaction, inner())
    event, _ = ended(engine, transaction)
    assert event["span_count"] == {"started": 2, "dropped": 2}


def test_20_1_a_dropped_span_is_nobodys_parent():
    engine = engine_of(transaction_max_spans="1")
    transaction = engine.begin()
    run(engine, transaction, inner())
    span = engine.tracer.begin(query(), transaction)
    assert engine.tracer.headers(span)["traceparent"].split("-")[2] == transaction.id


# 20.2 Fast exit spans


def test_20_2_short_exit_spans_are_counted():
    engine = engine_of(exit_span_min_duration="10ms", span_compression_enabled="false", transaction_max_spans="4")
    transaction = engine.begin()
    for _ in range(10):
        run(engine, transaction, query(), 9.9)  # such spans do not count for the limit
    kept = [
        run(engine, transaction, query("as long"), 10),
        run(engine, transaction, query("failed"), 1, outcome="failure"),
        run(engine, transaction, query("unknown"), 1, outcome="unknown"),
    ]
    run(engine, transaction, inner("no exit"), 1)
    event, spans = ended(engine, transaction)
    assert [span["name"] for span in spans] == ["as long", "failed", "unknown", "no exit"]
    assert event["span_count"] == {"started": 4, "dropped": 10}
    assert [kept[0].id, kept[1].id] == [spans[0]["id"], spans[1]["id"]]


def test_20_2_what_has_passed_the_context_on_is_reported():
    engine = engine_of(exit_span_min_duration="10ms")
    transaction = engine.begin()
    run(engine, transaction, query(), 1, headers=True)
    assert ended(engine, transaction)[0]["span_count"] == {"started": 1, "dropped": 0}


def test_20_2_a_composite_is_judged_as_a_whole():
    engine = engine_of(exit_span_min_duration="10ms")
    transaction = engine.begin()
    for _ in range(4):
        run(engine, transaction, query(), 2, gap=1)  # 11 ms from the first to the last
    run(engine, transaction, query("other"), 2)
    event, spans = ended(engine, transaction)
    assert [(span["name"], span["composite"]["count"]) for span in spans] == [("SELECT FROM t", 4)]
    assert event["span_count"] == {"started": 1, "dropped": 1}


def test_20_2_granular_durations():
    engine = engine_of(exit_span_min_duration="500us")
    transaction = engine.begin()
    run(engine, transaction, query("a"), 0.499)
    run(engine, transaction, query("b"), 0.5)
    assert [span["name"] for span in ended(engine, transaction)[1]] == ["b"]


# 20.3 Compression


def test_20_3_equal_spans_become_one():
    engine = engine_of()
    transaction = engine.begin()
    first = run(engine, transaction, query(), 10, gap=5)
    run(engine, transaction, query(), 20, gap=5)
    run(engine, transaction, query(), 50)
    event, (span,) = ended(engine, transaction)
    assert span["composite"] == {"count": 3, "sum": pytest.approx(80), "compression_strategy": "exact_match"}
    assert (span["id"], span["name"], span["timestamp"]) == (first.id, "SELECT FROM t", first.timestamp)
    assert span["duration"] == pytest.approx(90)
    assert event["span_count"] == {"started": 1, "dropped": 0}


@pytest.mark.parametrize(
    ("durations", "counts"),
    [((50, 50), [2]), ((51, 1), [1, 1]), ((1, 51), [1, 1]), ((1, 1, 51, 1, 1), [2, 1, 2]), ((1, 51, 1, 1), [1, 1, 2])],
)
def test_20_3_only_short_ones(durations, counts):
    engine = engine_of()
    transaction = engine.begin()
    for duration in durations:
        run(engine, transaction, query(), duration)
    _, spans = ended(engine, transaction)
    assert [span.get("composite", {"count": 1})["count"] for span in spans] == counts


def test_20_3_spans_of_the_same_kind():
    engine = engine_of(span_compression_same_kind_max_duration="5ms")
    transaction = engine.begin()
    for name in ("a", "b", "a", "c"):
        run(engine, transaction, query(name), 5)
    run(engine, transaction, query("d"), 6)
    _, spans = ended(engine, transaction)
    assert [span["name"] for span in spans] == ["Calls to sqlite/shop", "d"]
    assert spans[0]["composite"]["compression_strategy"] == "same_kind"
    assert spans[0]["composite"]["count"] == 4
    assert spans[0]["context"]["db"]["statement"] == "a"


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"subtype": "redis", "instance": None}, "Calls to redis"),
        ({"subtype": "redis", "instance": "0"}, "Calls to redis/0"),
    ],
)
def test_20_3_names_of_the_same_kind(facts, name):
    engine = engine_of(span_compression_same_kind_max_duration="5ms")
    transaction = engine.begin()
    for one in ("GET", "SET"):
        run(engine, transaction, query(one, **facts))
    assert [span["name"] for span in ended(engine, transaction)[1]] == [name]


def test_31_3_names_of_the_same_kind_come_from_the_target_and_not_from_the_resource():
    engine = engine_of(span_compression_same_kind_max_duration="5ms")
    transaction = engine.begin()
    for name in ("GET a", "GET b"):
        http = {"url": "http://host/", "method": "GET", "status_code": 200, "host": "host:80"}
        run(engine, transaction, SpanDraft(name, "external", "http", http=http))
    assert [span["name"] for span in ended(engine, transaction)[1]] == ["Calls to http/host:80"]


@pytest.mark.parametrize(
    "other",
    [{"subtype": "mysql"}, {"instance": "other"}, {"name": "SELECT FROM other"}, {"instance": None}],
    ids=["subtype", "target", "name", "no target"],
)
def test_20_3_others_are_kept_apart(other):
    engine = engine_of()
    transaction = engine.begin()
    run(engine, transaction, query())
    run(engine, transaction, query(**{"name": "SELECT FROM t", **other}))
    run(engine, transaction, query())
    event, spans = ended(engine, transaction)
    assert len(spans) == 3
    assert event["span_count"]["started"] == 3


def test_20_3_an_exact_composite_takes_no_other_name():
    engine = engine_of(span_compression_same_kind_max_duration="5ms")
    transaction = engine.begin()
    for name in ("a", "a", "b", "b"):
        run(engine, transaction, query(name))
    _, spans = ended(engine, transaction)
    assert [(span["name"], span["composite"]["count"]) for span in spans] == [("a", 2), ("b", 2)]


def test_20_3_equal_names_do_not_fall_back_to_the_same_kind():
    engine = engine_of(span_compression_exact_match_max_duration="1ms", span_compression_same_kind_max_duration="100ms")
    transaction = engine.begin()
    for _ in range(2):
        run(engine, transaction, query(), 10)
    assert len(ended(engine, transaction)[1]) == 2


def test_20_3_never_what_has_passed_its_context_on():
    engine = engine_of()
    transaction = engine.begin()
    run(engine, transaction, query(), headers=True)
    run(engine, transaction, query(), headers=True)
    run(engine, transaction, query())
    assert len(ended(engine, transaction)[1]) == 3


def test_20_3_never_failures():
    engine = engine_of()
    transaction = engine.begin()
    for outcome in (None, "failure", None, "unknown"):
        run(engine, transaction, query(), outcome=outcome)
    assert len(ended(engine, transaction)[1]) == 4


def test_20_3_never_spans_that_overlap():
    engine = engine_of()
    transaction = engine.begin()
    first, second = (engine.tracer.begin(query(), transaction) for _ in range(2))
    engine.clock.advance(1)
    engine.tracer.end(first)
    engine.tracer.end(second)
    assert len(ended(engine, transaction)[1]) == 2


def test_20_3_only_siblings():
    engine = engine_of()
    transaction = engine.begin()
    outer = engine.tracer.begin(inner("outer"), transaction)
    run(engine, outer, query())
    run(engine, transaction, query())
    run(engine, outer, query())
    engine.tracer.end(outer)
    _, spans = ended(engine, transaction)
    assert [(span["parent_id"] == outer.id, span.get("composite", {}).get("count")) for span in spans] == [
        (True, 2),
        (False, None),
        (False, None),
    ]


def test_20_3_what_waits_is_reported_before_its_parent():
    engine = engine_of()
    transaction = engine.begin()
    outer = engine.tracer.begin(inner("outer"), transaction)
    run(engine, outer, query())
    engine.tracer.end(outer)
    run(engine, outer, query("late"))  # its parent has ended: nothing waits below it
    assert [span.draft.name for span in transaction.spans] == ["SELECT FROM t", "outer", "late"]
    assert transaction.buffers == {}


def test_20_3_another_kind_of_span_lets_go_of_what_waits():
    engine = engine_of()
    transaction = engine.begin()
    run(engine, transaction, query())
    run(engine, transaction, inner())
    run(engine, transaction, query())
    assert [span["name"] for span in ended(engine, transaction)[1]] == ["SELECT FROM t", "work", "SELECT FROM t"]


def test_20_3_off():
    engine = engine_of(span_compression_enabled="false")
    transaction = engine.begin()
    run(engine, transaction, query())
    run(engine, transaction, query())
    assert len(ended(engine, transaction)[1]) == 2


def test_20_3_a_span_whose_parent_never_ends_is_not_lost():
    engine = engine_of()
    transaction = engine.begin()
    run(engine, engine.tracer.begin(inner("endless"), transaction), query())
    assert [span["name"] for span in ended(engine, transaction)[1]] == ["SELECT FROM t"]


def test_20_3_a_draft_that_is_shared_keeps_its_name():
    """A third party's ``describe`` may return the same object each time."""
    engine = engine_of(span_compression_same_kind_max_duration="5ms")
    transaction = engine.begin()
    a, b = query("a"), query("b")
    for draft in (a, b, a):
        run(engine, transaction, draft)
    assert (a.name, b.name) == ("a", "b")
    assert [span["name"] for span in ended(engine, transaction)[1]] == ["Calls to sqlite/shop"]


def test_20_3_a_late_span_is_reported():
    engine = engine_of()
    transaction = engine.begin()
    span = engine.tracer.begin(query(), transaction)
    engine.tracer.end_transaction(transaction)
    engine.tracer.end(span)
    assert engine.sink.late == [span]


# 20.4 What is said of dropped spans


def test_20_4_dropped_exit_spans_are_told_by_target_and_outcome():
    engine = engine_of(transaction_max_spans="0")
    transaction = engine.begin()
    for outcome in (None, None, "failure"):
        run(engine, transaction, query(), 2, outcome=outcome)
    run(engine, transaction, query(subtype="redis", instance=None), 3)
    run(engine, transaction, inner(), 4)
    http = {"url": "http://host/", "method": "GET", "status_code": 200, "host": "host:80"}
    run(engine, transaction, SpanDraft("GET host", "external", "http", http=http), 5)
    event, _ = ended(engine, transaction)
    assert event["span_count"] == {"started": 0, "dropped": 6}
    told = {
        (
            one["destination_service_resource"],
            one["service_target_type"],
            one.get("service_target_name"),
            one["outcome"],
        ): (one["duration"]["count"], round(one["duration"]["sum"]["us"], -2))
        for one in event["dropped_spans_stats"]
    }
    assert told == {
        ("sqlite/shop", "sqlite", "shop", "success"): (2, 4000),
        ("sqlite/shop", "sqlite", "shop", "failure"): (1, 2000),
        ("redis", "redis", None, "success"): (1, 3000),
        ("host:80", "http", "host:80", "success"): (1, 5000),
    }


def test_31_1_the_statistics_are_nested_on_the_wire():
    engine = engine_of(transaction_max_spans="0")
    transaction = engine.begin()
    run(engine, transaction, query(), 2)
    line = json.loads(encode.transaction_line(transaction, []))["transaction"]
    assert line["dropped_spans_stats"][0]["duration"] == {"count": 1, "sum": {"us": 2000}}


def test_20_4_at_most_128_kinds():
    engine = engine_of(transaction_max_spans="0")
    transaction = engine.begin()
    for number in range(200):
        run(engine, transaction, query(instance=f"db{number}"))
    run(engine, transaction, query(instance="db5"))
    event, _ = ended(engine, transaction)
    assert len(event["dropped_spans_stats"]) == 128
    assert event["dropped_spans_stats"][5]["duration"]["count"] == 2
    assert event["span_count"]["dropped"] == 201


def test_20_4_a_dropped_composite_counts_as_what_it_stands_for():
    engine = engine_of(exit_span_min_duration="100ms")
    transaction = engine.begin()
    for _ in range(3):
        run(engine, transaction, query(), 2)
    event, spans = ended(engine, transaction)
    assert (spans, event["span_count"]) == ([], {"started": 0, "dropped": 1})
    assert event["dropped_spans_stats"][0]["duration"] == {"count": 3, "sum": {"us": 6000}}


def test_20_4_names_are_cut_at_512():
    engine = engine_of(transaction_max_spans="0")
    transaction = engine.begin()
    run(engine, transaction, query(instance="x" * 2000))
    (told,) = ended(engine, transaction)[0]["dropped_spans_stats"]
    assert len(told["service_target_name"]) == 512
    assert len(told["destination_service_resource"]) == 1024


def test_20_4_targets_of_any_kind_harm_nothing():
    class Unprintable:
        def __str__(self):
            raise LookupError

    engine = engine_of(transaction_max_spans="0")
    transaction = engine.begin()
    for instance in (Unprintable(), b"shop", 7, ["a"]):
        run(engine, transaction, query(instance=instance))
    event, _ = ended(engine, transaction)
    names = [told["service_target_name"] for told in event["dropped_spans_stats"]]
    assert names == ["<unprintable Unprintable object>", "shop", "7", "['a']"]


# Together


def test_a_trace_of_10000_spans_keeps_every_invariant_in_bounded_memory():
    engine = engine_of(transaction_max_spans="200", exit_span_min_duration="2ms", breakdown_metrics="true")
    transaction = engine.begin()
    engine.tracer._live.clear()
    tracemalloc.start()
    for number in range(10_000):
        kind = number % 5
        if kind < 3:
            run(engine, transaction, query(f"q{number // 5 % 7}"), duration=0.001 + kind, gap=0)
        elif kind == 3:
            run(engine, transaction, inner(), duration=0.01, gap=0)
        else:
            run(engine, transaction, query("failed"), 0.01, gap=0, outcome="failure")
        transaction.look_ns = engine.clock.now * 2  # what has ended waits for the end
        transaction.start_ns = engine.clock.now
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    transaction.start_ns = 1_000_000_000
    event, spans = ended(engine, transaction)
    count = event["span_count"]
    assert count["started"] == len(spans) == 200
    assert count["started"] + count["dropped"] + absorbed(spans) + composites_dropped(event, spans) == 10_000
    assert used < 600_000
    (metrics,) = [engine.tracer._breakdown.collect()]
    assert sum(one["samples"]["span.self_time.count"]["value"] for one in metrics) == 10_001


def composites_dropped(event, spans):
    """What dropped composites had absorbed: the statistics count that, ``span_count`` does not."""
    told = sum(one["duration"]["count"] for one in event["dropped_spans_stats"])
    exits = event["span_count"]["dropped"] - inner_dropped(event, spans)
    return told - exits


def inner_dropped(event, spans):
    return 2000 - sum(span["name"] == "work" for span in spans)


@pytest.mark.parametrize("compression", ["true", "false"])
def test_the_invariants_hold_under_threads(compression):
    engine = engine_of(
        transaction_max_spans="150", span_compression_enabled=compression, span_stack_trace_min_duration="-1ms"
    )
    transaction = engine.begin()
    transaction.look_ns = 1 << 62
    barrier = threading.Barrier(4)

    def work(number):
        barrier.wait()
        for turn in range(500):
            span = engine.tracer.begin(query(f"q{number}{turn % 3}"), transaction)
            engine.tracer.end(span)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    event, spans = ended(engine, transaction)
    told = sum(one["duration"]["count"] for one in event.get("dropped_spans_stats", []))
    assert event["span_count"]["started"] == len(spans) == 150
    assert len(spans) + absorbed(spans) + told == 2000
    assert transaction.buffers == {}


# Threads, at their worst moment


def test_another_thread_was_faster_to_wait():
    class Faster(dict):
        def setdefault(self, key, value):
            super().setdefault(key, other)
            return super().setdefault(key, value)

    engine = engine_of()
    transaction = engine.begin()
    other = run(engine, transaction, inner("other"))
    transaction.spans.clear()
    transaction.buffers = Faster()
    span = run(engine, transaction, query())
    assert transaction.spans == [span]
    assert list(transaction.buffers.values()) == [other]


def test_the_transaction_ends_while_a_span_begins_to_wait():
    engine = engine_of()
    transaction = engine.begin()
    span = engine.tracer.begin(query(), transaction)
    transaction.ended = True  # and another thread is just handing it over
    engine.tracer.end(span)
    assert engine.sink.late == [span]
    assert transaction.buffers == {}


def test_the_first_span_is_told_of():
    engine = engine_of()
    transaction = engine.begin()
    told = []

    def first():
        transaction.first = None
        told.append(True)

    transaction.first = first
    run(engine, transaction, query())
    run(engine, transaction, query())
    assert told == [True]
