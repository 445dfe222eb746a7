"""Functions that are called while an exit span of their library runs, and spans whose trace context stays inside."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import pytest
from tests.engine import Engine, running, work_span

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Exchange, Instrumentation, SpanDraft, Target, TransactionDraft, Within
from apm_run.tracer import current


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def query(call):
    return SpanDraft("QUERY", "db", "acme")


def library(engine, *targets, **functions):
    """A module with these functions, instrumented."""
    module = ModuleType("library")
    vars(module).update(functions)
    results = {}
    instrument(Instrumentation("library", "", targets), module, engine.tracer, results)
    assert set(results.values()) == {"wrapped"}
    return module


def note(call, result, draft, settings):
    draft.db = {"statement": f"{call.args[0]} {result!r} {settings.long_field_max_length}"}


def more(call, add):
    return (*call.args, sorted(add)), call.kwargs


class Refused(Exception):
    pass


def test_it_tells_the_span_that_runs(engine):
    module = library(
        engine,
        Target("library:query", query),
        Within("library:attempt", "acme", observe=note),
        query=lambda: module.attempt("first"),
        attempt=lambda name: (name, current.get()),
    )
    with engine.transaction() as transaction:
        name, inside = module.query()
    (span,) = engine.sink.spans(transaction)
    assert (name, inside) == ("first", span)
    assert span.draft.db["statement"].startswith("first ('first', <apm_run.tracer.span.Span")
    assert span.draft.db["statement"].endswith(" 10000")


def test_what_it_raises_may_be_dealt_with(engine):
    errors = [Refused("no"), KeyboardInterrupt()]

    def attempt(name):
        raise errors[name]

    def use():
        with pytest.raises(Refused) as caught:
            module.attempt(0)
        assert caught.value is errors[0]
        with pytest.raises(KeyboardInterrupt):
            module.attempt(1)

    module = library(
        engine,
        Target("library:query", query),
        Within("library:attempt", "acme", observe=note),
        query=use,
        attempt=attempt,
    )
    with engine.transaction() as transaction:
        module.query()
    (span,) = engine.sink.spans(transaction)
    assert span.outcome == "success"
    assert span.draft.db == {"statement": "0 Refused('no') 10000"}


def test_it_passes_straight_through_elsewhere(engine):
    seen = []
    module = library(
        engine,
        Within("library:attempt", "acme", observe=lambda *_: seen.append("told"), rewrite=more),
        attempt=lambda *args: args,
    )
    assert module.attempt(1) == (1,)
    with engine.transaction() as transaction:
        assert module.attempt(1) == (1,)
        other = engine.tracer.begin(SpanDraft("GET", "external", "http"), transaction)
        with running(other):
            assert module.attempt(1) == (1,)
        engine.tracer.end(other)
        inner = engine.tracer.begin(work_span(None), transaction)
        with running(inner):
            assert module.attempt(1) == (1,)
        ended = engine.tracer.begin(query(None), transaction)
        engine.tracer.end(ended)
        with running(ended):
            assert module.attempt(1) == (1,)
    assert seen == []


def test_it_puts_the_trace_context_in(engine):
    module = library(
        engine,
        Target("library:query", query),
        Within("library:attempt", "acme", rewrite=more),
        query=lambda: module.attempt("first"),
        attempt=lambda *args: args,
    )
    with engine.transaction():
        assert module.query() == ("first", ["traceparent", "tracestate"])


def test_without_a_span_where_nothing_is_sampled(engine):
    module = library(
        engine,
        Target("library:query", query),
        Within("library:attempt", "acme", rewrite=more, observe=note),
        Within("library:quiet", "acme", observe=note),
        query=lambda: (module.attempt("first"), module.quiet("second")),
        attempt=lambda *args: args,
        quiet=lambda *args: args,
    )
    with engine.transaction() as transaction:
        transaction.sampled = False
        assert module.query() == (("first", ["traceparent", "tracestate"]), ("second",))
    assert engine.sink.spans(transaction) == []


def test_coroutines_and_generators(engine):
    def numbers(name):
        yield 1
        yield 2

    async def attempt(name):
        await asyncio.sleep(0)
        return name

    async def use():
        return await module.attempt("coroutine")

    module = library(
        engine,
        Target("library:query", query),
        Target("library:listed", query),
        Within("library:attempt", "acme", observe=note),
        Within("library:numbers", "acme", observe=note),
        query=use,
        listed=lambda: list(module.numbers("generator")),
        attempt=attempt,
        numbers=numbers,
    )
    with engine.transaction() as transaction:
        assert asyncio.run(module.query()) == "coroutine"
        assert module.listed() == [1, 2]
        span = engine.tracer.begin(query(None), transaction)
        with running(span):
            left = module.numbers("left")
            next(left)
            left.close()
            assert current.get() is span
    told = [span.draft.db["statement"] for span in engine.sink.spans(transaction)]
    assert told == ["coroutine 'coroutine' 10000", "generator None 10000"]


def test_a_failing_function_of_it_switches_it_off(engine, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})

    def broken(*_):
        raise LookupError

    module = library(engine, Within("library:attempt", "acme", observe=broken), attempt=lambda: None)
    with engine.transaction() as transaction, running(engine.tracer.begin(query(None), transaction)):
        for _ in range(20):
            module.attempt()
    assert guard.failures["library:attempt: observe"][0] == 5
    assert engine.tracer.switched_off == {"library:attempt"}


# Spans whose trace context stays inside


def sealed(call):
    return SpanDraft("PUT", "storage", "acme", sealed=True)


def request(call):
    return SpanDraft("GET", "external", "http")


def test_requests_below_a_sealed_span_take_nothing_along(engine):
    module = library(
        engine,
        Target("library:put", sealed),
        Target("library:send", request, rewrite=more),
        put=lambda: module.send("request"),
        send=lambda *args: args,
    )
    with engine.transaction() as transaction:
        assert module.put() == ("request",)
        assert module.send("request") == ("request", ["traceparent", "tracestate"])
    first, second = engine.sink.spans(transaction)
    assert (first.draft.name, first.light, second.draft.name) == ("PUT", True, "GET")


def test_what_outlives_a_sealed_span_is_its_own(engine):
    module = library(engine, Target("library:send", request, rewrite=more), send=lambda *args: args)
    with engine.transaction() as transaction:
        span = engine.tracer.begin(sealed(None), transaction)
        engine.tracer.end(span)
        with running(span):
            assert module.send("request") == ("request", ["traceparent", "tracestate"])
    assert [span.draft.name for span in engine.sink.spans(transaction)] == ["PUT", "GET"]


def test_an_entry_below_a_sealed_span_is_a_transaction(engine):
    module = library(
        engine,
        Target("library:put", sealed),
        Target("library:work", lambda call: TransactionDraft("job", "messaging"), entry=True),
        put=lambda: module.work(),
        work=lambda: current.get().transaction.name,
    )
    with engine.transaction():
        assert module.put() == "job"


def test_an_exchange_below_a_sealed_span_takes_nothing_along(engine):
    class Connection:
        def __init__(self):
            self.sent = []

        def put(self):
            pass

        def end(self):
            self.sent.append(sys.intern("end"))

        def response(self):
            return self.sent

        def close(self):
            pass

    def add(call, headers):
        call.instance.sent.extend(headers)

    module = library(
        engine,
        Target("library:put", sealed),
        Exchange("library:Connection.put", request, inject="end", finish="response", abandon="close", rewrite=add),
        put=lambda: asked(),
        Connection=Connection,
    )

    def asked():
        connection = module.Connection()
        connection.put()
        connection.end()
        return connection.response()

    with engine.transaction() as transaction:
        assert module.put() == ["end"]
        assert asked() == ["traceparent", "tracestate", "end"]
    assert [span.draft.name for span in engine.sink.spans(transaction)] == ["PUT", "GET"]
