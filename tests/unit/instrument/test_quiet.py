"""What a library does on its own account makes no spans."""

from __future__ import annotations

import pytest
from tests.engine import Engine, exit_span, running
from tests.faults.program import Suspend, finished

from apm_run.instrument.quiet import Silence
from apm_run.instrument.wrap import function
from apm_run.tracer import current


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def quiet(engine, original):
    return function(original, Silence(engine.tracer, "test:quiet"))


def test_nothing_below_it(engine):
    inside = []
    work = engine.wrap(inside.append, exit_span)
    with engine.transaction() as transaction:
        quiet(engine, work)(1)
        work(2)
    assert inside == [1, 2]
    assert engine.one_span(transaction).parent is transaction


def test_its_errors_pass(engine):
    error = KeyError()

    async def failing():
        await Suspend()
        raise error

    with engine.transaction() as transaction:
        with pytest.raises(KeyError) as caught:
            finished(quiet(engine, failing)())
        assert current.get() is transaction
    assert caught.value is error
    assert engine.sink.spans(transaction) == []


def test_what_outlives_it_hangs_where_it_hung(engine):
    kept = []
    with engine.transaction() as transaction:
        quiet(engine, lambda: kept.append(current.get()))()
        with running(kept[0]):  # a task that was begun in it
            engine.wrap(lambda: None, exit_span)()
    assert engine.one_span(transaction).parent is transaction


def test_it_has_its_parents_id(engine):
    kept = []
    with engine.transaction() as transaction:
        quiet(engine, lambda: kept.append(engine.tracer.headers(current.get())["traceparent"]))()
    assert kept[0].split("-")[2] == transaction.id


def test_without_a_transaction_it_is_the_call(engine):
    assert quiet(engine, lambda value: (value, current.get()))(5) == (5, None)


def test_time_below_it_is_its_parents_own(engine):
    with engine.transaction() as transaction:
        quiet(engine, lambda: engine.clock.advance(50))()
    assert transaction.children == 0
    assert transaction.child_ns == 0


def test_without_metrics():
    engine = Engine(breakdown_metrics="false")
    with engine.transaction() as transaction:
        assert quiet(engine, lambda: 5)() == 5
    assert engine.sink.spans(transaction) == []
