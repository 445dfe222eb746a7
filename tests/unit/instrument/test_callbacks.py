"""Spans between two callbacks: by key, in threads, tasks and each other; bounded; and what gives them up."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextvars import Context, copy_context

import pytest
from tests.engine import Engine, running

from apm_run import guard
from apm_run.instrument import callbacks
from apm_run.instrument.callbacks import Pair, abandoning, under_way
from apm_run.instrument.vocabulary import Abandon, Callbacks
from apm_run.model import SpanDraft
from apm_run.tracer import current


class Event:
    def __init__(self, key, name="", *, failed=False):
        self.key = key
        self.name = name or str(key)
        self.failed = failed


def describe(call, settings):
    (event,) = call.args
    return SpanDraft(event.name, "db", "mongodb", event.name) if event.name != "nothing" else None


def observe(call, event, draft):
    assert call.args[0].key == event.key
    if event.failed:
        draft.outcome = "failure"


def both(begin, end):
    return begin, end


TARGET = Callbacks("library:register", both, describe, key=lambda event: event.key, observe=observe)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def pair(engine):
    yield Pair(TARGET, engine.tracer, TARGET.path)
    assert under_way.get() is None


def spans(engine, transaction):
    return [(span.draft.name, span.outcome) for span in engine.sink.spans(transaction)]


def test_two_callbacks_are_a_span(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1))
        engine.clock.advance(5)
        pair.end(Event(1))
    span = engine.one_span(transaction)
    assert span.outcome == "success"
    assert 5e6 <= span.end_ns - span.start_ns < 5.1e6
    assert span.parent is transaction
    assert span.sync


def test_the_second_one_says_how_it_went(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1))
        pair.end(Event(1, failed=True))
    assert spans(engine, transaction) == [("1", "failure")]


def test_they_end_in_any_order(engine, pair):
    with engine.transaction() as transaction:
        for key in "abc":
            pair.begin(Event(key))
        for key in "acb":
            pair.end(Event(key))
    assert spans(engine, transaction) == [("a", "success"), ("c", "success"), ("b", "success")]


def test_what_is_no_span_is_not_waited_for(engine, pair):
    pair.begin(Event(1))  # outside any transaction
    with engine.transaction() as transaction:
        pair.end(Event(1))
        pair.begin(Event(2, "nothing"))
        pair.end(Event(2))
        pair.begin(Event(3))
        pair.end(Event(4))  # of another one, that was not begun
        pair.end(Event(3))
    assert spans(engine, transaction) == [("3", "success")]
    assert pair._begun == {}


def test_a_callback_of_the_programs_may_call_the_library(engine, pair):
    """Between the two of the outer one, before and after others of the same context."""
    with engine.transaction() as transaction:
        pair.begin(Event("outer"))
        for key in ("first", "second"):
            pair.begin(Event(key))
            pair.end(Event(key))
        assert under_way.get().key == "outer"
        pair.end(Event("outer"))
    assert spans(engine, transaction) == [("first", "success"), ("second", "success"), ("outer", "success")]


def test_the_second_callback_comes_in_another_thread(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1))
        thread = threading.Thread(target=pair.end, args=(Event(1),))
        thread.start()
        thread.join()
        pair.begin(Event(2))  # here it is still said to be under way, and passed over
        assert under_way.get().before is None
        pair.end(Event(2))
    assert spans(engine, transaction) == [("1", "success"), ("2", "success")]


def test_a_context_that_is_never_seen_again_holds_nothing(engine, pair):
    context = Context()
    transaction = engine.begin()
    with running(transaction):
        context = copy_context()
    context.run(pair.begin, Event(1))
    kept = weakref.ref(transaction)
    pair.end(Event(1))
    engine.tracer.end_transaction(transaction)
    assert spans(engine, transaction) == [("1", "success")]
    engine.sink.transactions.clear()
    context.run(current.set, None)
    del transaction
    gc.collect()
    assert kept() is None
    assert context[under_way].opened is None


def test_tasks_do_not_mix(engine, pair):
    async def one(number):
        with running(transactions[number]):
            for turn in range(3):
                pair.begin(Event((number, turn), f"{number}.{turn}"))
                await asyncio.sleep(0)
                assert under_way.get().key == (number, turn)
                pair.end(Event((number, turn)))

    async def all_of_them():
        await asyncio.gather(*map(one, range(50)))

    transactions = [engine.begin() for _ in range(50)]
    asyncio.run(all_of_them())
    for number, transaction in enumerate(transactions):
        engine.tracer.end_transaction(transaction)
        assert spans(engine, transaction) == [(f"{number}.{turn}", "success") for turn in range(3)]
        assert {span.sync for span in engine.sink.spans(transaction)} == {False}


def test_threads_do_not_mix(engine, pair):
    def work(number):
        transaction = transactions[number]
        with running(transaction):
            for turn in range(200):
                pair.begin(Event((number, turn), f"{number}"))
                pair.end(Event((number, turn)))

    transactions = [engine.begin() for _ in range(8)]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, transaction in enumerate(transactions):
        engine.tracer.end_transaction(transaction)
        assert spans(engine, transaction) == [(f"{number}", "success")] * 200


def test_a_key_that_comes_again_has_lost_its_first_span(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1, "first"))
        pair.begin(Event(1, "second"))
        pair.end(Event(1))
    assert spans(engine, transaction) == [("first", "unknown"), ("second", "success")]


def test_what_never_ends_is_given_up(engine, pair, monkeypatch):
    """However many: the oldest ones first, a few at once, and memory stays bounded."""
    monkeypatch.setattr(callbacks, "LIMIT", 100)
    with engine.transaction() as transaction:
        for key in range(1000):
            pair.begin(Event(key))
            assert len(pair._begun) <= 100
        for key in range(1000):
            pair.end(Event(key))
    found = spans(engine, transaction)[:500]
    assert found[:2] == [("0", "unknown"), ("1", "unknown")]
    lost = [int(span.draft.name) for span in engine.sink.spans(transaction) if span.outcome == "unknown"]
    assert lost == list(range(len(lost)))


def test_a_key_that_fails_ends_its_span(engine, pair, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    with engine.transaction() as transaction:
        pair.begin(Event([]))  # cannot be hashed
        pair.begin(Event(1))
        pair.end(object())
        pair.end(Event(1))
    assert spans(engine, transaction) == [("[]", "unknown"), ("1", "success")]
    assert {place: count for place, (count, _) in guard.failures.items()} == {"library:register: key": 2}


def giving_up(of=TARGET.path, when=lambda call: call.args[0] == "over"):
    return abandoning(Abandon("library:close", of, when), None, "library:close")


def test_what_is_broken_off_is_unknown(engine, pair):
    abandon = giving_up()
    with engine.transaction() as transaction:
        abandon(("over",), {})  # nothing is under way
        pair.begin(Event("outer"))
        pair.begin(Event("inner"))
        abandon(("not yet",), {})
        abandon(("over",), {})
        pair.end(Event("inner"))  # after all: too late
        pair.end(Event("outer"))
    assert spans(engine, transaction) == [("inner", "unknown"), ("outer", "success")]


def test_another_librarys_is_left_alone(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1))
        giving_up(of="other:register")(("over",), {})
        pair.end(Event(1))
    assert spans(engine, transaction) == [("1", "success")]


def test_it_is_given_up_once(engine, pair):
    with engine.transaction() as transaction:
        pair.begin(Event(1))
        pair.abandon(1)
        pair.abandon(1)
    assert spans(engine, transaction) == [("1", "unknown")]
