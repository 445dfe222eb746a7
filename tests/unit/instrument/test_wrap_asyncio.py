"""Wrapped coroutines and asynchronous generators under what asyncio does with tasks.

In each case: what was current is current again, in the task and outside; the spans hang where they have begun, each
has ended once; a cancellation is neither failure nor error; the loop has nothing to complain of.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from tests.engine import Engine, exit_span

from apm_run.model import SpanDraft
from apm_run.tracer import current

groups = pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with Python 3.11")


def named(call):
    return SpanDraft(str(call.args[0]), "custom", exit=False)


class Torture:
    """An engine, a loop that keeps its complaints, and functions to be wrapped: ``name`` names their spans."""

    def __init__(self):
        self.engine = Engine()
        self.complaints = []
        self.ended = []
        end = self.engine.tracer.end

        def counted(span, here=True):
            self.ended.append(span)
            end(span, here)

        self.engine.tracer.end = counted
        self.work = self.engine.wrap(self.sleep, named)
        self.rows = self.engine.wrap(self.count, named)
        self.leaf = self.engine.wrap(lambda name: None, lambda call: SpanDraft(call.args[0], "external", "http"))
        self.sync = self.engine.wrap(lambda name: self.leaf(f"{name}.leaf"), named)

    async def sleep(self, name, steps=1, inner=None, error=None):
        mine = current.get()
        assert mine.draft.name == name
        try:
            for _ in range(steps):
                await asyncio.sleep(0)
                assert current.get() is mine
            if inner is not None:
                await inner()
            if error is not None:
                raise error
            return name
        finally:
            assert current.get() is mine

    async def count(self, name, steps=3, error=None):
        mine = current.get()
        try:
            for step in range(steps):
                self.leaf(f"{name}.{step}")
                yield step
                assert current.get() is mine
                await asyncio.sleep(0)
            if error is not None:
                raise error
        finally:
            assert current.get() is mine
            await asyncio.sleep(0)

    def run(self, main):
        """Run a program in a transaction; its spans as ``name < parent: outcome``, sorted."""

        async def watched():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.complaints.append(context))
            before = current.get()
            try:
                return await main()
            finally:
                assert current.get() is before

        with warnings.catch_warnings(), self.engine.transaction() as transaction:
            warnings.simplefilter("error")
            asyncio.run(watched())
            gc.collect()
        assert self.complaints == []
        assert transaction.errors == self.engine.sink.errors == []
        assert len(set(self.ended)) == len(self.ended)
        spans = [*self.engine.sink.spans(transaction), *self.engine.sink.late]
        assert sorted(map(id, spans)) == sorted(map(id, self.ended))
        return sorted(
            f"{span.draft.name} < {span.parent.name if span.parent is transaction else span.parent.draft.name}"
            f"{'' if span.outcome == 'success' else f': {span.outcome}'}"
            for span in spans
        )


@pytest.fixture
def torture():
    yield Torture()
    assert current.get() is None


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_a_task_that_is_cancelled_before_its_first_step(torture):
    async def main():
        task = asyncio.ensure_future(torture.work("a"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await torture.work("b")

    assert torture.run(main) == ["b < test"]


def test_a_cancelled_task_that_takes_others_along(torture):
    async def main():
        async def inner():
            await asyncio.gather(torture.work("b", 99), torture.work("c", 99, partial(torture.work, "d", 99)))

        task = asyncio.ensure_future(torture.work("a", 1, inner))
        await asyncio.sleep(0)
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert torture.run(main) == ["a < test: unknown", "b < a: unknown", "c < a: unknown"]


def test_a_cancellation_that_is_swallowed(torture):
    async def stubborn(name):
        mine = current.get()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            torture.leaf("after")
            assert current.get() is mine
        return 5

    async def main():
        task = asyncio.ensure_future(torture.engine.wrap(stubborn, named)("a"))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == 5

    assert torture.run(main) == ["a < test", "after < a"]


def test_gather_that_keeps_the_exceptions(torture):
    async def main():
        found = await asyncio.gather(
            torture.work("a"),
            torture.work("b", error=ValueError("b")),
            torture.work("c", error=asyncio.CancelledError()),
            torture.work("d", inner=partial(torture.work, "e")),
            return_exceptions=True,
        )
        assert [type(each) for each in found] == [str, ValueError, asyncio.CancelledError, str]

    assert torture.run(main) == ["a < test", "b < test: failure", "c < test: unknown", "d < test", "e < d"]


def test_wait_for_in_time_and_too_late(torture):
    async def main():
        assert await asyncio.wait_for(torture.work("a"), 60) == "a"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(torture.work("b", inner=partial(asyncio.sleep, 60)), 0.001)
        with pytest.raises(asyncio.TimeoutError):
            # Without any time: what has not begun is cancelled.
            await torture.work("c", inner=lambda: asyncio.wait_for(torture.work("d", inner=asyncio.Event().wait), 0))

    assert torture.run(main) == ["a < test", "b < test: unknown", "c < test: failure"]


def test_a_shielded_task_goes_on(torture):
    async def main():
        gate = asyncio.Event()
        inner = asyncio.ensure_future(torture.work("a", inner=gate.wait))
        outer = asyncio.ensure_future(torture.work("b", inner=lambda: asyncio.shield(inner)))
        for _ in range(4):
            await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        gate.set()
        assert await inner == "a"

    assert torture.run(main) == ["a < test", "b < test: unknown"]


def test_a_task_that_outlives_what_started_it(torture):
    kept = []

    async def main():
        gate = asyncio.Event()

        async def start():
            kept.append(asyncio.ensure_future(torture.work("b", inner=gate.wait)))

        await torture.work("a", inner=start)
        torture.leaf("c")
        gate.set()
        await kept[0]

    assert torture.run(main) == ["a < test", "b < a", "c < test"]


@groups
def test_task_groups_of_which_the_inner_fails(torture):
    async def main():
        async def inner():
            async with asyncio.TaskGroup() as group:
                group.create_task(torture.work("c", 99))
                group.create_task(torture.work("d", 2, error=LookupError("d")))

        async def outer():
            async with asyncio.TaskGroup() as group:
                group.create_task(torture.work("e", 99))
                group.create_task(torture.work("b", inner=inner))

        with pytest.raises(ExceptionGroup) as caught:  # noqa: F821
            await torture.work("a", inner=outer)
        assert caught.group_contains(LookupError, depth=2)

    assert torture.run(main) == [
        "a < test: failure",
        "b < a: failure",
        "c < b: unknown",
        "d < b: failure",
        "e < a: unknown",
    ]


@groups
def test_a_task_group_that_is_cancelled_from_outside(torture):
    async def main():
        async def inner():
            async with asyncio.TaskGroup() as group:
                for name in "bcd":
                    group.create_task(torture.work(name, 99))

        task = asyncio.create_task(torture.work("a", inner=inner))
        await until(lambda: len(asyncio.all_tasks()) == 5)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert torture.run(main) == ["a < test: unknown", *(f"{name} < a: unknown" for name in "bcd")]


@groups
def test_a_group_of_cancellations_is_no_failure(torture):
    async def main():
        error = BaseExceptionGroup("both", [asyncio.CancelledError()])  # noqa: F821
        with pytest.raises(BaseExceptionGroup):  # noqa: F821
            await torture.work("a", error=error)

    assert torture.run(main) == ["a < test: unknown"]


@groups
def test_a_timeout_around_and_within(torture):
    async def main():
        async def inner():
            async with asyncio.timeout(0.001):
                await torture.work("b", inner=asyncio.Event().wait)

        with pytest.raises(TimeoutError):
            await torture.work("a", inner=inner)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                async for _ in torture.rows("r", 1, ValueError("never")):
                    await asyncio.Event().wait()
        # Otherwise the end of the loop may cancel who closes them.
        gc.collect()
        for _ in range(9):
            await asyncio.sleep(0)

    assert torture.run(main) == ["a < test: failure", "b < a: unknown", "r < test", "r.0 < r"]


def test_break_leaves_the_rows_to_the_loop(torture):
    async def main():
        before = current.get()
        async for row in torture.rows("a"):
            assert current.get() is before
            torture.leaf("own")
            if row == 1:
                break
        assert current.get() is before
        gc.collect()
        await torture.work("b", 5)

    assert torture.run(main) == ["a < test", "a.0 < a", "a.1 < a", "b < test", "own < test", "own < test"]


def test_rows_within_rows_left_in_any_order(torture):
    async def main():
        before = current.get()
        first, second, third = (torture.rows(name) for name in "abc")
        for made in (first, second, third, second):
            await made.__anext__()
            assert current.get() is before
        await first.aclose()
        assert [row async for row in third] == [1, 2]
        await second.aclose()
        await second.aclose()
        with pytest.raises(StopAsyncIteration):
            await first.__anext__()

    assert [line for line in torture.run(main) if "." not in line] == [f"{name} < test" for name in "abc"]


def test_rows_that_pass_on_rows(torture):
    async def passed(name):
        async for row in torture.rows("inner"):
            yield row

    outer = torture.engine.wrap(passed, named)

    async def main():
        async for _ in outer("outer"):
            break
        gc.collect()
        for _ in range(9):
            await asyncio.sleep(0)

    assert torture.run(main) == ["inner < outer", "inner.0 < inner", "outer < test"]


def test_the_consumer_is_cancelled_while_the_rows_wait(torture):
    async def wait(name):
        yield 1
        await asyncio.Event().wait()

    rows = torture.engine.wrap(wait, named)

    async def main():
        got = []

        async def consume():
            async for row in rows("rows"):
                got.append(row)  # noqa: PERF401

        task = asyncio.ensure_future(torture.work("a", inner=consume))
        await until(lambda: got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert torture.run(main) == ["a < test: unknown", "rows < a: unknown"]


def test_rows_that_begin_in_one_task_and_end_in_another(torture):
    async def main():
        made = torture.rows("rows", 3)
        before = current.get()

        async def one():
            return await made.__anext__()

        for row in range(3):
            assert await asyncio.ensure_future(torture.work(f"task {row}", inner=one))
            assert current.get() is before
        with pytest.raises(StopAsyncIteration):
            await made.__anext__()

    found = torture.run(main)
    assert "rows < task 0" in found
    assert [line for line in found if line.startswith("rows.")] == [f"rows.{row} < rows" for row in range(3)]


def test_the_loop_ends_with_tasks_and_rows_half_way(torture):
    kept = []

    async def main():
        made = torture.rows("rows")
        kept.append(made)
        await made.__anext__()
        kept.append(asyncio.ensure_future(torture.work("a", inner=asyncio.Event().wait)))
        for _ in range(3):
            await asyncio.sleep(0)

    assert torture.run(main) == ["a < test: unknown", "rows < test", "rows.0 < rows"]


def test_executors_and_contexts(torture):
    async def main():
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:

            async def inner():
                await asyncio.to_thread(torture.sync, "thread")
                # An executor's own threads know nothing of the caller's context, as bare.
                await loop.run_in_executor(pool, torture.sync, "nowhere")
                await loop.run_in_executor(pool, contextvars.copy_context().run, torture.sync, "carried")

            await torture.work("a", inner=inner)
            context.run(torture.sync, "copied")
            loop.call_soon(torture.sync, "soon", context=context)
            await asyncio.sleep(0)
            assert await loop.run_in_executor(pool, current.get) is None

    assert torture.run(main) == sorted(
        [
            *("a < test", "thread < a", "carried < a", "copied < test", "soon < test"),
            *(f"{name}.leaf < {name}" for name in ("thread", "carried", "copied", "soon")),
        ]
    )


def test_an_awaited_call_that_never_begins_is_told_of_as_bare(torture):
    def told(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function("a")
            gc.collect()
        return [str(each.message) for each in caught]

    assert told(torture.work) == told(torture.sleep) != []


def test_an_exit_span_that_is_cancelled_leaves_nothing_behind(torture):
    async def call(name):
        await asyncio.Event().wait()

    wrapped = torture.engine.wrap(call, exit_span)

    async def main():
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wrapped("x"), 0.001)
        torture.leaf("after")

    assert torture.run(main) == ["after < test", *["call < test: unknown"] * 3]
