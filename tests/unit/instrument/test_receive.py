"""What a program receives by asking: a span within a transaction, outside one that begins with what has come."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from types import ModuleType

import pytest
from tests.engine import Engine, running

from apm_run import guard
from apm_run.instrument import entries, receive
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Claim, Deliver, Instrumentation, Receive, Scope, Target
from apm_run.model import SpanDraft, TransactionDraft
from apm_run.tracer import current


def poll(call):
    return SpanDraft("POLL", "messaging", "kafka", "poll", message={"queue": {"name": "orders"}})


def received(call, result):
    return None if result is None else TransactionDraft(f"RECEIVE {result}", "messaging")


class Consumer:
    """Gives what it was made of; None where there is nothing."""

    def __init__(self, *messages):
        self.messages = list(messages)

    def poll(self, fail=None):
        if fail is not None:
            raise fail
        return self.messages.pop(0) if self.messages else None

    async def get(self):
        await asyncio.sleep(0)
        return self.poll()

    def consume(self):
        try:
            while self.messages:
                yield self.poll()
        finally:
            self.messages.clear()

    def __iter__(self):
        return self

    def __next__(self):
        found = self.poll()
        if found is None:
            raise StopIteration
        return found

    def close(self):
        return "closed"


class Outer:
    """Asks another one, in another thread."""

    def __init__(self, inner, pool):
        self.inner, self.pool = inner, pool

    def poll(self):
        return self.pool.submit(self.inner.poll).result()


METHODS = ("poll", "get", "consume", "__iter__", "__next__", "close")


class Set:
    """A consumer's class, instrumented, and the engine behind it."""

    def __init__(self, **options):
        self.engine = Engine(**options)
        self.kind = type("Consumer", (Consumer,), {name: vars(Consumer)[name] for name in METHODS})
        self.module = ModuleType("library")
        self.module.Consumer = self.kind
        self.module.Outer = type("Outer", (Outer,), {"poll": Outer.poll})
        self.put(
            Receive("library:Consumer.poll", poll, received, leave=("close", "missing")),
            Receive("library:Consumer.get", poll, received),
            Receive("library:Consumer.consume", poll, received),
            Receive("library:Consumer.__next__", poll, received, loop="__iter__"),
            Receive("library:Outer.poll", poll, received, through="inner"),
        )

    def put(self, *targets):
        results = {}
        instrument(Instrumentation("library", "", targets), self.module, self.engine.tracer, results)
        assert set(results.values()) == {"wrapped"}, results

    @property
    def ended(self):
        return [one.name for one, _ in self.engine.sink.transactions]

    def work(self):
        """A span, where there is a transaction."""
        self.engine.wrap(lambda: None)()


@pytest.fixture
def made():
    found = Set()
    yield found
    receive.settle()
    assert current.get() is None


def name():
    running = current.get()
    return None if running is None else running.transaction.name


# Until the program asks again


def test_what_has_come_begins_a_transaction_that_ends_with_the_next_call(made):
    consumer = made.kind("a", "b")
    assert consumer.poll() == "a"
    assert (name(), made.ended) == ("RECEIVE a", [])
    made.work()
    assert consumer.poll() == "b"
    assert (name(), made.ended) == ("RECEIVE b", ["RECEIVE a"])
    assert consumer.poll() is None
    assert (name(), made.ended) == (None, ["RECEIVE a", "RECEIVE b"])
    assert [len(spans) for _, spans in made.engine.sink.transactions] == [1, 0]


def test_nothing_outside_is_nothing(made):
    assert made.kind().poll() is None
    made.work()
    assert made.ended == []


def test_another_consumer_of_the_same_code_is_the_next_one(made):
    made.kind("a").poll()
    made.kind().poll()
    assert (name(), made.ended) == (None, ["RECEIVE a"])


def test_what_raises_ends_it_too(made):
    consumer, error = made.kind("a"), ValueError()
    consumer.poll()
    with pytest.raises(ValueError, match=r"^$") as caught:
        consumer.poll(error)
    assert caught.value is error
    assert made.ended == ["RECEIVE a"]


def test_it_claims_the_program(made):
    tracer = made.engine.tracer
    tracer.begin_ambient("script", 1, 1, None)
    made.kind().poll()
    assert tracer.ambient is not None
    made.kind("a").poll()
    assert tracer.ambient is None
    assert name() == "RECEIVE a"


def test_the_object_is_asked_once(made):
    """``__next__`` asks through ``poll``, which is a target itself."""
    for message in made.kind("a", "b"):
        assert name() == f"RECEIVE {message}"
    assert made.ended == ["RECEIVE a", "RECEIVE b"]


def test_through_another_object_in_another_thread(made):
    with ThreadPoolExecutor(1) as pool:
        outer = made.module.Outer(made.kind("a"), pool)
        assert outer.poll() == "a"
        assert name() == "RECEIVE a"
        assert outer.poll() is None
    assert made.ended == ["RECEIVE a"]
    assert receive._asked == set()


def test_without_an_instance(made):
    """A function of a module."""
    made.module.get = lambda: "a"
    made.put(Receive("library:get", poll, received))
    assert made.module.get() == "a"
    assert name() == "RECEIVE a"
    assert made.module.get() == "a"
    assert made.ended == ["RECEIVE a"]


# Within a transaction


def test_within_a_transaction_it_is_a_span_even_if_empty(made):
    consumer = made.kind("a")
    with made.engine.transaction() as transaction:
        consumer.poll()
        consumer.poll()
    assert [span.draft.name for span in made.engine.sink.spans(transaction)] == ["POLL", "POLL"]
    assert made.ended == ["test"]


def test_the_end_of_an_iteration_is_no_failure(made):
    with made.engine.transaction() as transaction:
        assert list(made.kind("a")) == ["a"]
        with pytest.raises(ValueError, match="x"):
            made.kind().poll(ValueError("x"))
    outcomes = [span.outcome for span in made.engine.sink.spans(transaction)]
    assert outcomes == ["success", "success", "failure"]


def test_what_has_come_is_dealt_with_by_the_transaction_that_has_begun_meanwhile(made):
    """A request that is answered while messages are dealt with asks for others: those are its own."""
    made.kind("a").poll()
    with made.engine.transaction("request"):
        made.kind("b").poll()
        assert name() == "request"
    assert (name(), made.ended) == ("RECEIVE a", ["request"])


def test_a_transaction_that_has_ended_is_none(made):
    """A thread that was begun in a request and goes on for ever."""
    old = made.engine.begin("old")
    made.engine.tracer.end_transaction(old)
    with running(old):
        made.kind("a").poll()
        assert name() == "RECEIVE a"
        made.kind("b").poll()
        made.kind().poll()
        assert current.get() is old
    assert made.ended == ["old", "RECEIVE a", "RECEIVE b"]


def test_a_stale_transaction_hides_nothing(made):
    made.kind("a").poll()
    with running(made.engine.begin("other")) as _:
        made.engine.tracer.end_transaction(current.get())
        made.kind("b").poll()
        assert name() == "RECEIVE b"
        receive.settle()
    assert made.engine.tracer.resume(current.get()) is None
    assert made.ended == ["other", "RECEIVE a", "RECEIVE b"]


# Other ends


def test_a_loop_that_is_broken_off(made):
    def loop():
        for message in made.kind("a", "b"):
            if message == "a":
                break
        return name()

    assert loop() is None
    assert made.ended == ["RECEIVE a"]


def test_a_loop_that_returns(made):
    def loop():
        for message in made.kind("a", "b"):
            return message
        return None

    assert (loop(), name()) == ("a", None)


def test_a_loop_that_an_exception_leaves_is_still_being_dealt_with(made):
    """The exception may be told of yet: it belongs to the message."""
    with pytest.raises(ZeroDivisionError):
        for _ in made.kind("a", "b"):
            1 / 0  # noqa: B018
    assert (name(), made.ended) == ("RECEIVE a", [])


def test_a_loop_over_what_another_has_given(made):
    """That a loop over one consumer ends says nothing about another's messages."""
    made.kind("a").poll()

    def loop():
        iter(made.kind("b"))

    loop()
    assert name() == "RECEIVE a"


def test_a_consumer_that_cannot_be_referred_to_weakly(made):
    """As types in C are."""
    kind = type("Slotted", (), {"__slots__": (), "poll": lambda self: "a", "close": lambda self: None})
    made.module.Slotted = kind
    made.put(Receive("library:Slotted.poll", poll, received, leave=("close",)))
    one, other = kind(), kind()
    one.poll()
    other.close()
    assert name() == "RECEIVE a"
    one.close()
    assert name() is None


def test_the_loop_is_the_consumer_as_far_as_it_can_be(made):
    consumer = made.kind("a", "b")
    loop = iter(consumer)
    assert isinstance(loop, made.kind)
    assert iter(loop) is loop
    assert loop.messages is consumer.messages
    with pytest.raises(AttributeError):
        loop.__reduce__2  # noqa: B018
    with pytest.raises(AttributeError, match="__nothing__"):
        loop.__nothing__  # noqa: B018
    assert next(loop) == "a"


def test_an_iterator_of_its_own_is_left_alone(made):
    made.kind.__iter__ = lambda self: iter(self.messages)
    made.put(Receive("library:Consumer.__next__", poll, received, loop="__iter__"))
    assert type(iter(made.kind("a"))) is type(iter([]))


def test_an_iter_that_raises(made):
    error = ValueError()

    def iterate(self):
        raise error

    made.kind.__iter__ = iterate
    made.put(Receive("library:Consumer.__next__", poll, received, loop="__iter__"))
    with pytest.raises(ValueError, match=r"^$") as caught:
        iter(made.kind())
    assert caught.value is error


def test_closing_the_consumer(made):
    one, other = made.kind("a"), made.kind("b")
    one.poll()
    assert other.close() == "closed"
    assert name() == "RECEIVE a"
    assert one.close() == "closed"
    assert (name(), made.ended) == (None, ["RECEIVE a"])


def test_the_end_of_a_thread(made):
    def run():
        made.kind("a").poll()
        made.work()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert made.ended == ["RECEIVE a"]
    assert len(made.engine.sink.transactions[0][1]) == 1


def test_each_thread_has_its_own(made):
    consumer, turn = made.kind("a", "b"), threading.Barrier(2, timeout=10)
    seen = []

    def run():
        mine = consumer.poll()
        turn.wait()
        seen.append((name(), f"RECEIVE {mine}"))
        turn.wait()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == other for one, other in seen)
    assert sorted(made.ended) == ["RECEIVE a", "RECEIVE b"]


def test_a_pool_goes_on_with_other_work(made):
    made.module._WorkItem = type("_WorkItem", (), {"run": lambda self, work: work()})
    made.put(Scope("library:_WorkItem.run"))
    item, consumer = made.module._WorkItem(), made.kind("a")
    assert item.run(consumer.poll) == "a"
    assert (name(), made.ended) == (None, ["RECEIVE a"])
    error = ValueError()
    with pytest.raises(ValueError, match=r"^$") as caught:
        item.run(lambda: consumer.poll(error))
    assert caught.value is error


def test_the_program_becomes_a_server(made):
    made.module.serve = name
    made.put(Claim("library:serve"))
    made.kind("a").poll()
    assert made.module.serve() is None


def test_an_entry_is_never_kept_from_beginning(made):
    made.kind("a").poll()
    handle = made.engine.wrap(name, entry=True)
    assert handle() == "work"
    assert (name(), made.ended) == ("RECEIVE a", ["work"])


def test_a_callback_is_the_next_message(made):
    given = []
    made.module.subscribe = lambda queue, callback: given.append(callback)
    describe = lambda call: lambda message: TransactionDraft(f"DELIVERED {message.args[0]}", "messaging")  # noqa: E731
    made.put(Deliver("library:subscribe", describe, argument=(1, "callback")))
    made.module.subscribe("q", lambda message: name())
    made.kind("a").poll()
    assert given[0]("b") == "DELIVERED b"
    assert (name(), made.ended) == (None, ["RECEIVE a", "DELIVERED b"])


def test_the_end_of_the_process(made):
    made.kind("a").poll()
    tracer = made.engine.tracer
    assert tracer.received().name == "RECEIVE a"
    tracer.abandon()
    assert made.engine.sink.transactions[0][0].outcome == "success"
    assert tracer.received() is None
    assert made.ended == ["RECEIVE a"]


def test_nothing_is_received_where_something_else_runs(made):
    assert made.engine.tracer.received() is None
    with made.engine.transaction():
        assert made.engine.tracer.received() is None


# Generators


def test_a_generator_gives_one_after_the_other(made):
    seen = [name() for _ in made.kind("a", "b").consume()]
    assert seen == ["RECEIVE a", "RECEIVE b"]
    assert (name(), made.ended) == (None, ["RECEIVE a", "RECEIVE b"])


def test_a_generator_that_is_left(made):
    def loop():
        for _ in made.kind("a", "b").consume():
            break

    loop()
    assert (name(), made.ended) == (None, ["RECEIVE a"])


def test_a_generator_that_an_exception_leaves(made):
    with pytest.raises(ZeroDivisionError):
        for _ in made.kind("a", "b").consume():
            1 / 0  # noqa: B018
    assert (name(), made.ended) == ("RECEIVE a", [])


def test_a_generator_is_closed_and_thrown_into(made):
    consumer = made.kind("a", "b")
    generator = consumer.consume()
    assert next(generator) == "a"
    generator.close()
    assert consumer.messages == [], "its end was not reached"
    generator, error = made.kind("a", "b").consume(), ValueError()
    next(generator)
    with pytest.raises(ValueError, match=r"^$") as caught:
        generator.throw(error)
    assert caught.value is error
    assert error.__context__ is None


def test_a_generator_function_of_a_module(made):
    made.module.consume = Consumer.consume
    made.put(Receive("library:consume", poll, received))
    assert list(made.module.consume(Consumer("a"))) == ["a"]

    def nothing():
        yield "a"
        yield "b"

    made.module.consume = nothing
    made.put(Receive("library:consume", poll, received))

    def loop():
        for _ in made.module.consume():
            break

    loop()
    assert name() is None


def test_a_generator_while_nothing_is_recorded(made):
    made.engine.tracer.active = False
    assert list(made.kind("a").consume()) == ["a"]

    def failing():
        yield "a"
        raise ValueError("x")

    made.module.failing = failing
    made.put(Receive("library:failing", poll, received))
    with pytest.raises(ValueError, match="x"):
        list(made.module.failing())
    assert made.ended == []


# Coroutines


def test_a_coroutine_in_a_task(made):
    async def run():
        consumer = made.kind("a", "b")
        assert await consumer.get() == "a"
        made.work()
        assert name() == "RECEIVE a"
        assert await consumer.get() == "b"
        return name()

    assert asyncio.run(run()) == "RECEIVE b"
    assert made.ended == ["RECEIVE a", "RECEIVE b"]


def test_the_end_of_a_task(made):
    async def consume(message):
        await made.kind(message).get()
        return name()

    async def run():
        found = await asyncio.gather(consume("a"), consume("b"))
        assert name() is None
        return found

    assert asyncio.run(run()) == ["RECEIVE a", "RECEIVE b"]
    assert sorted(made.ended) == ["RECEIVE a", "RECEIVE b"]


def test_a_task_that_was_begun_meanwhile_has_a_life_of_its_own(made):
    """It has a copy of the context: it can neither end the message nor are all of its own a part of that."""

    async def child(*messages):
        consumer = made.kind(*messages)
        for message in messages:
            assert await consumer.get() == message
            assert name() == f"RECEIVE {message}"
        await consumer.get()
        made.work()
        return name()

    async def run():
        await made.kind("first").get()
        assert await asyncio.create_task(child("a", "b")) == "RECEIVE first"
        assert (name(), made.ended) == ("RECEIVE first", ["RECEIVE a", "RECEIVE b"])

    asyncio.run(run())
    assert made.ended == ["RECEIVE a", "RECEIVE b", "RECEIVE first"]


def test_a_thread_that_was_begun_meanwhile_has_a_life_of_its_own(made):
    made.kind("first").poll()
    carried = current.get()

    def run():
        current.set(carried)
        consumer = made.kind("a", "b")
        consumer.poll()
        consumer.poll()
        assert name() == "RECEIVE b"

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (name(), made.ended) == ("RECEIVE first", ["RECEIVE a", "RECEIVE b"])


def test_a_copy_in_a_thread_is_not_its_own_either(made):
    made.kind("a").poll()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, receive.settle).result() is None
    assert (name(), made.ended) == ("RECEIVE a", [])


# Options and failures


def test_ignore_message_queues():
    made = Set(ignore_message_queues="orders, heart*")
    asked = [{"queue": {"name": "Heartbeats"}}, {"queue": {"name": "other"}}, None]
    made.module.get = lambda: asked[0]
    made.put(
        Receive("library:get", poll, lambda call, message: TransactionDraft("RECEIVE", "messaging", message=message))
    )
    made.module.get()
    assert name() is None
    del asked[0]
    made.module.get()
    assert name() == "RECEIVE"
    receive.settle()
    with made.engine.transaction() as transaction:
        made.kind().poll()  # POLL from orders
    assert made.engine.sink.spans(transaction) == []


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (None, False),
        ({"queue": {"name": "a"}}, True),
        ({"queue": {"name": "<default>"}, "routing_key": "a"}, True),
        ({"queue": {"name": "<default>"}}, False),
        ({"queue": {"name": "x"}, "routing_key": "a"}, False),
        ({}, False),
    ],
)
def test_what_the_default_exchange_delivers_goes_to_the_queue_of_the_routing_key(message, found):
    engine = Engine(ignore_message_queues="a")
    assert entries.ignored(message, engine.tracer.settings) is found


def test_ignored_messages_are_sent_without_trace_context():
    engine, sent = Engine(ignore_message_queues="orders"), []
    rewrite = lambda call, headers: ((headers,), {})  # noqa: E731
    send = engine.wrap(sent.append, poll, rewrite=rewrite)
    job = engine.wrap(name, lambda call: TransactionDraft("x", "x", message={"queue": {"name": "orders"}}), entry=True)
    with engine.transaction() as transaction:
        send("mine")
    assert sent == ["mine"]
    assert engine.sink.spans(transaction) == []
    assert job() is None


def test_a_target_that_fails_too_often_is_switched_off(made, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    made.module.get = lambda: "a"

    def broken(call, result):
        raise ValueError("ours")

    made.put(Receive("library:get", poll, broken))
    for _ in range(7):
        assert made.module.get() == "a"
    assert guard.failures["library:get: received"][0] == 5
    assert "library:get" in made.engine.tracer.switched_off


def test_no_recording(made):
    made.engine.tracer.active = False
    consumer = made.kind("a")
    assert type(iter(consumer)) is made.kind
    assert consumer.poll() == "a"
    assert name() is None
    error = ValueError()
    with pytest.raises(ValueError, match=r"^$") as caught:
        consumer.poll(error)
    assert caught.value is error

    async def get():
        return await made.kind("a").get()

    assert asyncio.run(get()) == "a"

    async def fail():
        return await made.kind.get(None)

    with pytest.raises(AttributeError):
        asyncio.run(fail())


def test_a_coroutine_that_raises(made):
    async def fail():
        with made.engine.transaction() as transaction, suppress(AttributeError):
            await made.kind.get(None)
        return transaction

    transaction = asyncio.run(fail())
    assert made.engine.one_span(transaction).outcome == "failure"


def test_the_module_of_the_types_is_needed_only_where_there_are_any(made):
    """Missing methods beside the one that receives are skipped, the one itself is not."""
    results = {}
    target = Receive("library:Consumer.nothing", poll, received, leave=("close",))
    instrument(Instrumentation("library", "", (target,)), made.module, made.engine.tracer, results)
    assert results == {target.path: "skipped: no Consumer.nothing"}


def test_a_frame_that_is_not_there():
    assert receive.left(None) is False


def test_target_kinds_of_the_engine_are_not_changed(made):
    """A span within what was received hangs below it."""
    made.kind("a").poll()
    span = made.engine.wrap(lambda: current.get().parent)
    assert span() is current.get()
    assert Target("a:b", poll).entry is False
