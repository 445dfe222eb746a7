"""The API's blocks and decorators in tasks that are cancelled, left early or collected (spec 26)."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.engine import work_span

import apm_run
from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.tracer import current

groups = pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with Python 3.11")


def reported(engine):
    """All spans as ``name < parent: outcome``, sorted; nobody has reported an error."""
    transactions = {transaction for transaction, _ in engine.sink.transactions}
    assert engine.sink.errors == []
    assert [transaction.errors for transaction in transactions if transaction.errors] == []
    spans = [span for _, spans in engine.sink.transactions for span in spans] + engine.sink.late
    assert len(set(spans)) == len(spans)
    return sorted(
        f"{span.draft.name} < {span.parent.name if span.parent in transactions else span.parent.draft.name}"
        f"{'' if span.outcome == 'success' else f': {span.outcome}'}"
        for span in spans
    )


def run(main):
    """Run a program; the loop has nothing to complain of, and outside nothing is current."""
    complaints = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main()
        assert current.get() is None

    asyncio.run(watched())
    gc.collect()
    assert complaints == []


async def pause(times=3):
    for _ in range(times):
        await asyncio.sleep(0)


def test_blocks_of_a_cancelled_task(engine):
    async def work():
        async with apm_run.start_transaction("t"), apm_run.start_span("a"), apm_run.start_span("b"):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(work())
        await pause()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
    assert reported(engine) == ["a < t: unknown", "b < a: unknown"]
    assert [transaction.outcome for transaction, _ in engine.sink.transactions] == ["unknown"]


def test_one_starter_in_many_tasks(engine):
    """Each of them ends what it has begun, in whatever order, with some of them cancelled."""
    block = apm_run.start_span("block")
    tasks = []

    async def work(number):
        async with apm_run.start_span(f"{number}"):
            async with block as span:
                await pause(number * 7 % 5)
                assert span.is_current()
                if number % 3 == 0:
                    await asyncio.Event().wait()
            assert not span.is_current()

    async def main():
        async with apm_run.start_transaction("t") as transaction:
            tasks.extend(asyncio.ensure_future(work(number)) for number in range(12))
            await pause(9)
            for task in tasks[::3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert transaction.is_current()

    run(main)
    ends = ["" if number % 3 else ": unknown" for number in range(12)]
    assert reported(engine) == sorted(
        line for number in range(12) for line in (f"{number} < t{ends[number]}", f"block < {number}{ends[number]}")
    )


@groups
def test_task_groups_in_blocks(engine):
    @apm_run.start_span
    async def fail():
        raise LookupError

    @apm_run.start_span
    async def wait():
        await asyncio.Event().wait()

    async def main():
        async with apm_run.start_transaction("t"):
            with pytest.raises(ExceptionGroup):  # noqa: F821
                async with apm_run.start_span("group"), asyncio.TaskGroup() as group:
                    group.create_task(wait())
                    await pause()
                    group.create_task(fail())
            async with apm_run.start_span("after"):
                pass

    run(main)
    found = [line.replace("test_task_groups_in_blocks.<locals>.", "") for line in reported(engine)]
    assert sorted(found) == ["after < t", "fail < group: failure", "group < t: failure", "wait < group: unknown"]


@groups
def test_an_exception_group_is_one_error(engine):
    async def fail(error):
        raise error

    async def main():
        with pytest.raises(ExceptionGroup):  # noqa: F821
            async with apm_run.start_transaction("t"), asyncio.TaskGroup() as group:
                group.create_task(fail(LookupError("one")))
                group.create_task(fail(ValueError("two")))

    run(main)
    ((transaction, _),) = engine.sink.transactions
    assert transaction.outcome == "failure"
    assert [event["exception"]["type"] for event in transaction.errors] == ["ExceptionGroup"]


def test_decorated_rows_left_early(engine):
    @apm_run.start_span("rows")
    async def rows():
        async with apm_run.start_span("inside"):
            yield 1
            yield 2

    @apm_run.start_transaction("job")
    async def job():
        async for row in rows():
            yield row

    async def main():
        async with apm_run.start_transaction("t") as transaction:
            async for _ in rows():
                break
            async for _ in job():
                break
            gc.collect()
            await pause(9)
            assert apm_run.current_transaction() == transaction

    run(main)
    assert reported(engine) == ["inside < rows", "inside < rows", "rows < job", "rows < t"]


def test_a_context_manager_of_the_program(engine):
    @asynccontextmanager
    async def resource(name):
        async with apm_run.start_span(name):
            yield

    async def main():
        async with apm_run.start_transaction("t") as transaction:
            async with AsyncExitStack() as stack:
                for name in "abc":
                    await stack.enter_async_context(resource(name))
            assert transaction.is_current()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waiting(), 0.001)
            assert transaction.is_current()

    async def waiting():
        async with resource("d"):
            await asyncio.Event().wait()

    run(main)
    assert reported(engine) == ["a < t", "b < a", "c < b", "d < t: unknown"]


@pytest.mark.parametrize("kind", ["span", "transaction"])
@pytest.mark.parametrize("how", ["break", "aclose", "collected", "task"])
def test_what_a_block_left_behind_is_no_parent(engine, how, kind):
    """A block around a yield is current in the consumer (decision 25): no longer than it runs."""
    start = apm_run.start_span if kind == "span" else apm_run.start_transaction

    async def rows():
        async with start("rows"), apm_run.start_span("inner"):
            yield 1
            yield 2

    async def main():
        async with apm_run.start_transaction("t") as transaction, apm_run.start_span("a") as span:
            made = rows()
            await made.__anext__()
            if how == "aclose":
                await made.aclose()
            elif how == "task":
                await asyncio.ensure_future(made.aclose())
            elif how == "break":
                async for _ in made:
                    break
            del made
            gc.collect()
            await pause(9)
            assert apm_run.current_transaction() == transaction
            assert apm_run.current_span() == span
            async with apm_run.start_span("b"):
                pass
            engine.wrap(lambda: None)()

    run(main)
    expected = ["a < t", "b < a", "work < a", "inner < rows"] + ["rows < a"] * (kind == "span")
    assert reported(engine) == sorted(expected)


def test_what_is_ended_in_another_task(engine):
    async def main():
        async with apm_run.start_transaction("t") as transaction:
            span = apm_run.start_span("a").begin()

            async def end():
                span.end()

            await asyncio.ensure_future(end())
            engine.wrap(lambda: None)()
            assert not apm_run.current_span()
            async with apm_run.start_span("b"):
                pass
            assert transaction.is_current()

    run(main)
    assert reported(engine) == ["a < t", "b < t", "work < t"]


def test_a_task_that_outlives_its_block_stays_below_it(engine):
    async def later(gate):
        await gate.wait()
        for _ in range(2):
            async with apm_run.start_span("later"):
                pass

    async def main():
        gate = asyncio.Event()
        async with apm_run.start_transaction("t"):
            async with apm_run.start_span("a"):
                task = asyncio.ensure_future(later(gate))
            gate.set()
            await task

    run(main)
    assert reported(engine) == ["a < t", "later < a", "later < a"]


def test_what_was_left_behind_outside_of_everything(engine):
    """Neither spans nor errors of what comes afterwards are taken for a part of it."""
    work = engine.wrap(lambda: None)

    async def rows():
        with apm_run.start_transaction("rows"):
            yield 1

    async def main():
        for use in (work, apm_run.outgoing_headers, lambda: engine.tracer.told(ValueError("later"), None, None)):
            made = rows()
            await made.__anext__()
            await asyncio.ensure_future(made.aclose())
            assert current.get() is not None
            assert not use()
            current.set(None)

    asyncio.run(main())
    assert [spans for _, spans in engine.sink.transactions] == [[], [], []]
    assert [transaction.errors for transaction, _ in engine.sink.transactions] == [[], [], []]
    (error,) = engine.sink.errors
    assert "transaction_id" not in error


def test_an_exchange_below_what_was_left_behind(engine):
    work = wrap.Interceptor(Target("test:work", work_span), engine.tracer, "test")
    with apm_run.start_transaction("t") as transaction:
        span = apm_run.start_span("a").begin()
        thread = threading.Thread(target=span.end)
        thread.start()
        thread.join()
        assert work.running() is current.get() is transaction._item


def test_the_end_of_the_current_span_by_its_own_handle(engine):
    with apm_run.start_transaction("t") as transaction, apm_run.start_span("a") as span:
        with apm_run.start_span("b"):
            apm_run.current_span().end()
            assert span.is_current()
            apm_run.current_span().end()
            assert transaction.is_current()
        assert transaction.is_current()
    assert reported(engine) == ["a < t", "b < a"]


def test_ends_out_of_order_and_twice(engine):
    with apm_run.start_transaction("t") as transaction:
        first, second = apm_run.start_span("a").begin(), apm_run.start_span("b").begin()
        first.end()
        assert second.is_current()
        second.end()
        assert transaction.is_current()
        first.end()
        second.end()
        assert transaction.is_current()
    assert reported(engine) == ["a < t", "b < a"]
