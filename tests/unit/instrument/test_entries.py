"""What a library says of a transaction: where it comes from, and how it went."""

from __future__ import annotations

import asyncio

import pytest
from tests import encoded
from tests.engine import Engine, running, work_span

from apm_run.model import SpanDraft, TransactionDraft
from apm_run.tracer import current

PARENT = {"traceparent": [f"00-{'a' * 32}-{'b' * 16}-01"], "tracestate": ["es=s:0.5"], "baggage": ["key=value"]}


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def run(engine, draft, work=lambda: current.get(), **more):
    engine.wrap(work, lambda call: draft, entry=True, **more)()
    return engine.sink.transactions[-1][0]


def test_carrier_is_continued(engine):
    found = run(engine, TransactionDraft("job", "messaging", carrier=PARENT))
    assert (found.trace_id, found.parent_id, found.sample_rate) == ("a" * 32, "b" * 16, 0.5)
    assert found.attributes == {"baggage.key": "value"}


def test_carrier_is_restarted():
    found = run(Engine(trace_continuation_strategy="restart"), TransactionDraft("job", "messaging", carrier=PARENT))
    assert found.trace_id != "a" * 32
    assert found.links == [{"trace_id": "a" * 32, "span_id": "b" * 16}]


def test_links_of_a_batch(engine):
    """Spec 16: one per message that has a trace context, of the first 1000."""
    found = run(engine, TransactionDraft("job", "messaging", links=[PARENT, {}, {"traceparent": ["?"]}, PARENT]))
    assert found.links == [{"trace_id": "a" * 32, "span_id": "b" * 16}] * 2
    assert len(run(engine, TransactionDraft("job", "messaging", links=[PARENT] * 2000)).links) == 1000


def test_links_of_a_span(engine):
    receive = engine.wrap(lambda: 1, lambda call: SpanDraft("RECEIVE", "messaging", "kafka", links=[PARENT]))
    with engine.transaction() as transaction:
        receive()
    event = encoded.span(engine.one_span(transaction))
    assert event["links"] == [{"trace_id": "a" * 32, "span_id": "b" * 16}]


def test_framework_and_message(engine):
    message = {
        "queue": {"name": "q"},
        "age": {"ms": -5},
        "routing_key": 7,
        "body": "b" * 20_000,
        "headers": {"a": 1},
    }
    event = encoded.transaction(
        run(engine, TransactionDraft("j", "messaging", message=message, framework=("K", ""))), []
    )
    assert event["context"]["service"] == {"framework": {"name": "K"}}
    shown = event["context"]["message"]
    assert len(shown.pop("body")) == 10_000
    assert shown == {"queue": {"name": "q"}, "age": {"ms": 0}, "routing_key": "7", "headers": {"a": "1"}}


@pytest.mark.parametrize("message", [{}, {"age": {"ms": "soon"}}, {"age": {"ms": 1.5}}])
def test_message_without_anything(engine, message):
    draft = SpanDraft("SEND", "messaging", "kafka", message=message)
    with engine.transaction() as transaction:
        engine.wrap(lambda: 1, lambda call: draft)()
    assert encoded.span(engine.one_span(transaction))["context"]["message"] == {}


def test_message_of_an_unsampled_one():
    engine = Engine(transaction_sample_rate="0")
    assert run(engine, TransactionDraft("job", "messaging", message={"queue": {"name": "q"}})).context == {}


def test_options_name_the_framework():
    engine = Engine(framework_name="Mine", framework_version="7")
    assert run(engine, TransactionDraft("j", "t", framework=("K", "1"))).framework == ("Mine", "7")


def test_attributes_of_a_span(engine):
    def describe(call):
        draft = SpanDraft("S3 GetObject b", "storage", "s3")
        draft.attributes = {"aws.s3.bucket": "b"}
        return draft

    with engine.transaction() as transaction:
        engine.wrap(lambda: 1, describe)()
    assert encoded.span(engine.one_span(transaction))["otel"] == {"attributes": {"aws.s3.bucket": "b"}}


def observed(**said):
    def observe(call, result, draft):
        draft.result, draft.outcome = said.get("result"), said.get("outcome")

    return observe


def test_observed_result_and_outcome(engine):
    found = run(engine, TransactionDraft("job", "celery"), observe=observed(result="RETRY", outcome="unknown"))
    assert (found.result, found.outcome) == ("RETRY", "unknown")


def test_user_wins(engine):
    def work():
        current.get().result, current.get().outcome = "mine", "success"

    found = run(engine, TransactionDraft("job", "celery"), work, observe=observed(result="X", outcome="failure"))
    assert (found.result, found.outcome) == ("mine", "success")


@pytest.mark.parametrize(
    ("said", "outcome", "errors"), [(None, "failure", 1), ("failure", "failure", 1), ("success", "success", 0)]
)
def test_raised(engine, said, outcome, errors):
    """An exception that its library uses to say something is no error."""
    problem = ValueError("retry")

    def work():
        raise problem

    with pytest.raises(ValueError) as caught:
        run(engine, TransactionDraft("job", "celery"), work, observe=observed(outcome=said))
    assert caught.value is problem
    ((found, _),) = engine.sink.transactions
    assert (found.outcome, len(found.errors)) == (outcome, errors)


@pytest.mark.parametrize(("said", "outcome"), [(None, "unknown"), ("failure", "failure")])
def test_cancelled(engine, said, outcome):
    def describe(call):
        draft = TransactionDraft("job", "celery")
        draft.outcome = said
        return draft

    async def work():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        engine.wrap(work, describe, entry=True)().send(None)
    ((found, _),) = engine.sink.transactions
    assert (found.outcome, found.errors) == (outcome, [])


def test_an_entry_that_has_ended_holds_no_other(engine):
    """A task or thread that a job has left behind may work on, and have jobs of its own."""
    outer = engine.wrap(lambda: current.get(), lambda call: TransactionDraft("outer", "celery"), entry=True)()
    with running(outer):
        assert run(engine, TransactionDraft("job", "celery")) is not outer
        assert engine.wrap(lambda: 5, work_span)() == 5


def test_an_entry_that_was_begun_by_hand(engine):
    """The interceptor ends what any other part of the engine has begun as well."""
    from apm_run.instrument import entries

    transaction = engine.tracer.begin_transaction("x", "y")
    entries.fail(transaction, ValueError("mine"))
    entries.end(transaction)
    assert (transaction.outcome, len(transaction.errors)) == ("failure", 1)


@pytest.mark.parametrize(
    ("outcome", "unhandled", "errors", "expected"),
    [
        ("success", True, 1, "success"),  # the protocol's status says so, and yet it is an error
        ("failure", False, 0, "failure"),  # it was meant to be one
        (None, False, 0, "failure"),
        (None, True, 1, "failure"),
    ],
)
def test_the_library_says_whether_it_is_an_error(engine, outcome, unhandled, errors, expected):
    def observe(call, result, draft):
        draft.outcome, draft.unhandled = outcome, unhandled

    with pytest.raises(ZeroDivisionError):
        run(engine, TransactionDraft("call", "request"), lambda: 1 / 0, observe=observe)
    ((transaction, _),) = engine.sink.transactions
    assert (transaction.outcome, len(transaction.errors)) == (expected, errors)


def test_what_has_come_is_linked_to_once_it_is_known(engine):
    """The messages that a poll returns are known at its end."""

    def come(call, result, draft):
        draft.links = result

    with engine.transaction() as transaction:
        engine.wrap(lambda: [PARENT], observe=come)()
    assert engine.one_span(transaction).links == [{"trace_id": "a" * 32, "span_id": "b" * 16}]
