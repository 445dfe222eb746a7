"""Entries, propagation, failing functions of an instrumentation, and the switch that ends their failing."""

from __future__ import annotations

import pytest
from tests.engine import Engine, exit_span, running, work_span

from apm_run import guard
from apm_run.instrument.vocabulary import Target
from apm_run.instrument.wrap import TOLERATED, Interceptor, function
from apm_run.model import TransactionDraft
from apm_run.propagation import TraceContext
from apm_run.tracer import current


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


def entry(call):
    return TransactionDraft("job", "messaging")


def test_entry_is_a_transaction_of_its_own(engine):
    engine.tracer.begin_ambient("program", 1, 1, None)
    wrapper = engine.wrap(lambda value: (current.get(), value), entry, entry=True)
    transaction, value = wrapper(5)
    assert value == 5
    assert (transaction.name, transaction.type, transaction.outcome, transaction.entry) == (
        "job",
        "messaging",
        "success",
        True,
    )
    assert [ended for ended, _ in engine.sink.transactions] == [transaction]
    assert engine.tracer.ambient is None


def test_entry_within_an_entry_is_the_same(engine):
    inner = engine.wrap(lambda: current.get(), entry, entry=True)
    outer = engine.wrap(lambda: (current.get(), inner()), entry, entry=True)
    first, second = outer()
    assert first is second
    assert len(engine.sink.transactions) == 1


def test_entry_that_is_none(engine):
    wrapper = engine.wrap(lambda: current.get(), lambda call: None, entry=True)
    assert wrapper() is None
    assert engine.sink.transactions == []


def test_entry_within_a_transaction_that_is_none(engine):
    """What the program began itself does not hold a job."""
    wrapper = engine.wrap(lambda: current.get(), entry, entry=True)
    with engine.transaction() as transaction:
        job = wrapper()
        assert job is not transaction
        assert job.trace_id != transaction.trace_id


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_entry_of_each_kind_reports_its_error(engine, kind):
    error = ValueError("mine")

    def fail():
        raise error

    async def afail():
        raise error

    def gfail():
        yield 1
        raise error

    async def agfail():
        yield 1
        raise error

    def step(awaitable):
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value

    with pytest.raises(ValueError) as caught:
        if kind == "function":
            engine.wrap(fail, entry, entry=True)()
        elif kind == "coroutine":
            step(engine.wrap(afail, entry, entry=True)())
        elif kind == "generator":
            list(engine.wrap(gfail, entry, entry=True)())
        else:
            made = engine.wrap(agfail, entry, entry=True)()
            assert step(made.__anext__()) == 1
            step(made.__anext__())
    assert caught.value is error
    ((transaction, _),) = engine.sink.transactions
    assert transaction.outcome == "failure"
    (event,) = transaction.errors
    assert event["exception"]["message"] == "mine"
    assert event["parent_id"] == transaction.id
    assert event["exception"]["handled"] is False


def sent(call, headers):
    return call.args, {**call.kwargs, "headers": dict(headers)}


def test_headers_are_of_the_exit_span(engine):
    wrapper = engine.wrap(lambda headers=None: (current.get(), headers), exit_span, rewrite=sent)
    with engine.transaction() as transaction:
        span, headers = wrapper()
    assert headers == {
        "traceparent": f"00-{transaction.trace_id}-{span.id}-01",
        "tracestate": "es=s:1",
    }


def test_headers_below_an_exit_span_are_of_that(engine):
    inner = engine.wrap(lambda headers=None: headers, exit_span, rewrite=sent)
    outer = engine.wrap(lambda headers=None: (headers, inner()), exit_span, rewrite=sent)
    with engine.transaction() as transaction:
        first, second = outer()
    assert first == second
    assert len(engine.sink.spans(transaction)) == 1


@pytest.mark.parametrize("function", [lambda headers=None: headers], ids=["plain"])
def test_headers_of_an_unsampled_transaction(function):
    engine = Engine(transaction_sample_rate="0")
    wrapper = engine.wrap(function, exit_span, rewrite=sent)
    with engine.transaction() as transaction:
        assert wrapper() == {"traceparent": f"00-{transaction.trace_id}-{transaction.id}-00", "tracestate": "es=s:0"}
    assert engine.sink.spans(transaction) == []


def test_headers_of_a_span_that_is_dropped():
    engine = Engine(transaction_max_spans="0")
    wrapper = engine.wrap(lambda headers=None: headers, exit_span, rewrite=sent)
    with engine.transaction() as transaction:
        assert f"-{transaction.id}-01" in wrapper()["traceparent"]
    assert engine.sink.spans(transaction) == []
    assert transaction.dropped() == 1


def test_headers_continue_what_came_in(engine):
    incoming = TraceContext("ab" * 16, "cd" * 8, True, "other=1,es=s:0.5")
    wrapper = engine.wrap(lambda headers=None: headers, exit_span, rewrite=sent)
    with engine.transaction(context=incoming) as transaction:
        headers = wrapper()
    assert headers["traceparent"].split("-")[1] == "ab" * 16
    assert headers["tracestate"] == "other=1,es=s:0.5"
    assert (transaction.parent_id, transaction.sample_rate) == ("cd" * 8, 0.5)


def test_rewrite_may_leave_the_arguments(engine):
    wrapper = engine.wrap(lambda *args, **kwargs: (args, kwargs), exit_span, rewrite=lambda call, headers: None)
    with engine.transaction():
        assert wrapper(1, two=2) == ((1,), {"two": 2})


def test_rewrite_does_not_change_the_callers(engine):
    mine = {"key": "value"}
    wrapper = engine.wrap(lambda **kwargs: kwargs, exit_span, rewrite=sent)
    with engine.transaction():
        assert set(wrapper(**mine)) == {"key", "headers"}
    assert mine == {"key": "value"}


@pytest.mark.parametrize(
    "rewritten", [5, (1, 2, 3), ((1,),), (None, {}), ((1,), None), "ab"], ids=lambda value: repr(value)
)
def test_rewrite_that_returns_nonsense(engine, lenient, rewritten):
    wrapper = engine.wrap(lambda *args, **kwargs: (args, kwargs), exit_span, rewrite=lambda call, headers: rewritten)
    with engine.transaction() as transaction:
        assert wrapper(1, two=2) == ((1,), {"two": 2})
    assert engine.one_span(transaction).outcome == "success"
    assert list(lenient) == ["test:work: rewrite"]


@pytest.mark.parametrize("described", [5, "name", ("a", "b")])
def test_describe_that_returns_nonsense(engine, lenient, described):
    wrapper = engine.wrap(lambda: current.get(), lambda call: described)
    with engine.transaction() as transaction:
        assert wrapper() is transaction
    assert engine.sink.spans(transaction) == []
    assert list(lenient) == ["test:work: describe"]


def failing(*args):
    raise LookupError("of the instrumentation")


@pytest.mark.parametrize("step", ["describe", "rewrite", "observe"])
def test_a_target_that_fails_is_switched_off(engine, lenient, step):
    functions = {"describe": exit_span, step: failing}
    describe = functions.pop("describe")
    interceptor = Interceptor(Target("test:work", describe, **functions), engine.tracer, "test:work")
    wrapper = function(lambda: 5, interceptor)
    with engine.transaction() as transaction:
        for _ in range(TOLERATED + 3):
            assert wrapper() == 5
    assert lenient == {f"test:work: {step}": [TOLERATED, "LookupError: of the instrumentation"]}
    assert interceptor.failures == TOLERATED
    assert len(engine.sink.spans(transaction)) == (0 if step == "describe" else TOLERATED)
    assert interceptor.parent() is None


def test_an_entry_that_fails_is_switched_off(engine, lenient):
    wrapper = engine.wrap(lambda: 5, failing, entry=True)
    for _ in range(TOLERATED + 3):
        assert wrapper() == 5
    assert lenient == {"test:work: describe": [TOLERATED, "LookupError: of the instrumentation"]}
    assert engine.sink.transactions == []


@pytest.mark.parametrize("kind", [RecursionError, MemoryError])
def test_what_the_program_is_the_reason_of_switches_nothing_off(engine, lenient, kind):
    def describe(call):
        raise kind

    wrapper = engine.wrap(lambda: 5, describe)
    with engine.transaction():
        for _ in range(TOLERATED + 3):
            assert wrapper() == 5
    assert lenient["test:work: describe"][0] == TOLERATED + 3
    assert engine.tracer.switched_off == set()


def test_a_program_that_recurses_to_the_limit(engine, lenient):
    depths = []

    def recurse(depth):
        depths.append(depth)
        return wrapper(depth + 1)

    wrapper = engine.wrap(recurse)
    with engine.transaction() as transaction:
        for _ in range(3):
            with pytest.raises(RecursionError):
                wrapper(0)
            assert current.get() is transaction
    assert max(depths) > 100
    wrapper = engine.wrap(lambda depth: depth)
    with engine.transaction():
        assert wrapper(1) == 1


def test_strict_mode_lets_the_failure_out(engine, monkeypatch):
    monkeypatch.setattr(guard, "failures", {})
    wrapper = engine.wrap(lambda: 5, failing)
    with engine.transaction(), pytest.raises(LookupError):
        wrapper()


def test_interrupted_between_two_steps_of_ours(engine, monkeypatch):
    """A signal may raise inside our own code: the program gets it, and nothing stays current."""
    monkeypatch.setattr(engine.tracer, "headers", interrupt)
    wrapper = engine.wrap(lambda: 5, exit_span, rewrite=sent)
    with engine.transaction(), pytest.raises(KeyboardInterrupt):
        wrapper()


def interrupt(*args):
    raise KeyboardInterrupt


def test_the_program_is_the_parent_of_what_has_none(engine):
    engine.tracer.begin_ambient("program", 1_000_000_000, 1, None)
    wrapper = engine.wrap(lambda: current.get())
    span = wrapper()
    assert span.transaction is engine.tracer.ambient
    assert engine.tracer.ambient.spans == [span]


def test_a_target_without_rewrite_does_nothing_below_a_leaf(engine):
    described = []

    def describe(call):
        described.append(call)
        return work_span(call)

    inner = engine.wrap(lambda: 1, describe)
    outer = engine.wrap(lambda: inner(), exit_span)
    with engine.transaction(), running(current.get()):
        assert outer() == 1
    assert described == []


def test_what_has_come_is_linked_to_once_it_is_known(engine):
    def observe(call, result, draft):
        draft.links = [{"traceparent": [value]} for value in result]

    wrapper = engine.wrap(lambda: [f"00-{'a' * 32}-{'b' * 16}-01", "odd"], exit_span, observe=observe)
    with engine.transaction() as transaction:
        wrapper()
    (span,) = engine.sink.spans(transaction)
    assert span.links == [{"trace_id": "a" * 32, "span_id": "b" * 16}]
