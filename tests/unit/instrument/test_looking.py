"""Functions that others make, results that are looked at, and errors that are told twice."""

from __future__ import annotations

import inspect
import logging
import sys
from types import ModuleType

import pytest
from tests.engine import Engine, running

from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Instrumentation, Retold, Target, Watch
from apm_run.model import SpanDraft
from apm_run.tracer import current


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def staged(engine, target, expected="wrapped", **attributes):
    module = ModuleType("library")
    vars(module).update(attributes)
    results = {}
    instrument(Instrumentation("library", "", (target,)), module, engine.tracer, results)
    assert results == {target.path: expected}
    return module


def made(word: str, times: int = 1):
    """Make one."""
    if not word:
        raise ValueError(word)

    def say(who: str) -> str:
        return f"{word} {who}" * times

    return say


def test_what_a_function_makes_is_a_span(engine):
    target = Target("library:made", lambda call: SpanDraft(f"say {call.args[0]}", "custom"), made=True)
    module = staged(engine, target, made=made)
    assert inspect.signature(module.made) == inspect.signature(made)
    say = module.made("hello", times=2)
    assert inspect.signature(say) == inspect.signature(say.__wrapped__)
    assert say.__qualname__ == "made.<locals>.say"
    with engine.transaction() as transaction:
        assert say("you") == "hello youhello you"
    assert engine.one_span(transaction).draft.name == "say you"


def test_what_it_raises_shows_no_frame_of_ours(engine):
    module = staged(engine, Target("library:made", lambda call: None, made=True), made=made)
    with pytest.raises(ValueError) as caught:
        module.made("")
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "made"
    assert len(names) == (2 if sys.version_info >= (3, 11) else 3)


def test_a_result_is_looked_at_with_and_without_a_transaction(engine):
    seen = []
    target = Watch("library:work", lambda call, result, transaction: seen.append((call.args, result, transaction)))
    module = staged(engine, target, work=lambda word: word.upper())
    assert module.work("a") == "A"
    with engine.transaction() as transaction:
        module.work("b")
    engine.tracer.active = False
    module.work("c")
    assert seen == [(("a",), "A", None), (("b",), "B", transaction)]


def test_only_a_plain_function_is_looked_at(engine):
    async def work():
        pass

    staged(engine, Watch("library:work", lambda *_: None), "skipped: no plain function", work=work)


def test_only_a_function_can_tell_twice(engine):
    staged(engine, Retold("library:work"), "skipped: no function", work=len)


def test_an_error_that_is_told_twice(engine):
    record = logging.LogRecord("shop", logging.ERROR, "x.py", 1, "failed", (), None)

    def work():
        engine.tracer.told(None, record, sys._getframe())

    def wrapped():
        work()

    wrapped.__wrapped__ = work
    staged(engine, Retold("library:work"), work=wrapped)
    transaction = engine.tracer.begin_transaction("job", "test")
    with running(transaction):
        work()
        assert not transaction.errors
        engine.tracer.told(None, record, sys._getframe())
        engine.tracer.told(None, record, None)
        assert len(transaction.errors) == 2
    work()  # nobody reports it otherwise
    assert len(engine.sink.errors) == 1
