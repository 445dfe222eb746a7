"""What is current while a wrapped function runs and afterwards, in every way that it can be left."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import weakref

import pytest
from tests.engine import Engine, exit_span, running, work_span

from apm_run.model import SpanDraft
from apm_run.tracer import current


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


class Timeout(BaseException):
    """As gevent's, which is no Exception."""


OUTCOMES = [
    (ValueError, "failure"),
    (KeyboardInterrupt, "unknown"),
    (SystemExit, "unknown"),
    (Timeout, "unknown"),
    (asyncio.CancelledError, "unknown"),
]


@pytest.mark.parametrize(("kind", "outcome"), OUTCOMES)
def test_outcome_of_what_is_raised(engine, kind, outcome):
    def fail():
        raise kind

    async def afail():
        raise kind

    def yielding():
        yield 1
        raise kind

    for function in (fail, lambda: drain(afail()), lambda: list(yielding())):
        wrapper = engine.wrap(function)
        with engine.transaction() as transaction, pytest.raises(kind):
            wrapper()
        assert engine.one_span(transaction).outcome == outcome
        entry = engine.wrap(function, entry=True)
        with pytest.raises(kind):
            entry()
        transaction, _ = engine.sink.transactions[-1]
        assert transaction.outcome == outcome
        assert len(transaction.errors) == (kind is ValueError)


def drain(coroutine):
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def test_what_is_awaited_is_marked(engine):
    async def coroutine():
        return 1

    async def rows():
        yield 1

    async def collect(made):
        return [item async for item in made]

    with engine.transaction() as transaction:
        engine.wrap(lambda: 1)()
        list(engine.wrap(lambda: (yield 1))())
        drain(engine.wrap(coroutine)())
        drain(collect(engine.wrap(rows)()))
    assert [span.sync for span in engine.sink.spans(transaction)] == [True, True, False, False]


def test_nested_calls_are_children(engine):
    inner = engine.wrap(lambda: current.get().id)
    outer = engine.wrap(lambda: (current.get().id, inner()))
    with engine.transaction() as transaction:
        outer_id, inner_id = outer()
    first, second = engine.sink.spans(transaction)
    assert (first.id, first.parent_id) == (inner_id, outer_id)
    assert (second.id, second.parent_id) == (outer_id, transaction.id)


def test_children_of_steps_hang_below_the_generator(engine):
    inner = engine.wrap(lambda: None)

    def rows():
        for row in range(3):
            inner()
            yield row

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        for _ in wrapped():
            assert current.get() is transaction
            inner()
    spans = engine.sink.spans(transaction)
    (outer,) = [span for span in spans if span.parent_id == transaction.id and span is spans[-1]]
    assert [span.parent_id for span in spans[:-1]].count(outer.id) == 3
    assert [span.parent_id for span in spans[:-1]].count(transaction.id) == 3


def test_interleaved_generators(engine):
    inner = engine.wrap(lambda: None)

    def rows(log):
        while True:
            inner()
            log.append(current.get())
            yield

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        first_log, second_log = [], []
        first, second = wrapped(first_log), wrapped(second_log)
        for made in (first, second, second, first, second, first):
            next(made)
            assert current.get() is transaction
        first.close()
        second.close()
    assert len(set(first_log)) == len(set(second_log)) == 1
    assert first_log[0] is not second_log[0]
    assert {span.outcome for span in engine.sink.spans(transaction)} == {"success"}


def test_consumer_changes_its_context_between_steps(engine):
    wrapped = engine.wrap(lambda: (yield from range(3)), work_span)
    with engine.transaction() as transaction:
        made = wrapped()
        next(made)
        other = engine.begin("other")
        with running(other):
            next(made)
            assert current.get() is other
        with running(None):
            next(made)
            assert current.get() is None
            assert next(made, "end") == "end"
            assert current.get() is None
    assert engine.one_span(transaction).parent_id == transaction.id


@pytest.mark.parametrize("how", ["close", "forget", "elsewhere", "thread"])
def test_generator_abandoned(engine, how):
    log = []

    def rows():
        try:
            yield from range(3)
        finally:
            log.append("closed")

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        made = wrapped()
        next(made)
        if how == "close":
            made.close()
        elif how == "elsewhere":
            contextvars.Context().run(made.close)
        elif how == "thread":
            thread = threading.Thread(target=made.close)
            thread.start()
            thread.join()
        del made
        gc.collect()
        assert current.get() is transaction
    assert log == ["closed"]
    assert engine.one_span(transaction).outcome == "success"


def test_generator_that_was_never_begun(engine):
    wrapped = engine.wrap(lambda: (yield 1))
    with engine.transaction() as transaction:
        wrapped()
        wrapped().close()
    assert engine.sink.spans(transaction) == []


def test_generator_collected_as_part_of_a_cycle(engine):
    class Holder:
        pass

    def rows():
        yield 1
        yield 2

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        holder = Holder()
        holder.rows, holder.self = wrapped(), holder
        next(holder.rows)
        gone = weakref.ref(holder)
        del holder
        with running(None):
            gc.collect()
            assert current.get() is None
        assert gone() is None
    assert engine.one_span(transaction).outcome == "success"


def test_thrown_exceptions_are_not_kept_alive(engine):
    class Thrown(Exception):
        pass

    def rows():
        while True:
            try:
                yield
            except Thrown:
                pass

    wrapped = engine.wrap(rows)
    with engine.transaction():
        made = wrapped()
        next(made)
        error = Thrown()
        gone = weakref.ref(error)
        made.throw(error)
        del error
        assert gone() is None
        made.close()


def test_coroutines_of_tasks_do_not_meet(engine):
    inner = engine.wrap(lambda: None)

    async def work(steps, log):
        mine = current.get()
        for _ in range(steps):
            inner()
            await asyncio.sleep(0)
            log.append(current.get() is mine)

    wrapped = engine.wrap(work)

    async def main():
        log = []
        await asyncio.gather(*(wrapped(steps, log) for steps in (3, 1, 5, 2)))
        assert all(log)
        assert len(log) == 11

    with engine.transaction() as transaction:
        asyncio.run(main())
    spans = engine.sink.spans(transaction)
    outer = [span for span in spans if span.parent_id == transaction.id]
    assert len(outer) == 4
    children = [span.parent_id for span in spans if span not in outer]
    assert sorted(children.count(span.id) for span in outer) == [1, 2, 3, 5]


def test_cancelled_task(engine):
    started = []

    async def work():
        started.append(1)
        await asyncio.sleep(60)

    wrapped = engine.wrap(work)

    async def main():
        task = asyncio.ensure_future(wrapped())
        while not started:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with engine.transaction() as transaction:
        asyncio.run(main())
    assert engine.one_span(transaction).outcome == "unknown"


def test_coroutine_closed_half_way_in_another_context(engine):
    class Suspend:
        def __await__(self):
            yield

    async def work():
        await Suspend()

    wrapped = engine.wrap(work)
    with engine.transaction() as transaction:
        made = wrapped()
        contextvars.copy_context().run(made.send, None)
        assert current.get() is transaction
        made.close()
        assert current.get() is transaction
    assert engine.one_span(transaction).outcome == "unknown"


def test_async_generators_of_tasks_do_not_meet(engine):
    inner = engine.wrap(lambda: None)

    async def rows(count):
        for row in range(count):
            inner()
            await asyncio.sleep(0)
            yield row

    wrapped = engine.wrap(rows)

    async def main():
        async def consume(count, transaction):
            async for _ in wrapped(count):
                assert current.get() is transaction
                await asyncio.sleep(0)

        await asyncio.gather(*(consume(count, current.get()) for count in (3, 1, 4)))

    with engine.transaction() as transaction:
        asyncio.run(main())
    outer = [span for span in engine.sink.spans(transaction) if span.parent_id == transaction.id]
    assert [span.outcome for span in outer] == ["success"] * 3
    assert len(engine.sink.spans(transaction)) == 3 + 8


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("how", ["aclose", "break", "loop ends", "other task"])
def test_async_generator_abandoned_half_way(engine, how, inside):
    log = []
    complaints = []

    async def rows():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    wrapped = engine.wrap(rows)
    kept = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        made = wrapped()
        before = current.get()
        assert await made.__anext__() == 1
        assert current.get() is before
        if how == "aclose":
            await made.aclose()
        elif how == "loop ends":
            kept.append(made)
        elif how == "other task":
            await asyncio.ensure_future(made.aclose())
        else:
            del made
            gc.collect()
            while not log:
                await asyncio.sleep(0)
        assert current.get() is before

    if inside:
        with engine.transaction() as transaction:
            asyncio.run(main())
        assert engine.one_span(transaction).outcome == "success"
    else:
        asyncio.run(main())
    assert log == ["closed"]
    assert complaints == []


def test_async_generator_without_a_loop(engine):
    async def rows():
        yield 1
        yield 2

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        made = wrapped()
        with pytest.raises(StopIteration) as first:
            made.asend(None).send(None)
        assert first.value.value == 1
        del made, first
        gc.collect()
        assert current.get() is transaction
    assert engine.one_span(transaction).outcome == "success"
    assert sys.get_asyncgen_hooks() == (None, None)


def test_thread_keeps_nothing_of_the_wrapper(engine):
    wrapper = engine.wrap(lambda: current.get())
    found = []
    with engine.transaction() as transaction:
        thread = threading.Thread(target=lambda: found.append((current.get(), wrapper(), current.get())))
        thread.start()
        thread.join()
    assert found == [(None, None, None)]
    assert engine.sink.spans(transaction) == []


def test_what_the_call_made_current_stays(engine):
    other = engine.begin()
    wrapper = engine.wrap(lambda: current.set(other))
    transaction = engine.begin()
    with running(transaction):
        wrapper()
        assert current.get() is other
    engine.tracer.end_transaction(transaction)
    assert engine.one_span(transaction).outcome == "success"


def test_what_an_awaited_call_made_current_stays(engine):
    other = engine.begin()

    async def call():
        current.set(other)

    async def main():
        await engine.wrap(call)()
        return current.get()

    transaction = engine.begin()
    with running(transaction):
        assert asyncio.run(main()) is other
    engine.tracer.end_transaction(transaction)
    assert engine.one_span(transaction).outcome == "success"


def test_leaf(engine):
    inner = engine.wrap(lambda: current.get(), exit_span)
    outer = engine.wrap(lambda: (current.get(), inner()), exit_span)
    with engine.transaction() as transaction:
        first, second = outer()
    assert first is second is engine.one_span(transaction)


def test_what_outlives_an_exit_span_hangs_where_that_hung(engine):
    kept = []
    outer = engine.wrap(lambda: kept.append(contextvars.copy_context()), exit_span)
    later = engine.wrap(lambda: None, exit_span)
    with engine.transaction() as transaction:
        outer()
        kept[0].run(later)
    first, second = engine.sink.spans(transaction)
    assert first.parent_id == second.parent_id == transaction.id


def test_describe_may_say_that_a_call_is_none(engine):
    wrapper = engine.wrap(lambda: current.get(), lambda call: None)
    with engine.transaction() as transaction:
        assert wrapper() is transaction
    assert engine.sink.spans(transaction) == []


def test_observe_sees_the_result(engine):
    seen = []

    def observe(call, result, draft):
        seen.append((call.args, result))
        draft.outcome = "unknown"

    wrapper = engine.wrap(lambda value: value * 2, observe=observe)
    rows = engine.wrap(lambda: (yield "row"), observe=observe)
    with engine.transaction() as transaction:
        assert wrapper(4) == 8
        assert list(rows()) == ["row"]
    assert seen == [((4,), 8), ((), None)]
    assert [span.outcome for span in engine.sink.spans(transaction)] == ["unknown", "unknown"]


def test_observe_sees_what_was_raised_but_not_what_ended_the_call_from_outside(engine):
    seen = []

    def fail(error):
        raise error

    wrapper = engine.wrap(fail, observe=lambda call, result, draft: seen.append(result))
    error = ValueError()
    with engine.transaction():
        for raised in (error, Timeout(), KeyboardInterrupt()):
            with pytest.raises(type(raised)):
                wrapper(raised)
    assert seen == [error]


def test_a_draft_can_be_made_once_only_for_a_call(engine):
    made = []

    def describe(call):
        made.append(call.args)
        return SpanDraft("work", "custom", exit=False)

    wrapper = engine.wrap(lambda *_: None, describe)
    with engine.transaction():
        wrapper(1, 2)
    assert made == [(1, 2)]


@pytest.mark.parametrize("kind", ["generator", "asynchronous generator"])
def test_what_a_generator_has_made_current_is_so_in_its_own_steps_only(engine, kind):
    other, log = engine.begin(), []

    def rows():
        current.set(other)
        yield 1
        log.append(current.get())
        yield 2

    async def arows():
        for row in rows():
            yield row

    wrapped = engine.wrap(rows if kind == "generator" else arows)
    with engine.transaction() as transaction:
        made = wrapped()
        step = made.__next__ if kind == "generator" else lambda: drain(made.__anext__())
        for row in (1, 2):
            assert step() == row
            assert current.get() is transaction
        if kind == "generator":
            made.close()
        else:
            drain(made.aclose())
        # At its end it is as with any other call.
        assert current.get() is other
        current.set(transaction)
    assert log == [other]
    assert engine.one_span(transaction).outcome == "success"


def test_a_step_that_begins_in_one_context_and_ends_in_another(engine):
    class Suspend:
        def __await__(self):
            yield

    inner = engine.wrap(lambda: None)

    async def rows():
        await Suspend()
        yield 1
        inner()
        yield 2

    wrapped = engine.wrap(rows)
    with engine.transaction() as transaction:
        made = wrapped()
        step = made.__anext__()
        contextvars.copy_context().run(step.send, None)
        other = engine.begin("other")
        with running(other):
            assert drain(step) == 1
            assert current.get() is other
        assert drain(made.__anext__()) == 2
        drain(made.aclose())
    first, second = engine.sink.spans(transaction)
    assert first.parent_id == second.id
