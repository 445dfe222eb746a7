"""Begin and end of transactions and spans: ids, times, sampling, limits, and threads at the very end."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter

import pytest
from tests.engine import WALL, Engine, running

from apm_run.model import SpanDraft
from apm_run.propagation import TraceContext
from apm_run.tracer import Tracer, current


def draft(name="work", exit=False):
    return SpanDraft(name, "custom", exit=exit)


@pytest.fixture
def engine():
    return Engine()


def test_a_transaction_and_its_spans(engine):
    transaction = engine.begin("name")
    engine.clock.advance(2)
    outer = engine.tracer.begin(draft("outer"), transaction)
    engine.clock.advance(3)
    inner = engine.tracer.begin(draft("inner"), outer)
    engine.clock.advance(5)
    engine.tracer.end(inner)
    engine.tracer.end(outer)
    engine.clock.advance(1)
    engine.tracer.end_transaction(transaction)
    ((ended, spans),) = engine.sink.transactions
    assert ended is transaction
    assert spans == [inner, outer]
    assert (inner.parent_id, outer.parent_id) == (outer.id, transaction.id)
    assert (inner.end_ns - inner.start_ns) // 1_000_000 == 5
    assert (transaction.end_ns - transaction.start_ns) // 1_000_000 == 11
    assert {span.outcome for span in spans} == {transaction.outcome} == {"success"}


def test_times_are_of_one_reading_of_the_wall_clock():
    readings = iter([WALL, WALL + 5_000_000_000_000, 0])
    engine = Engine()
    engine.tracer = Tracer(engine.tracer.settings, engine.sink, clock=engine.clock, wall=lambda: next(readings))
    transaction = engine.begin()
    assert transaction.timestamp == WALL // 1000
    engine.clock.advance(250)
    span = engine.tracer.begin(draft(), transaction)
    assert span.timestamp == WALL // 1000 + 250_000
    engine.clock.advance(250)
    transaction.capture(ValueError(), handled=True)
    assert transaction.errors[0]["timestamp"] == WALL // 1000 + 500_000
    engine.tracer.end_transaction(transaction)
    assert next(readings) == WALL + 5_000_000_000_000


def test_a_transaction_that_began_before_us(engine):
    engine.tracer.begin_ambient("program", 500_000_000, 1_000, None)
    span = engine.tracer.begin(draft(), engine.tracer.ambient)
    assert span.timestamp == 1_000 + 500_000


def test_ids_are_never_zero_and_of_full_length(engine):
    class Zeros:
        def __init__(self, *values):
            self.values = list(values)

        def getrandbits(self, bits):
            return self.values.pop(0) if self.values else 1

    engine.tracer._bits = Zeros(0, 0, 0xAB).getrandbits
    transaction = engine.begin()
    assert (transaction.id, transaction.trace_id) == (f"{1:016x}", f"{1:032x}")
    span = engine.tracer.begin(draft(), transaction)
    assert span.id == f"{0xAB:016x}"


def test_ids_follow_the_seed_and_differ_without_one():
    def ids(tracer):
        transaction = tracer.begin_transaction("name", "type")
        return transaction.id, transaction.trace_id, tracer.begin(draft(), transaction).id

    first, second = Engine(), Engine()
    assert ids(first.tracer) == ids(second.tracer)
    unseeded = [Tracer(first.tracer.settings, first.sink) for _ in range(2)]
    assert not set(ids(unseeded[0])) & set(ids(unseeded[1]))


@pytest.mark.parametrize("context", [None, TraceContext("1" * 32, "2" * 16, True, "")], ids=["root", "continued"])
def test_a_child_forked_in_c_draws_other_ids(engine, monkeypatch, context):
    """As uWSGI forks: no hook of the interpreter's runs in the child."""
    first = Engine().tracer.begin_transaction("name", "request", context).id
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert engine.tracer.begin_transaction("name", "request", context).id != first


def test_an_error_in_a_child_forked_in_c_has_another_id(engine, monkeypatch):
    twin = Engine()
    twin.tracer.capture(ValueError(), None, handled=True)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    engine.tracer.capture(ValueError(), None, handled=True)
    assert engine.sink.errors[0]["id"] != twin.sink.errors[0]["id"]


def test_a_forked_child_draws_other_ids_and_ends_nothing_of_its_parent(engine):
    transaction = engine.begin()
    twin = Engine()
    twin.begin()
    with running(engine.tracer.begin(draft(), transaction)):
        engine.tracer.forked()
        span = engine.tracer.begin(draft(), current.get())
    assert span.id != twin.tracer._id()
    engine.tracer.end(span)
    assert engine.sink.late == [span]
    engine.tracer.end_transaction(transaction)
    assert engine.sink.transactions == []
    with running(None):
        engine.tracer.forked()


@pytest.mark.parametrize(("rate", "sampled", "tracestate"), [("1.0", True, "es=s:1"), ("0", False, "es=s:0")])
def test_sampling_of_a_root(rate, sampled, tracestate):
    engine = Engine(transaction_sample_rate=rate)
    for _ in range(50):
        transaction = engine.begin()
        assert (transaction.sampled, transaction.sample_rate) == (sampled, float(rate))
        assert transaction.tracestate == tracestate
        assert transaction.parent_id is None


def test_sampling_of_some():
    engine = Engine(transaction_sample_rate="0.25")
    transactions = [engine.begin() for _ in range(4000)]
    sampled = [one for one in transactions if one.sampled]
    assert 850 < len(sampled) < 1150
    assert {one.sample_rate for one in sampled} == {0.25}
    assert {one.tracestate for one in sampled} == {"es=s:0.25"}
    assert {(one.sample_rate, one.tracestate) for one in transactions if not one.sampled} == {(0, "es=s:0")}


@pytest.mark.parametrize(
    ("sampled", "state", "rate"),
    [(True, "es=s:0.5", 0.5), (True, "", None), (True, "es=s:wrong", None), (False, "es=s:0.5", 0), (False, "", 0)],
)
@pytest.mark.parametrize("own", ["0", "1"])
def test_an_incoming_decision_is_kept(own, sampled, state, rate):
    engine = Engine(transaction_sample_rate=own)
    transaction = engine.begin(context=TraceContext("ab" * 16, "cd" * 8, sampled, state))
    assert (transaction.trace_id, transaction.parent_id) == ("ab" * 16, "cd" * 8)
    assert (transaction.sampled, transaction.sample_rate, transaction.tracestate) == (sampled, rate, state)
    assert transaction.id not in ("cd" * 8, "ab" * 16)


@pytest.mark.parametrize(("maximum", "kept"), [("0", 0), ("3", 3), ("5", 5), ("-1", 5)])
def test_maximum_of_spans(maximum, kept):
    engine = Engine(transaction_max_spans=maximum)
    transaction = engine.begin()
    spans = [engine.tracer.begin(draft(), transaction) for _ in range(5)]
    for span in spans:
        engine.tracer.end(span)
    engine.tracer.end_transaction(transaction)
    assert engine.sink.spans(transaction) == spans[:kept]
    assert transaction.dropped() == 5 - kept


@pytest.mark.usefixtures("restless")
def test_maximum_of_spans_is_exact_under_threads():
    engine = Engine(transaction_max_spans="1000")
    transaction = engine.begin()
    start = threading.Barrier(4)

    def work():
        start.wait()
        for _ in range(700):
            engine.tracer.end(engine.tracer.begin(draft(), transaction))

    in_threads(work, 4)
    engine.tracer.end_transaction(transaction)
    assert len(set(engine.sink.spans(transaction))) == 1000
    assert transaction.dropped() == 1800


def in_threads(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_a_span_that_ends_after_its_transaction_goes_by_itself(engine):
    transaction = engine.begin()
    span = engine.tracer.begin(draft(), transaction)
    engine.tracer.end_transaction(transaction)
    late = engine.tracer.begin(draft(), transaction)
    engine.tracer.end(span)
    engine.tracer.end(late)
    assert engine.sink.spans(transaction) == []
    assert engine.sink.late == [span, late]
    assert transaction.spans == []


def test_ends_count_once(engine):
    transaction = engine.begin()
    span = engine.tracer.begin(draft(), transaction)
    engine.tracer.end(span)
    end = span.end_ns
    engine.tracer.end(span)
    assert span.end_ns == end
    engine.tracer.end_transaction(transaction)
    engine.tracer.end_transaction(transaction)
    engine.tracer.end(span)
    assert engine.sink.transactions == [(transaction, [span])]
    assert engine.sink.late == []


@pytest.fixture
def restless():
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_nothing_is_lost_or_sent_twice_while_threads_end_spans_of_an_ending_transaction():
    engine = Engine(transaction_max_spans="-1", stack_trace_limit="0")
    ended: Counter[str] = Counter()
    captured: Counter[str] = Counter()
    for _ in range(150):
        transaction = engine.begin()
        start = threading.Barrier(4)
        spans = [[engine.tracer.begin(draft(), transaction) for _ in range(12)] for _ in range(2)]

        def end(mine, start=start, transaction=transaction):
            start.wait()
            for number, span in enumerate(mine):
                engine.tracer.end(span)
                if number % 3 == 0:
                    transaction.capture(ValueError(span.id), handled=True)

        def finish(start=start, transaction=transaction):
            start.wait()
            engine.tracer.end_transaction(transaction)

        threads = [threading.Thread(target=end, args=(mine,)) for mine in spans]
        threads += [threading.Thread(target=finish) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        ended.update(span.id for mine in spans for span in mine)
        captured.update(span.id for mine in spans for span in mine[::3])
    assert len(engine.sink.transactions) == 150
    reported = Counter(span.id for _, spans in engine.sink.transactions for span in spans)
    reported.update(span.id for span in engine.sink.late)
    assert reported == ended
    errors = Counter(e["exception"]["message"] for one, _ in engine.sink.transactions for e in one.errors)
    errors.update(event["exception"]["message"] for event in engine.sink.errors)
    assert errors == captured


def test_a_span_that_ends_between_the_end_and_the_look(engine):
    """The other thread has taken it along: it is not sent a second time."""

    class Taking(list):
        def append(self, span):
            taken.append(span)

    taken: list = []
    transaction = engine.begin()
    span = engine.tracer.begin(draft(), transaction)
    transaction.spans = Taking()
    transaction.ended = True
    engine.tracer.end(span)
    assert taken == [span]
    assert engine.sink.late == []


@pytest.mark.parametrize(("error", "outcome"), [(ValueError(), "failure"), (KeyboardInterrupt(), "unknown")])
def test_outcome_of_a_span_that_raised(engine, error, outcome):
    transaction = engine.begin()
    span = engine.tracer.begin(draft(), transaction)
    engine.tracer.fail(span, error)
    engine.tracer.end(span)
    assert span.outcome == outcome


def test_outcome_that_the_draft_knows_comes_first(engine):
    transaction = engine.begin()
    known = draft()
    known.outcome = "success"
    span = engine.tracer.begin(known, transaction)
    engine.tracer.fail(span, ValueError())
    engine.tracer.end(span)
    assert span.outcome == "success"
    span = engine.tracer.begin(draft(), transaction)
    span.outcome = "unknown"
    engine.tracer.fail(span, ValueError())
    engine.tracer.end(span)
    assert span.outcome == "unknown"


def test_outcome_of_a_transaction(engine):
    for given, failing, outcome in ((None, False, "success"), (None, True, "failure"), ("success", True, "success")):
        transaction = engine.begin()
        transaction.outcome = given
        if failing:
            transaction.capture(ValueError(), handled=True)
        engine.tracer.end_transaction(transaction)
        assert transaction.outcome == outcome


def test_names(engine):
    transaction = engine.begin("first")
    transaction.set_name("second")
    assert transaction.name == "second"
    transaction.named_by_user = True
    transaction.set_name("third")
    assert transaction.name == "second"
    assert transaction.transaction is transaction


def test_headers_without_a_tracestate(engine):
    transaction = engine.begin(context=TraceContext("ab" * 16, "cd" * 8, True, ""))
    assert engine.tracer.headers(transaction) == {"traceparent": f"00-{'ab' * 16}-{transaction.id}-01"}


def test_who_prepares_for_requests_is_told_once_that_a_program_is_claimed(engine):
    told = []
    engine.tracer.claimed = lambda: told.append(engine.tracer.ambient)
    engine.tracer.claim()
    assert told == []
    engine.tracer.begin_ambient("program", 0, 0, None)
    engine.tracer.claim()
    engine.tracer.claim()
    assert told == [None]


def test_claimed_programs_are_nobodys_parent(engine):
    engine.tracer.begin_ambient("program", 1, 1, TraceContext("ab" * 16, "cd" * 8, True, ""))
    assert engine.tracer.ambient.parent_id == "cd" * 8
    assert engine.tracer.ambient.type == "script"
    engine.tracer.claim()
    assert engine.tracer.ambient is None


def test_an_ignored_transaction_is_not_reported(engine):
    transaction = engine.begin()
    transaction.ignore()
    error = ValueError("of it")
    transaction.capture(error, handled=False)
    transaction.capture(error, handled=False)
    engine.tracer.end_transaction(transaction)
    assert engine.sink.transactions == []
    (event,) = engine.sink.errors
    assert "transaction_id" not in event
    assert transaction.sampled is False


def test_once_it_stands_aside_the_tracer_reports_nothing(engine):
    transaction, other = engine.begin(), engine.begin()
    late = engine.tracer.begin(draft(), other)
    engine.tracer.end_transaction(other)
    engine.tracer.active = False
    engine.tracer.end(late)
    transaction.capture(ValueError(), handled=True)
    engine.tracer.end_transaction(transaction)
    assert [one for one, _ in engine.sink.transactions] == [other]
    assert engine.sink.late == engine.sink.errors == []


def test_recording_off():
    assert Engine(recording="false").tracer.active is False


def stack_of(engine, milliseconds):
    transaction = engine.begin()
    span = engine.tracer.begin(draft(), transaction)
    engine.clock.advance(milliseconds)
    engine.tracer.end(span)
    return span.frames


@pytest.mark.parametrize(
    ("minimum", "milliseconds", "caught"),
    [("5ms", 4.9, False), ("5ms", 5, True), ("0ms", 0, True), ("-1ms", 1000, False), ("50ms", 49, False)],
)
def test_stack_of_slow_spans(minimum, milliseconds, caught):
    frames = stack_of(Engine(span_stack_trace_min_duration=minimum), milliseconds)
    assert bool(frames) is caught
    if caught:
        assert frames[0][0].co_name == "stack_of"


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_stack_trace_limit(limit):
    frames = stack_of(Engine(stack_trace_limit=str(limit)), 10)
    assert len(frames or ()) == limit


def test_dropped_spans_carry_no_stack():
    engine = Engine(transaction_max_spans="0")
    assert stack_of(engine, 10) is None


@pytest.mark.parametrize("full", [True, False])
def test_the_programs_transaction_is_reported_when_it_is_full_or_old(full):
    engine = Engine(transaction_max_spans="1")
    engine.tracer.begin_ambient("program", engine.clock(), WALL // 1000, None)
    program = engine.tracer.ambient
    spans = [engine.tracer.begin(draft(), program)]
    if full:
        spans.append(engine.tracer.begin(draft(), program))
    else:
        engine.clock.advance(11 * 60 * 1000)
    for span in spans:
        engine.tracer.end(span)
    assert engine.tracer.ambient is None
    assert engine.sink.spans(program) == spans[:1]
    assert engine.sink.late == []
