"""Random trees of tasks, blocks and decorated functions, with cancellations, failures and early breaks.

A plan is drawn; the program that it says is run on a real loop; a model that knows nothing of contexts says from the
plan alone which spans hang where. Whatever the tasks do to each other, each span has to hang below the block or call
that its line of the program stands in, each is reported once, and what was current is so again after each line.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import Engine, running
from tests.unit.api.support import Agent

import apm_run
from apm_run import agent
from apm_run.api import live
from apm_run.tracer import current, settled

#: What a line may be. All but the last ones have lines of their own.
NESTED = (
    "block",
    "decorated",
    "task",
    "gather",
    "shield",
    "thread",
    "rows",
    "half",
    "undecorated",
    "elsewhere",
    "late",
)
ENDS = ("pause", "fail", "cancel me", "leaf")

plans = st.recursive(
    st.tuples(st.sampled_from(ENDS), st.just(())),
    lambda lines: st.tuples(st.sampled_from(NESTED), st.lists(lines, min_size=1, max_size=3).map(tuple)),
    max_leaves=14,
)


class Failed(Exception):
    pass


class Program:
    """Runs a plan; notes for each span that has begun the name of what it stands in."""

    def __init__(self, seed):
        self.seed = seed
        self.expected = {}
        self.outlived = []
        self.wrong = []
        self.number = 0

    def name(self, kind, parent):
        self.number += 1
        name = f"{kind} {self.number}"
        self.expected[name] = parent
        return name

    async def lines(self, lines, parent):
        for kind, inner in lines:
            before = live.current()
            try:
                await getattr(self, kind.replace(" ", "_"))(inner, parent)
            except (Failed, asyncio.TimeoutError):
                pass
            except asyncio.CancelledError:
                self.check(before)
                raise
            self.check(before)

    def check(self, before):
        """What was current is so again, unless another task has ended it meanwhile."""
        if live.current() is not settled(before):
            self.wrong.append((before, current.get()))

    async def pause(self, _, parent):
        for _ in range(self.seed % 3):
            await asyncio.sleep(0)

    async def fail(self, _, parent):
        with apm_run.start_span(self.name("fail", parent)):
            await asyncio.sleep(0)
            raise Failed

    async def cancel_me(self, _, parent):
        """A part of it is cancelled by itself, as a timeout does."""

        async def inner():
            async with apm_run.start_span(self.name("cancelled", parent)):
                await asyncio.Event().wait()

        task = asyncio.ensure_future(inner())
        try:
            for _ in range(self.seed % 4):
                await asyncio.sleep(0)
        finally:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def leaf(self, _, parent):
        with apm_run.start_span(self.name("leaf", parent), exit=True):
            assert not apm_run.start_span("none").begin()

    async def block(self, lines, parent):
        name = self.name("block", parent)
        async with apm_run.start_span(name) as span:
            await self.lines(lines, name)
            self.check(span._item)

    async def decorated(self, lines, parent):
        name = self.name("decorated", parent)
        await apm_run.start_span(name)(self.lines)(lines, name)

    async def task(self, lines, parent):
        task = asyncio.ensure_future(self.lines(lines, parent))
        for _ in range(self.seed % 5):
            await asyncio.sleep(0)
        if self.seed % 2:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def gather(self, lines, parent):
        await asyncio.gather(*(self.block((line,), parent) for line in lines), return_exceptions=True)

    async def shield(self, lines, parent):
        inner = asyncio.ensure_future(self.block(lines, parent))
        self.outlived.append(inner)
        try:
            await asyncio.wait_for(asyncio.shield(inner), 0)
        finally:
            await asyncio.sleep(0)

    async def thread(self, lines, parent):
        """A loop of its own in a thread, as a synchronous view does that calls asynchronous code."""
        await asyncio.get_running_loop().run_in_executor(None, self.within(), lambda: self.lines(lines, parent))

    def within(self):
        context = contextvars.copy_context()
        return lambda make: context.run(asyncio.run, make())

    async def rows(self, lines, parent):
        """Decorated, and read to the end; what is done with a row is no part of it."""
        name = self.name("rows", parent)

        @apm_run.start_span(name)
        async def rows():
            for line in lines:
                inner = self.name("row", name)
                async with apm_run.start_span(inner):
                    await self.lines((line,), inner)
                    yield line

        async for line in rows():
            await self.lines((line,), parent)

    async def half(self, lines, parent):
        """The same, left at the first row."""
        name = self.name("half", parent)

        @apm_run.start_span(name)
        async def rows():
            inner = self.name("first", name)
            async with apm_run.start_span(inner):
                await self.lines(lines, inner)
                yield 1
                raise AssertionError("nobody asks for it")

        async for _ in rows():
            break
        await self.lines(lines, parent)

    async def undecorated(self, lines, parent):
        """A block around a row is current for who reads it, until it has ended (decision 25)."""
        name = self.name("undecorated", parent)

        async def rows():
            async with apm_run.start_span(name):
                yield 1

        made = rows()
        await made.__anext__()
        await asyncio.ensure_future(made.aclose())
        await self.lines(lines, parent)

    async def elsewhere(self, lines, parent):
        """A span that is ended by another task."""
        name = self.name("elsewhere", parent)
        span = apm_run.start_span(name).begin()

        async def end():
            span.end()

        try:
            await self.lines(lines, name)
        finally:
            await asyncio.shield(asyncio.ensure_future(end()))

    async def late(self, lines, parent):
        """A task that outlives the block it has begun in: it stays below it."""
        name = self.name("late", parent)
        async with apm_run.start_span(name):
            self.outlived.append(asyncio.ensure_future(self.lines(lines, name)))


def run(program, plan):
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with apm_run.start_transaction("t") as transaction:
            await program.lines(plan, "t")
            program.check(transaction._item)
            # Those of a thread's loop have been cancelled at its end.
            here = [task for task in program.outlived if task.get_loop() is asyncio.get_running_loop()]
            await asyncio.gather(*here, return_exceptions=True)
        assert current.get() is None

    asyncio.run(main())
    gc.collect()
    assert complaints == program.wrong == []


@settings(max_examples=40)
@given(st.lists(plans, min_size=1, max_size=4), st.integers(0, 59))
def test_each_span_hangs_where_its_line_stands(plan, seed):
    engine, program = Engine(), Program(seed)
    previous, agent.running = agent.running, Agent(tracer=engine.tracer, speaks=False, filters={}, exporter=None)
    try:
        with running(None):
            run(program, plan)
    finally:
        agent.running = previous
    ((transaction, spans),) = engine.sink.transactions
    spans = [*spans, *engine.sink.late]
    found = {
        span.draft.name: span.parent.name if span.parent is transaction else span.parent.draft.name for span in spans
    }
    assert len(found) == len(spans)
    for name, parent in program.expected.items():
        # A task that goes on below what another one has ended may be moved to what that was below.
        allowed = [parent]
        while allowed[-1].startswith("elsewhere"):
            allowed.append(program.expected[allowed[-1]])
        assert found.pop(name) in allowed, name
    assert found == {}
    assert (transaction.outcome, transaction.errors, engine.sink.errors) == ("success", [], [])
    for span in spans:
        kind = span.draft.name.split()[0]
        expected = {"fail": ("failure", "unknown"), "cancelled": ("unknown",)}.get(kind, ("success", "unknown"))
        assert span.outcome in expected, span.draft.name
