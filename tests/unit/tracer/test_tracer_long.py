"""Long transactions: what has ended in them is handed over before their end, and that they have begun (design 5a)."""

from __future__ import annotations

import gc
import os

import pytest
from tests.engine import Engine

from apm_run.model import SpanDraft

SECOND = 1000


@pytest.fixture
def engine():
    return Engine(breakdown_metrics="false")


def span(engine, parent, name="work"):
    begun = engine.tracer.begin(SpanDraft(name, "custom", exit=False), parent)
    engine.tracer.end(begun)
    return begun


def test_a_short_one_waits_for_its_end(engine):
    transaction = engine.begin()
    first = span(engine, transaction)
    engine.clock.advance(SECOND - 1)
    assert engine.tracer.look() == pytest.approx(0.001, abs=1e-6)
    second = span(engine, transaction)
    assert engine.sink.opened == []
    engine.tracer.end_transaction(transaction)
    assert engine.sink.spans(transaction) == [first, second]


def test_a_long_one_hands_over_what_ends_in_it(engine):
    transaction = engine.begin()
    early = span(engine, transaction)
    transaction.capture(ValueError("early"), handled=True)
    engine.clock.advance(SECOND)
    late = span(engine, transaction)
    transaction.capture(ValueError("late"), handled=True)
    last = span(engine, transaction)
    said = [
        (spans, [error["exception"]["message"] for error in errors]) for _, spans, errors, _, _ in engine.sink.opened
    ]
    assert said == [([early, late], ["early"]), ([], ["late"]), ([last], [])]
    # What is known of it is encoded once, and then now and then.
    assert [anew for *_, anew in engine.sink.opened] == [True, False, False]
    engine.tracer.end_transaction(transaction)
    assert engine.sink.spans(transaction) == []
    assert (transaction.outcome, transaction.errors) == ("failure", [])
    assert sum(transaction.handed_over) == 3


def test_one_in_which_nothing_ends_is_looked_at_ever_more_seldom(engine):
    transaction = engine.begin()
    waits = []
    for _ in range(12):
        waits.append(engine.tracer.look())
        engine.clock.advance(waits[-1] * 1000)
    assert waits == pytest.approx([1.0] * 5 + [1.25, 1.5625, 1.953, 2.441, 3.05, 3.81, 4.77], rel=0.01)
    assert [(opened, spans, anew) for opened, spans, _, _, anew in engine.sink.opened] == [(transaction, [], True)] * 11


@pytest.mark.parametrize("why", ["ignored", "inactive"])
def test_one_that_is_not_reported_is_not_looked_at_again_and_again(engine, why):
    transaction = engine.begin()
    engine.clock.advance(5 * SECOND)
    if why == "ignored":
        transaction.ignore()
    else:
        engine.tracer.active = False
    assert engine.tracer.look() == pytest.approx(1.0, rel=0.01)
    assert engine.sink.opened == []


def test_what_nobody_can_end_any_more_is_taken_back(engine):
    transaction = engine.begin()
    engine.clock.advance(2 * SECOND)
    engine.tracer.look()
    id = transaction.id
    engine.sink.opened.clear()
    del transaction
    gc.collect()
    assert engine.tracer.look() is None
    assert engine.sink.taken_back == [id]


def test_the_end_of_the_process_ends_what_is_known_to_be_open(engine):
    short, long, said = engine.begin(), engine.begin(), engine.begin()
    said.outcome = "success"
    engine.clock.advance(2 * SECOND)
    for transaction in (long, said):
        span(engine, transaction)
    engine.tracer.abandon()
    assert [(ended, ended.outcome) for ended, _ in engine.sink.transactions] == [(long, "failure"), (said, "success")]
    engine.tracer.end_transaction(long)
    assert len(engine.sink.transactions) == 2
    assert not short.ended


@pytest.mark.parametrize("how", ["ignored", "inactive"])
def test_one_that_is_not_to_be_reported_after_all(engine, how):
    transaction, other = engine.begin(), engine.begin()
    engine.clock.advance(2 * SECOND)
    span(engine, transaction)
    if how == "ignored":
        transaction.ignore()
        other.ignore()
    else:
        engine.tracer.active = False
    span(engine, transaction)
    engine.tracer.look()
    for one in (transaction, other):
        engine.tracer.end_transaction(one)
    assert len(engine.sink.opened) == 1
    assert (engine.sink.transactions, engine.sink.taken_back) == ([], [transaction.id])


def test_a_program_without_anything_to_say_is_not_open(engine):
    engine.tracer.begin_ambient("program", engine.clock.now, 1, None)
    engine.clock.advance(5 * SECOND)
    assert engine.tracer.look() == pytest.approx(1.0)
    assert engine.sink.opened == []
    span(engine, engine.tracer.ambient)
    assert engine.sink.opened[0][0] is engine.tracer.ambient


def test_a_program_that_serves_later_ends_where_its_spans_are_on_their_way(engine):
    engine.tracer.begin_ambient("program", engine.clock.now, 1, None)
    ambient = engine.tracer.ambient
    engine.clock.advance(2 * SECOND)
    begun = span(engine, ambient)
    engine.tracer.claim()
    assert [ended for ended, _ in engine.sink.transactions] == [ambient]
    assert begun.transaction is ambient
    assert engine.tracer.look() is None


def test_a_program_that_serves_before_is_none(engine):
    engine.tracer.begin_ambient("program", engine.clock.now, 1, None)
    span(engine, engine.tracer.ambient)
    engine.tracer.claim()
    engine.clock.advance(5 * SECOND)
    assert engine.tracer.look() is None
    assert (engine.sink.transactions, engine.sink.opened, engine.sink.taken_back) == ([], [], [])


def test_a_child_leaves_its_parents_to_the_parent(engine, monkeypatch):
    engine.begin()
    engine.clock.advance(2 * SECOND)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    engine.tracer.forked()
    assert engine.tracer.look() is None
    assert engine.sink.opened == []


def query(engine, parent):
    begun = engine.tracer.begin(SpanDraft("SELECT", "db", "sqlite"), parent)
    engine.tracer.end(begun)
    return begun


def test_what_may_yet_become_part_of_a_longer_span_is_told_of():
    engine = Engine(span_compression_enabled="true", breakdown_metrics="false")
    transaction = engine.begin()
    early = query(engine, transaction)
    engine.clock.advance(SECOND)
    engine.tracer.look()
    assert (engine.sink.held, early.held) == ([early], True)
    query(engine, transaction)
    assert engine.sink.held == [early, early]
    assert early.composite.count == 2
    assert [spans for _, spans, *_ in engine.sink.opened] == [[], []]
    other = span(engine, transaction)
    assert [spans for _, spans, *_ in engine.sink.opened] == [[], [], [early], [other]]
    engine.tracer.end_transaction(transaction)
    assert sum(transaction.handed_over) == 2


def test_what_was_told_of_and_is_dropped_after_all_is_taken_back():
    engine = Engine(
        span_compression_enabled="true",
        exit_span_min_duration="1ms",
        breakdown_metrics="false",
        transaction_max_spans="5",
    )
    transaction = engine.begin()
    engine.clock.advance(2 * SECOND)
    held = query(engine, transaction)
    assert engine.sink.held == [held]
    engine.tracer.end_transaction(transaction)
    assert engine.sink.taken_back == [held.id]
    assert engine.sink.spans(transaction) == []


def test_a_program_whose_queries_are_all_alike_ends_after_ten_minutes_too():
    engine = Engine(span_compression_enabled="true", breakdown_metrics="false")
    engine.tracer.begin_ambient("program", engine.clock.now, 1, None)
    program = engine.tracer.ambient
    query(engine, program)
    engine.clock.advance(601 * SECOND)
    engine.tracer.look()
    assert engine.tracer.ambient is None
    assert len(engine.sink.spans(program)) == 1
