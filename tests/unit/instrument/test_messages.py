"""How what messages need is put in its place."""

from __future__ import annotations

import functools
import inspect
import pickle
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from tests.engine import Engine, job

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.receive import settle
from apm_run.instrument.vocabulary import Deliver, Instrumentation, Receive, Scope, Subclass, Target
from apm_run.model import SpanDraft, TransactionDraft
from apm_run.tracer import current


@pytest.fixture
def library():
    """A module that is just being imported."""
    module = ModuleType("library")
    module.__spec__ = ModuleSpec("library", None)
    module.__spec__._initializing = True
    return module


def put(module, *targets, engine=None):
    engine, results = engine or Engine(), {}
    instrument(Instrumentation("library", "", targets), module, engine.tracer, results)
    return engine, results


def send(call):
    return SpanDraft("SEND", "messaging", "kafka", "send")


def received(call, result):
    return TransactionDraft("RECEIVE", "messaging")


# Types in C


class Kind:
    """What stands for a type in C."""

    __slots__ = ()

    def produce(self, value):
        return value

    def poll(self):
        return "message"

    def close(self):
        return "closed"

    def __iter__(self):
        return self


TARGETS = (
    Target("produce", send),
    Receive("poll", send, received, loop="__iter__", leave=("close", "missing")),
    Target("missing", send),
)


def test_a_subclass_takes_the_place_of_a_type(library):
    library.Kind = Kind
    engine, results = put(library, Subclass("library:Kind", TARGETS))
    assert results == {"library:Kind": "wrapped"}
    made = library.Kind
    assert made is not Kind
    assert issubclass(made, Kind)
    assert (made.__name__, made.__qualname__, made.__module__, made.__doc__) == (
        Kind.__name__,
        Kind.__qualname__,
        Kind.__module__,
        Kind.__doc__,
    )
    one = made()
    assert type(one) is made
    assert not hasattr(one, "__dict__")
    with engine.transaction() as transaction:
        assert one.produce(5) == 5
    assert engine.one_span(transaction).draft.name == "SEND"
    assert one.poll() == "message"
    assert current.get().name == "RECEIVE"
    assert one.close() == "closed"
    assert current.get() is None


def test_what_the_program_derives_is_its_own(library):
    library.Kind = Kind
    put(library, Subclass("library:Kind", TARGETS))

    class Mine(library.Kind):
        def poll(self):
            return super().poll() + "!"

    assert Mine().poll() == "message!"
    assert current.get().name == "RECEIVE"
    settle()


def test_a_type_that_somebody_may_have_seen_is_left_alone(library):
    library.__spec__._initializing = False
    library.Kind = Kind
    _, results = put(library, Subclass("library:Kind", TARGETS))
    assert results == {"library:Kind": "skipped: Kind was there before the agent"}
    assert library.Kind is Kind


def test_what_is_no_type_is_left_alone(library):
    library.Kind = lambda: None
    _, results = put(library, Subclass("library:Kind", TARGETS))
    assert results == {"library:Kind": "skipped: Kind is no type"}


# Functions that take one of the program's


def registered(call):
    queue = call.argument(0, "queue")
    return None if queue == "theirs" else lambda message: TransactionDraft(f"{queue} {message.args}", "messaging")


CALLBACK = Deliver("library:subscribe", registered, argument=(1, "callback"))


@pytest.fixture
def given(library):
    """What the library was given."""
    found = []

    def subscribe(queue, callback=None, *, wait=0):
        found.append(callback)
        return queue

    library.subscribe = subscribe
    return found


def test_each_call_is_a_transaction(library, given):
    engine, _ = put(library, CALLBACK)
    seen = []
    assert library.subscribe("q", seen.append) == "q"
    assert library.subscribe("q", callback=seen.append) == "q"
    for callback in given:
        callback("m")
    assert seen == ["m", "m"]
    assert [one.name for one, _ in engine.sink.transactions] == ["q ('m',)"] * 2


def test_what_is_no_function_is_left_to_the_library(library, given):
    put(library, CALLBACK)
    for other in (None, 5, "text"):
        library.subscribe("q", other)
    library.subscribe("q")
    with pytest.raises(TypeError):
        library.subscribe()
    library.subscribe("theirs", print)
    assert given == [None, 5, "text", None, print]


def test_all_that_can_be_called(library, given):
    engine, _ = put(library, CALLBACK)

    class Handler:
        def method(self, message):
            return "method", message

        def __call__(self, message):
            return "object", message

    handler = Handler()
    assert handler.method("m") == ("method", "m")
    for callback in (handler, handler.method, functools.partial(lambda *args: args, "partial")):
        library.subscribe("q", callback)
        assert given[-1]("m") == callback("m")
    assert inspect.signature(given[1]) == inspect.signature(handler.method)
    assert len(engine.sink.transactions) == 3


async def deal(message):
    return current.get().transaction.name


def test_a_coroutine_function_stays_one(library, given):
    engine, _ = put(library, CALLBACK)
    library.subscribe("q", deal)
    assert inspect.iscoroutinefunction(given[0])
    coroutine = given[0]("m")
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == "q ('m',)"
    assert engine.sink.transactions[0][0].outcome == "success"


def test_a_coroutine_that_raises(library, given):
    engine, _ = put(library, CALLBACK)
    error = ValueError()

    async def fail(message):
        raise error

    library.subscribe("q", fail)
    with pytest.raises(ValueError, match=r"^$") as caught:
        given[0]("m").send(None)
    assert caught.value is error
    assert engine.sink.transactions[0][0].outcome == "failure"


def test_what_a_callback_raises_is_an_error_of_the_message(library, given):
    engine, _ = put(library, CALLBACK)
    error = ValueError("bad message")

    def fail(message):
        raise error

    library.subscribe("q", fail)
    with pytest.raises(ValueError, match="bad message") as caught:
        given[0]("m")
    assert caught.value is error
    (transaction,) = [one for one, _ in engine.sink.transactions]
    assert transaction.outcome == "failure"
    assert [event["exception"]["message"] for event in transaction.errors] == ["bad message"]


def test_a_describe_that_fails_leaves_the_call_alone(library, given, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})

    def broken(call):
        raise LookupError

    put(library, Deliver("library:subscribe", broken, argument=(1, "callback")))
    library.subscribe("q", print)
    assert given == [print]
    assert list(guard.failures) == ["library:subscribe: describe"]


def work(*args):
    return args


def test_wrappers_are_pickled_by_name(library):
    """A wrapper is a function by the same name."""
    library.work = work
    put(library, Scope("library:work"))
    assert library.work is not work
    assert pickle.dumps(library.work.__wrapped__) == pickle.dumps(work)
    assert library.work(1) == (1,)
    engine = Engine()
    assert engine.wrap(work, job, entry=True)(2) == (2,)
