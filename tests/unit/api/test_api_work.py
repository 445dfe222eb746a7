"""Transactions and spans that the program begins itself (spec 26)."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import threading

import pytest
from tests.engine import WALL, Engine, exit_span, running, work_span
from tests.receiver import objections
from tests.unit.api.support import Agent

import apm_run
from apm_run import agent
from apm_run.intake import encode
from apm_run.tracer import current

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ended(engine):
    return [transaction for transaction, _ in engine.sink.transactions]


def names(engine):
    """Transaction -> its spans as (name, parent's name), in the order of their begin."""
    found = {}
    for transaction, spans in engine.sink.transactions:
        spans = sorted(spans, key=lambda span: span.start_ns)
        found[transaction.name] = [
            (span.draft.name, getattr(span.parent, "name", None) or span.parent.draft.name) for span in spans
        ]
    return found


def test_a_block_is_a_transaction(engine):
    with apm_run.start_transaction("import", "job") as transaction:
        assert transaction
        assert current.get() is transaction._item
        assert apm_run.current_transaction() == transaction
        assert transaction.is_current()
        assert not apm_run.current_span()
    assert current.get() is None
    (found,) = ended(engine)
    assert (found.name, found.type, found.outcome, found.parent_id) == ("import", "job", "success", None)
    assert (transaction.id, transaction.trace_id) == (found.id, found.trace_id)
    assert len(found.trace_id) == 32
    assert engine.agent.speaks


def test_it_is_always_a_root_and_what_was_before_is_current_again(engine):
    """As StartTransaction of the .NET agent."""
    with engine.transaction("request") as outer:
        with apm_run.start_transaction("inner") as transaction:
            assert transaction.trace_id != outer.trace_id
            assert transaction.parent_id is None
        assert current.get() is outer
    assert [transaction.name for transaction in ended(engine)] == ["inner", "request"]


@pytest.mark.parametrize(
    "parent",
    [
        PARENT,
        {"traceparent": PARENT, "tracestate": "es=s:0.5"},
        {"Traceparent": [PARENT], "TraceState": ("es=s:0.5",)},
        [(b"host", b"x"), (b"traceparent", PARENT.encode()), (b"tracestate", b"es=s:0.5")],
    ],
)
def test_it_continues_what_it_is_given(engine, parent):
    with apm_run.start_transaction("message", parent=parent) as transaction:
        assert transaction.trace_id == PARENT[3:35]
        assert transaction.parent_id == PARENT[36:52]
    (found,) = ended(engine)
    assert found.sample_rate == (None if parent is PARENT else 0.5)


def test_it_continues_a_span_or_transaction(engine):
    with apm_run.start_transaction("first") as first, apm_run.start_span("part") as span:
        with apm_run.start_transaction("below", parent=span) as below:
            assert (below.trace_id, below.parent_id) == (first.trace_id, span.id)
        with apm_run.start_transaction("beside", parent=first) as beside:
            assert (beside.trace_id, beside.parent_id) == (first.trace_id, first.id)


def test_what_is_the_program_s_own_is_continued_whatever_the_strategy(monkeypatch):
    """``trace_continuation_strategy`` is about what comes from elsewhere (spec 16)."""
    engine = Engine(trace_continuation_strategy="restart")
    monkeypatch.setattr(agent, "running", Agent(tracer=engine.tracer, speaks=False))
    with apm_run.start_transaction("first") as first:
        with apm_run.start_transaction("below", parent=first) as below:
            assert below.trace_id == first.trace_id
        with apm_run.start_transaction("elsewhere", parent=PARENT) as elsewhere:
            assert elsewhere.trace_id != PARENT[3:35]
    assert ended(engine)[1].links == [{"trace_id": PARENT[3:35], "span_id": PARENT[36:52]}]


def test_links(engine):
    with apm_run.start_transaction("batch", links=[PARENT, {"traceparent": PARENT}, {}]) as transaction:
        with apm_run.start_span("part", links=[transaction]) as span:
            span.add_links([PARENT])
        transaction.add_links([span])
    (found,) = ended(engine)
    link = {"trace_id": PARENT[3:35], "span_id": PARENT[36:52]}
    (part,) = engine.sink.spans(found)
    event = json.loads(encode.span_line(part))["span"]
    assert objections("span", event) == []
    assert event["links"] == part.links
    assert found.links == [link, link, {"trace_id": found.trace_id, "span_id": span.id}]
    assert engine.one_span(found).links == [{"trace_id": found.trace_id, "span_id": found.id}, link]


def test_what_is_raised_passes_and_fails_a_transaction(engine):
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, apm_run.start_transaction("x"):
        raise error
    assert caught.value is error
    (found,) = ended(engine)
    assert found.outcome == "failure"
    assert [event["exception"]["message"] for event in found.errors] == ["mine"]
    assert not found.errors[0]["exception"]["handled"]


@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError, "failure"), (KeyboardInterrupt, "unknown"), (GeneratorExit, "success")]
)
def test_what_is_raised_decides_the_outcome(engine, error, outcome):
    with pytest.raises(error), apm_run.start_transaction("x"), apm_run.start_span("y"):
        raise error
    (found,) = ended(engine)
    assert found.outcome == outcome
    assert engine.one_span(found).outcome == outcome


def test_a_span_is_a_part_of_what_is_current(engine):
    with apm_run.start_transaction("t"):
        with apm_run.start_span("a", "db", "sqlite", "query") as a:
            assert apm_run.current_span() == a
            assert a.transaction == apm_run.current_transaction()
            with apm_run.start_span("b"):
                pass
        with apm_run.start_span("c"):
            pass
    assert names(engine) == {"t": [("a", "t"), ("b", "a"), ("c", "t")]}
    (found,) = ended(engine)
    draft = engine.sink.spans(found)[1].draft
    assert (draft.name, draft.type, draft.subtype, draft.action, draft.exit) == ("a", "db", "sqlite", "query", False)


def test_outside_of_transactions_a_span_does_nothing(engine):
    """Nor does it where nothing is sampled, or below an exit span, which is a leaf (spec 19)."""
    with apm_run.start_span("x") as span:
        assert not span
        assert current.get() is None
        span.name = "y"
        span.set_label("a", 1)
        assert (span.id, span.name, span.outgoing_headers(), span.outcome) == ("", "", {}, None)
        assert not span.transaction
    with apm_run.start_transaction("t", parent=PARENT[:-1] + "0") as transaction, apm_run.start_span("x") as span:
        assert not span
        assert span.outgoing_headers()["traceparent"] == f"00-{transaction.trace_id}-{transaction.id}-00"
    with apm_run.start_transaction("t"), apm_run.start_span("out", exit=True) as out:
        with apm_run.start_span("in") as span:
            assert not span
            assert span.outgoing_headers()["traceparent"].split("-")[2] == out.id
        assert out.is_current()
    assert names(engine)["t"] == [("out", "t")]


def test_a_parent_of_another_thread(engine):
    with apm_run.start_transaction("t") as transaction:

        def work():
            assert not apm_run.current_transaction()
            with apm_run.start_span("there", parent=transaction) as span:
                assert apm_run.current_span() == span
            with apm_run.start_span("below", parent=span):
                pass

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert transaction.is_current()
    assert names(engine) == {"t": [("there", "t"), ("below", "there")]}


@pytest.mark.parametrize("exit", [False, True])
def test_below_a_parent_that_is_none_is_nothing(engine, exit):
    with apm_run.start_transaction("t"):
        parent = apm_run.start_span("p", exit=True).begin() if exit else apm_run.Span()
        with apm_run.start_span("x", parent=parent) as span:
            assert not span


def test_by_hand(engine):
    transaction = apm_run.start_transaction("t").begin()
    span = apm_run.start_span("s").begin()
    assert span.is_current()
    span.end()
    assert transaction.is_current()
    span.end()
    transaction.end(ValueError("x"))
    transaction.end()
    assert current.get() is None
    (found,) = ended(engine)
    assert (found.outcome, len(found.errors)) == ("failure", 1)
    assert names(engine) == {"t": [("s", "t")]}


def test_what_ends_out_of_order_leaves_nothing_that_has_ended_current(engine):
    outer = apm_run.start_transaction("t").begin()
    first = apm_run.start_span("a").begin()
    second = apm_run.start_span("b").begin()
    first.end()
    assert second.is_current()
    second.end()
    assert outer.is_current()
    third = apm_run.start_span("c").begin()
    outer.end()
    third.end()
    assert current.get() is None


def test_ending_the_program_s_own_transaction(engine):
    engine.tracer.begin_ambient("program", engine.clock(), WALL // 1000, None)
    transaction = apm_run.current_transaction()
    assert transaction.name == "program"
    with apm_run.start_span("part") as span:
        assert span.transaction == transaction
    transaction.end()
    assert not apm_run.current_transaction()
    assert names(engine) == {"program": [("part", "program")]}


def test_one_starter_for_many(engine):
    """Used in itself, and by threads at once."""
    part = apm_run.start_span("part")
    barrier = threading.Barrier(2, timeout=20)

    def work():
        with apm_run.start_transaction("thread"), part as span:
            barrier.wait()
            assert apm_run.current_span() == span
            with part as inner:
                assert inner != span
                barrier.wait()
            assert apm_run.current_span() == span
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(spans) for _, spans in engine.sink.transactions] == [2, 2]
    assert all(name == ("part", "thread") or name == ("part", "part") for name in names(engine)["thread"])
    out = apm_run.start_span("out", exit=True)
    with apm_run.start_transaction("t"):
        with out as outer:
            with out as inner:
                assert outer
                assert not inner
            assert outer.is_current()
        assert not outer.is_current()


# Decorators


def plain(x):
    """Its text."""
    return inspect.stack()[0].function, x, apm_run.current_span().name


def test_a_function_keeps_what_it_is(engine, monkeypatch):
    decorated = apm_run.start_span("named", "app")(plain)
    assert decorated is not plain
    with apm_run.start_transaction("t"):
        assert decorated(3) == ("plain", 3, "named")
    assert (decorated.__name__, decorated.__doc__, decorated.__wrapped__) == ("plain", "Its text.", plain)
    assert decorated.__module__ == __name__
    assert inspect.signature(decorated) == inspect.signature(plain)
    monkeypatch.setitem(globals(), "plain", decorated)
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert decorated(4) == ("plain", 4, "")


def test_names_are_those_of_functions(engine):
    @apm_run.start_transaction(type="job")
    def job():
        return bare()

    @apm_run.start_span
    def bare():
        return 5

    assert job() == 5
    ((name, spans),) = names(engine).items()
    assert name.endswith("<locals>.job")
    assert spans[0][0].endswith("<locals>.bare")


def test_each_kind_of_function(engine):
    seen = []

    def see():
        seen.append((apm_run.current_transaction().name, apm_run.current_span().name))

    @apm_run.start_span("generator")
    def generator():
        see()
        got = yield 1
        see()
        yield got

    @apm_run.start_span("coroutine")
    async def coroutine():
        await asyncio.sleep(0)
        see()
        return 2

    @apm_run.start_span("asynchronous generator")
    async def stream():
        see()
        yield 3

    @apm_run.start_transaction("job")
    async def job():
        steps = generator()
        found = [next(steps)]
        see()
        found.append(steps.send("sent"))
        steps.close()
        found.append(await coroutine())
        found += [item async for item in stream()]
        async with apm_run.start_span("block") as span:
            await asyncio.sleep(0)
            assert span.is_current()
        return found

    assert inspect.isgeneratorfunction(generator)
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(stream)
    assert asyncio.run(job()) == [1, "sent", 2, 3]
    spans = ["generator", "coroutine", "asynchronous generator", "block"]
    assert [name for name, _ in names(engine)["job"]] == spans
    assert seen == [("job", name) for name in ("generator", "", "generator", "coroutine", "asynchronous generator")]
    (found,) = ended(engine)
    by_name = {span.draft.name: span for span in engine.sink.spans(found)}
    assert [by_name[name].sync for name in spans] == [True, False, False, False]
    assert {span.outcome for span in by_name.values()} == {"success"}


def test_a_generator_as_a_transaction(engine):
    @apm_run.start_transaction("rows", "job")
    def rows():
        for number in range(3):
            with apm_run.start_span(f"row {number}"):
                pass
            yield number

    with apm_run.start_transaction("consumer") as consumer:
        for _ in rows():
            assert consumer.is_current()
    assert names(engine)["rows"] == [(f"row {number}", "rows") for number in range(3)]
    assert names(engine)["consumer"] == []


def test_a_decorated_function_that_raises(engine):
    @apm_run.start_transaction("t")
    def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    (found,) = ended(engine)
    assert (found.outcome, [event["exception"]["message"] for event in found.errors]) == ("failure", ["mine"])


def test_methods_of_all_kinds(engine):
    class Shop:
        @apm_run.start_span("method")
        def method(self, x):
            return self, x

        @apm_run.start_span("class")
        @classmethod
        def made(cls):
            return cls

        @apm_run.start_span("static")
        @staticmethod
        def static(x):
            return x

    shop = Shop()
    with apm_run.start_transaction("t"):
        assert shop.method(1) == (shop, 1)
        assert Shop.made() is Shop
        assert shop.static(2) == 2
    assert [name for name, _ in names(engine)["t"]] == ["method", "class", "static"]


def test_what_is_no_function_stays_as_it_is(engine, misuses):
    class Shop:
        pass

    assert apm_run.start_span("x")(Shop) is Shop
    assert apm_run.start_span("x")(5) == 5
    assert misuses == [
        "warning api.misuse decorator: type is no function",
        "warning api.misuse decorator: int is no function",
    ]


def test_a_decorator_s_parent_and_links(engine):
    with apm_run.start_transaction("t") as transaction:
        pass

    @apm_run.start_transaction("below", parent=transaction, links=[PARENT])
    def below():
        return apm_run.current_transaction().parent_id

    assert below() == transaction.id
    assert ended(engine)[1].links == [{"trace_id": PARENT[3:35], "span_id": PARENT[36:52]}]


# Beside what is instrumented


def test_spans_of_libraries_hang_below(engine):
    call = engine.wrap(lambda: apm_run.current_span().name, exit_span)
    work = engine.wrap(lambda: call(), work_span)
    with apm_run.start_transaction("t"), apm_run.start_span("mine"):
        assert work() == "call"
    assert names(engine) == {"t": [("mine", "t"), ("work", "mine"), ("call", "work")]}


def test_switched_off_nothing_begins(engine):
    decorated = apm_run.start_transaction("d")(lambda: apm_run.current_transaction())
    below = apm_run.start_span("s", parent=apm_run.start_transaction("t").begin())(lambda: bool(apm_run.current_span()))
    engine.tracer.active = False
    with apm_run.start_transaction("t") as transaction, apm_run.start_span("s") as span:
        assert not transaction
        assert not span
        assert not (apm_run.current_transaction())
    assert not decorated()
    assert not below()
    assert not apm_run.is_running()
    assert apm_run.start_span("x")(plain) is plain
    assert engine.sink.transactions == []


def test_an_entry_of_a_library_inside_is_its_own(engine):
    """The transaction of a server is no part of one that the program has begun around it."""
    with running(None), apm_run.start_transaction("outer") as outer:
        entry = engine.wrap(lambda: apm_run.current_transaction(), entry=True)
        assert entry() != outer
        assert outer.is_current()
    assert [transaction.name for transaction in ended(engine)] == ["work", "outer"]
