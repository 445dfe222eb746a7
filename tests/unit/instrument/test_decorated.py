"""Decorated functions: context managers of contextlib's, and plain functions around coroutine functions."""

from __future__ import annotations

import contextlib
import functools
import inspect

import pytest
from tests.engine import Engine, exit_span
from tests.faults.program import Suspend, finished

from apm_run.instrument import decorated
from apm_run.instrument.vocabulary import Target
from apm_run.instrument.wrap import Interceptor
from apm_run.model import TransactionDraft
from apm_run.tracer import current


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def wrap(engine, original, describe=exit_span, **more):
    return decorated.function(original, Interceptor(Target("test:work", describe, **more), engine.tracer, "test:work"))


@contextlib.contextmanager
def managed(value, inside):
    """Its words."""
    inside.append(current.get())
    yield value
    inside.append(current.get())


@contextlib.asynccontextmanager
async def managed_async(value, inside):
    inside.append(current.get())
    await Suspend()
    yield value
    inside.append(current.get())


def guarded(function):
    """As asyncpg decorates its methods."""

    @functools.wraps(function)
    def check(refused, *args):
        if refused:
            raise ValueError(refused)
        return function(refused, *args)

    return check


@guarded
async def work(refused, inside, error=None):
    inside.append(current.get())
    await Suspend()
    if error is not None:
        raise error
    return "result"


def test_a_span_as_long_as_the_with(engine):
    inside = []
    wrapper = wrap(engine, managed)
    assert (wrapper.__name__, wrapper.__doc__) == ("managed", "Its words.")
    assert inspect.signature(wrapper) == inspect.signature(managed)
    with engine.transaction() as transaction:
        made = wrapper(5, inside)
        engine.clock.advance(100)
        with made as value:
            assert value == 5
            assert current.get() is transaction
            engine.clock.advance(7)
    span = engine.one_span(transaction)
    assert inside == [span, span]
    assert (span.outcome, span.sync) == ("success", True)
    assert span.end_ns - span.start_ns == pytest.approx(7e6, abs=100)


def test_a_with_that_is_left_by_an_exception(engine):
    error = KeyError("mine")
    wrapper = wrap(engine, managed)
    with engine.transaction() as transaction, pytest.raises(KeyError) as caught, wrapper(5, []):
        raise error
    assert caught.value is error
    assert engine.one_span(transaction).outcome == "failure"


def test_a_context_manager_that_is_a_decorator_too(engine):
    inside = []
    with engine.transaction() as transaction:
        assert wrap(engine, managed)(5, inside)(lambda: "done")() == "done"
    assert len(engine.sink.spans(transaction)) == 1


def test_an_asynchronous_one(engine):
    inside = []
    wrapper = wrap(engine, managed_async)

    async def use():
        async with wrapper(5, inside) as value:
            assert value == 5
            assert current.get() is transaction

    with engine.transaction() as transaction:
        finished(use())
    span = engine.one_span(transaction)
    assert inside == [span, span]
    assert (span.outcome, span.sync) == ("success", False)


def test_a_plain_function_around_a_coroutine_function(engine):
    inside = []
    wrapper = wrap(engine, work)
    assert not inspect.iscoroutinefunction(wrapper)
    with engine.transaction() as transaction:
        made = wrapper("", inside)
        assert inspect.iscoroutine(made)
        engine.clock.advance(100)
        assert finished(made) == "result"
        assert current.get() is transaction
    span = engine.one_span(transaction)
    assert inside == [span]
    assert (span.outcome, span.sync) == ("success", False)
    assert span.end_ns - span.start_ns < 1e6


def test_its_errors_are_the_same_objects(engine):
    error = KeyError("theirs")
    wrapper = wrap(engine, work)
    with engine.transaction() as transaction:
        with pytest.raises(KeyError) as caught:
            finished(wrapper("", [], error))
        assert caught.value is error
        with pytest.raises(ValueError, match="refused"):
            wrapper("refused", [])
    assert engine.one_span(transaction).outcome == "failure"
    with pytest.raises(KeyError) as caught:
        finished(wrapper("", [], error))
    assert caught.value is error


def test_no_span_where_nothing_runs_or_nothing_is_said(engine):
    inside = []
    assert finished(wrap(engine, work)("", inside)) == "result"
    silent = wrap(engine, work, lambda call: None)
    with engine.transaction() as transaction:
        assert finished(silent("", inside)) == "result"
        with pytest.raises(KeyError):
            finished(silent("", inside, KeyError()))
        late = wrap(engine, work)("", inside)
        transaction.sampled = False
        assert finished(late) == "result"
    assert inside == [None, transaction, transaction, transaction]
    assert engine.sink.spans(transaction) == []


def test_what_it_hands_out_need_not_be_a_coroutine(engine):
    @functools.wraps(work.__wrapped__)
    def found(value):
        return value

    with engine.transaction() as transaction:
        assert wrap(engine, found)(5) == 5
    assert engine.sink.spans(transaction) == []


def decorated_plain():
    @functools.wraps(lambda value: value)
    def found(value):
        return value

    return found


def not_of_contextlib():
    @functools.wraps(managed.__wrapped__)
    def found(value):
        return value

    return found


class Callable:
    __wrapped__ = managed.__wrapped__

    def __call__(self, value):
        return value


@pytest.mark.parametrize("make", [decorated_plain, not_of_contextlib, Callable])
def test_others_are_what_they_are(engine, make):
    with engine.transaction() as transaction:
        assert wrap(engine, make())(5) == 5
    assert engine.one_span(transaction).outcome == "success"


def test_an_entry_is_its_call(engine):
    wrapper = wrap(engine, work, lambda call: TransactionDraft("job", "messaging"), entry=True)
    finished(wrapper("", []))
    assert [transaction.name for transaction, _ in engine.sink.transactions] == ["job"]
