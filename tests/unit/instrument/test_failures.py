"""Calls that are a span only where they fail."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from tests.engine import Engine, exit_span

from apm_run.instrument import failures, wrap
from apm_run.instrument.place import Missing
from apm_run.instrument.vocabulary import Target


@pytest.fixture
def engine():
    return Engine()


def wrapped(engine, function, describe=exit_span):
    return failures.function(function, wrap.Interceptor(Target("test:work", describe), engine.tracer, "test:work"))


def work(engine, error=None):
    engine.clock.advance(5)
    if error is not None:
        raise error
    return "result"


async def waiting(engine, error=None):
    await asyncio.sleep(0)
    return work(engine, error)


def called(function, *args):
    result = function(*args)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


@pytest.mark.parametrize("function", [work, waiting])
def test_what_succeeds_is_nothing(engine, function):
    with engine.transaction() as transaction:
        assert called(wrapped(engine, function), engine) == "result"
    assert engine.sink.spans(transaction) == []


@pytest.mark.parametrize("function", [work, waiting])
@pytest.mark.parametrize(("kind", "outcome"), [(OSError, "failure"), (asyncio.CancelledError, "unknown")])
def test_what_fails_is_a_span_as_long_as_it_took(engine, function, kind, outcome):
    error = kind("gone")
    with engine.transaction() as transaction, pytest.raises(kind) as caught:
        called(wrapped(engine, function), engine, error)
    if function is work:  # asyncio.run makes another one of a cancellation
        assert caught.value is error
    span = engine.one_span(transaction)
    assert span.outcome == outcome
    assert 5e6 <= span.end_ns - span.start_ns < 5.1e6
    assert span.sync == (function is work)


@pytest.mark.parametrize("function", [work, waiting])
def test_outside_a_transaction_it_is_nothing(engine, function):
    error = OSError("gone")
    with pytest.raises(OSError, match="gone") as caught:
        called(wrapped(engine, function), engine, error)
    assert caught.value is error
    assert engine.sink.late == []


def test_a_failure_may_be_none(engine):
    with engine.transaction() as transaction, pytest.raises(OSError, match="gone"):
        wrapped(engine, work, lambda call: None)(engine, OSError("gone"))
    assert engine.sink.spans(transaction) == []


def test_its_time_counts_as_that_of_a_span():
    """In the breakdown, from when it has begun; beside another one that runs, that one's time is no longer."""
    engine = Engine(breakdown_metrics="true")
    fails = wrapped(engine, work)
    with engine.transaction() as transaction:
        engine.clock.advance(1)
        with pytest.raises(OSError, match="gone"):
            fails(engine, OSError("gone"))
        assert 5e6 <= transaction.child_ns < 5.1e6
        beside = engine.tracer.begin(exit_span(None), transaction)
        with pytest.raises(OSError, match="gone"):
            fails(engine, OSError("gone"))
        engine.tracer.end(beside)
        assert 10e6 <= transaction.child_ns < 10.1e6


def test_it_is_wrapped_once(engine):
    with pytest.raises(Missing, match="handed on"):
        wrapped(engine, wrapped(engine, work))


def generator():
    yield


async def async_generator():
    yield


@pytest.mark.parametrize("function", [generator, async_generator])
def test_generators_are_left_alone(engine, function):
    with pytest.raises(Missing, match="generator"):
        wrapped(engine, function)
