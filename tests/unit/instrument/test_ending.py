"""Calls whose span ends when the library's own hook says so."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from functools import partial

import pytest
from tests.engine import Engine, exit_span, job

from apm_run import guard
from apm_run.instrument import patch, wrap
from apm_run.instrument.ending import ending
from apm_run.instrument.place import Missing
from apm_run.instrument.vocabulary import Apart, Remember, Target
from apm_run.model import Call, SpanDraft
from apm_run.tracer import current


class Stream:
    """What a call begins: it calls those who have asked for its end."""

    def __init__(self, requests=()):
        self.requests = requests
        self.hooks = []
        self.status = None

    def finish(self, status="fine"):
        self.status = status
        hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook(self)


def until(call, result, end):
    result.hooks.append(end)
    return result


def observe(call, result, draft):
    draft.context = {"tags": {"status": str(getattr(result, "status", result))}}


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


@pytest.fixture
def lenient(monkeypatch):
    """As in a traced program: failures are recorded only."""
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    return guard.failures


def wrapped(engine, original, until=until, describe=exit_span, **functions):
    target = Target("test:stream", describe, until=until, **functions)
    return ending(original, wrap.Interceptor(target, engine.tracer, target.path), target.until)


def status(span):
    return span.draft.context["tags"]["status"]


def test_it_ends_when_the_library_says_so(engine):
    open_stream = wrapped(engine, lambda: Stream(), observe=observe)
    with engine.transaction() as transaction:
        stream = open_stream()
        assert current.get() is transaction
        engine.clock.advance(milliseconds=5)
        assert transaction.spans == []
        stream.finish()
        stream.finish()
    span = engine.one_span(transaction)
    assert (span.outcome, status(span), span.sync) == ("success", "fine", False)
    assert span.end_ns - span.start_ns > 5_000_000


def test_it_is_not_current_in_what_it_starts(engine):
    """What produces the messages of a stream is the program's: its spans hang where the call does."""
    inner = engine.wrap(lambda: None)
    seen = []

    def begin():
        seen.append(current.get())
        inner()
        return Stream()

    open_stream = wrapped(engine, begin)
    with engine.transaction() as transaction:
        open_stream().finish()
    assert seen == [transaction]
    assert [span.parent for span in engine.sink.spans(transaction)] == [transaction, transaction]


def test_it_ends_after_its_transaction(engine):
    open_stream = wrapped(engine, lambda: Stream())
    with engine.transaction():
        stream = open_stream()
    stream.finish()
    (span,) = engine.sink.late
    assert span.outcome == "success"


def test_it_ends_in_another_thread(engine):
    open_stream = wrapped(engine, lambda: Stream(), observe=observe)
    with engine.transaction() as transaction:
        thread = threading.Thread(target=open_stream().finish)
        thread.start()
        thread.join()
    assert status(engine.one_span(transaction)) == "fine"


def test_it_has_ended_within_the_call(engine):
    def ended(call, result, end):
        end()
        return result

    open_stream = wrapped(engine, lambda: Stream(), ended, observe=observe)
    with engine.transaction() as transaction:
        open_stream()
        assert len(transaction.spans) == 1
    assert status(engine.one_span(transaction)) == "None"


def test_it_ends_with_the_call(engine):
    """The library says that there is nothing to wait for; whoever still calls the end does nothing."""
    ends = []
    open_stream = wrapped(engine, lambda: 5, lambda call, result, end: ends.append(end), observe=observe)
    with engine.transaction() as transaction:
        assert open_stream() == 5
        ends.pop()()
    assert status(engine.one_span(transaction)) == "5"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_the_call_raises(engine, error):
    def fail():
        raise error

    open_stream = wrapped(engine, fail)
    with engine.transaction() as transaction, pytest.raises(type(error)) as caught:
        open_stream()
    assert caught.value is error
    assert error.__traceback__.tb_next.tb_frame.f_code is fail.__code__
    assert engine.one_span(transaction).outcome == ("failure" if isinstance(error, Exception) else "unknown")


def test_nobody_is_left_who_could_end_it(engine):
    open_stream = wrapped(engine, lambda: Stream(), observe=observe)
    with engine.transaction() as transaction:
        open_stream()
        gc.collect()
    span = engine.one_span(transaction)
    assert (span.outcome, status(span)) == ("unknown", "None")


def test_the_library_knows_how_what_was_forgotten_has_gone(engine):
    def forgotten(call, result, draft):
        draft.outcome = "failure"

    open_stream = wrapped(engine, lambda: Stream(), observe=forgotten)
    with engine.transaction() as transaction:
        open_stream()
        gc.collect()
    assert engine.one_span(transaction).outcome == "failure"


def test_nothing_of_the_program_is_kept_alive(engine):
    """Neither the arguments, nor what the call has made: a library may do something when that is forgotten."""
    open_stream = wrapped(engine, lambda requests: Stream(), observe=observe)

    class Requests:
        pass

    requests = Requests()
    found = weakref.ref(requests)
    with engine.transaction():
        stream = open_stream(requests)
        del requests
        assert found() is None
        made = weakref.ref(stream)
        gc.disable()
        try:
            del stream
            assert made() is None
        finally:
            gc.enable()


class Slotted:
    __slots__ = ("hooks", "status")

    def __init__(self):
        self.hooks = []

    def finish(self):
        self.status = "fine"
        for hook in self.hooks:
            hook()


def test_what_knows_takes_no_weak_references(engine):
    open_stream = wrapped(engine, Slotted, observe=observe)
    with engine.transaction() as transaction:
        stream = open_stream()
        stream.finish()
    assert status(engine.one_span(transaction)) == "fine"


def test_a_faulty_hook_ends_it_with_the_call(engine, lenient):
    open_stream = wrapped(engine, lambda: Stream(), lambda call, result, end: 1 / 0)
    with engine.transaction() as transaction:
        assert isinstance(open_stream(), Stream)
    assert engine.one_span(transaction).outcome == "success"
    assert list(lenient) == ["test:stream: until"]


def test_headers_and_calls_that_are_none(engine):
    def rewrite(call, headers):
        return (headers["traceparent"],), {}

    sent = []
    open_stream = wrapped(engine, lambda value: sent.append(value) or Stream(), rewrite=rewrite)
    none = wrapped(engine, lambda value: sent.append(value), describe=lambda call: None, rewrite=rewrite)
    with engine.transaction() as transaction:
        open_stream("mine").finish()
        none("mine")
    span = engine.one_span(transaction)
    assert [each.split("-")[2] for each in sent] == [span.id, transaction.id]
    none("outside")
    assert sent[2] == "outside"


def test_in_a_forked_child_it_ends_in_the_parent_only(engine):
    open_stream = wrapped(engine, lambda: Stream())
    with engine.transaction() as transaction:
        stream = open_stream()
        engine.tracer._pid = -1  # as the child has it
        stream.finish()
        engine.tracer._pid = os.getpid()
        assert transaction.spans == []


def test_its_stack_says_nothing():
    """Where the library finds the end is not where the program has asked."""
    engine = Engine(span_stack_trace_min_duration="0ms")
    later = wrapped(engine, lambda: Stream())
    at_once = wrapped(engine, lambda: Stream(), lambda *_: None)
    with engine.transaction() as transaction:
        at_once()
        later().finish()
    assert [bool(span.frames) for span in engine.sink.spans(transaction)] == [True, False]


def test_the_wrapper_looks_like_the_original(engine):
    def original(one, two=2):
        """It says something."""

    found = wrapped(engine, original)
    assert (found.__name__, found.__doc__, found.__wrapped__) == ("original", "It says something.", original)


async def coroutine():
    pass


def generator():
    yield


async def rows():
    yield


@pytest.mark.parametrize("function", [coroutine, generator, rows])
def test_only_plain_functions_begin_or_are_remembered(engine, function):
    for target in (Target("m:f", exit_span, until=until), Remember("m:f", until)):
        with pytest.raises(Missing):
            patch._wrapper(target, function, engine.tracer, "m:f")


@pytest.mark.parametrize("function", [generator, rows])
def test_no_generator_is_kept_apart(engine, function):
    with pytest.raises(Missing):
        patch._wrapper(Apart("m:f"), function, engine.tracer, "m:f")


def test_what_is_remembered_of_an_object():
    class Owner:
        pass

    first, second, owner = object(), object(), Owner()
    target = Remember("m:f", lambda call: (call.args[0], owner, call.args[1]))
    target.keep(Call(print, (first, "one"), {}))
    target.keep(Call(print, (first, "two"), {}))
    target.keep(Call(print, (second, "three"), {}))
    assert (target.of(first), target.of(second), target.of(owner)) == ("two", "three", None)


def test_what_is_remembered_goes_with_its_owner():
    class Owner:
        pass

    thing, owners = object(), [Owner()]
    target = Remember("m:f", lambda call: (thing, owners[0], "fact"))
    target.keep(Call(print, (), {}))
    owners[0] = Owner()
    assert target.of(thing) is None
    target.keep(Call(print, (), {}))
    assert target.of(thing) == "fact"


def test_a_partial_function_is_of_the_kind_of_what_it_calls():
    assert [wrap.kind(partial(partial(each, 1), 2)) for each in (print, coroutine, generator, rows)] == [
        0,
        wrap.COROUTINE,
        wrap.GENERATOR,
        wrap.ASYNC_GENERATOR,
    ]


def test_describe_may_fail(engine, lenient):
    open_stream = wrapped(engine, lambda: Stream(), describe=lambda call: SpanDraft())
    with engine.transaction():
        open_stream().finish()
    assert list(lenient) == ["test:stream: describe"]


def test_a_transaction_that_ends_later(engine):
    """It is current until its call returns, and not any more."""
    serve = wrapped(engine, lambda: (current.get(), Stream())[1], describe=job, entry=True, observe=result_of)
    stream = serve()
    assert current.get() is None
    assert engine.sink.transactions == []
    stream.finish()
    ((transaction, _),) = engine.sink.transactions
    assert (transaction.result, transaction.outcome) == ("fine", "success")


def result_of(call, result, draft):
    draft.result = str(getattr(result, "status", result))


def test_a_transaction_that_ends_later_has_spans(engine):
    inner = engine.wrap(lambda: None)

    def begin():
        inner()
        return Stream()

    wrapped(engine, begin, describe=job, entry=True)().finish()
    ((_, spans),) = engine.sink.transactions
    assert len(spans) == 1


def test_a_transaction_that_would_end_later_raises(engine):
    serve = wrapped(engine, lambda: 1 / 0, describe=job, entry=True)
    with pytest.raises(ZeroDivisionError):
        serve()
    ((transaction, _),) = engine.sink.transactions
    assert (transaction.outcome, len(transaction.errors)) == ("failure", 1)
