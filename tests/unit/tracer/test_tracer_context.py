"""Sampling, trace context, baggage and continuation, as the tracer decides; numbers are sections of spec.md."""

from __future__ import annotations

from typing import Any

import pytest
from tests import encoded
from tests.engine import Engine, exit_span, running
from tests.receiver import objections

from apm_run.intake import encode
from apm_run.model import SpanDraft
from apm_run.propagation import TraceContext, baggage

TRACE, PARENT = "ab" * 16, "cd" * 8


def incoming(state: str = "es=s:0.5", sampled: bool = True) -> TraceContext:
    return TraceContext(TRACE, PARENT, sampled, state)


def wire(engine: Engine, transaction: Any) -> dict[str, Any]:
    """The event of an ended transaction."""
    event = encoded.transaction(transaction, engine.sink.spans(transaction))
    assert not objections("transaction", event)
    return event


@pytest.mark.parametrize(
    ("given", "used"),
    [
        *[("0.00001", 0.0001), ("0.00005", 0.0001), ("0.0001", 0.0001), ("0.00015", 0.0002), ("0.00014", 0.0001)],
        *[("0.12345", 0.1235), ("0.55554", 0.5555), ("0.99995", 1.0), ("0.99994", 0.9999), ("0", 0), ("1", 1.0)],
    ],
)
def test_13_the_rate_is_rounded_when_it_is_set(given, used):
    engine = Engine(transaction_sample_rate=given)
    assert engine.tracer.settings.transaction_sample_rate == used
    states = {engine.begin().tracestate for _ in range(20)}
    assert states <= {f"es=s:{used:g}", "es=s:0"}


def test_13_sample_rate_on_every_sampled_transaction_and_span():
    engine = Engine(transaction_sample_rate="0.5")
    while True:
        with engine.transaction() as transaction:
            engine.wrap(lambda: None)()
        if transaction.sampled:
            break
    event = wire(engine, transaction)
    (span,) = engine.sink.spans(transaction)
    assert (event["sampled"], event["sample_rate"], encoded.span(span)["sample_rate"]) == (True, 0.5, 0.5)


@pytest.mark.parametrize(("state", "rate"), [("es=s:0.25", 0.25), ("", None), ("es=s:2", None), ("a=b", None)])
def test_13_a_transaction_that_is_no_root_has_the_rate_of_the_tracestate_or_none(state, rate):
    engine = Engine(transaction_sample_rate="0.75")
    with engine.transaction(context=incoming(state)) as transaction:
        engine.wrap(lambda: None)()
    (span,) = engine.sink.spans(transaction)
    assert wire(engine, transaction).get("sample_rate") == encoded.span(span).get("sample_rate") == rate


@pytest.mark.parametrize("context", [None, incoming(sampled=False), incoming("", sampled=False)])
def test_13_unsampled(context):
    engine = Engine(transaction_sample_rate="0")
    with engine.transaction(context=context, baggage={"a": "1"}) as transaction:
        transaction.context["tags"] = {"a": 1}
        engine.wrap(lambda: None)()
        sent = engine.tracer.headers(transaction)
    event = wire(engine, transaction)
    assert (event["sampled"], event["sample_rate"]) == (False, 0)
    assert event["span_count"] == {"started": 0, "dropped": 0}
    assert not {"context", "otel"} & event.keys()
    assert engine.sink.spans(transaction) == []
    assert sent["traceparent"] == f"00-{transaction.trace_id}-{transaction.id}-00"
    assert sent.get("tracestate", "") == ("es=s:0" if context is None else context.tracestate)


def test_13_errors_of_unsampled_transactions_are_sent():
    engine = Engine(transaction_sample_rate="0")
    with engine.transaction() as transaction:
        transaction.capture(ValueError("x"), handled=True)
    (error,) = transaction.errors
    assert error["transaction"]["sampled"] is False
    assert (error["trace_id"], error["parent_id"]) == (transaction.trace_id, transaction.id)


def test_14_the_exit_span_is_the_parent_of_what_it_calls():
    engine = Engine()
    seen: list[Any] = []
    call = engine.wrap(lambda: None, exit_span, rewrite=lambda call, add: seen.append(dict(add)))
    with engine.transaction(context=incoming("a=b,es=s:0.5")) as transaction:
        call()
    (span,) = engine.sink.spans(transaction)
    assert seen == [{"traceparent": f"00-{TRACE}-{span.id}-01", "tracestate": "a=b,es=s:0.5"}]


@pytest.mark.parametrize(
    ("options", "flags"), [({"transaction_sample_rate": "0"}, "00"), ({"transaction_max_spans": "0"}, "01")]
)
def test_14_without_a_reported_span_it_is_the_transaction(options, flags):
    engine = Engine(**options)
    seen: list[Any] = []
    call = engine.wrap(lambda: None, exit_span, rewrite=lambda call, add: seen.append(add["traceparent"]))
    with engine.transaction() as transaction:
        call()
    assert seen == [f"00-{transaction.trace_id}-{transaction.id}-{flags}"]


def test_14_nor_is_a_call_that_is_no_span_without_headers():
    engine = Engine()
    seen: list[Any] = []
    call = engine.wrap(lambda: None, lambda call: None, rewrite=lambda call, add: seen.append(add["traceparent"]))
    with engine.transaction() as transaction:
        call()
        with running(engine.tracer.begin(SpanDraft("GET a", "external", "http"), transaction)) as _:
            call()
    assert [text.split("-")[2] == transaction.id for text in seen] == [True, False]


@pytest.mark.parametrize(
    ("strategy", "state", "restarts"),
    [
        ("continue", "", False),
        ("continue", "es=s:0.5", False),
        ("restart", "es=s:0.5", True),
        ("restart", "", True),
        ("restart_external", "a=b,es=s:0.5", False),
        ("restart_external", "a=b", True),
        ("restart_external", "", True),
    ],
)
@pytest.mark.parametrize("sampled", [True, False])
def test_16_trace_continuation_strategy(strategy, state, restarts, sampled):
    engine = Engine(trace_continuation_strategy=strategy, transaction_sample_rate="1.0")
    with engine.transaction(context=incoming(state, sampled)) as transaction:
        sent = engine.tracer.headers(transaction)
    event = wire(engine, transaction)
    if restarts:
        assert event["trace_id"] != TRACE
        assert "parent_id" not in event
        assert event["links"] == [{"trace_id": TRACE, "span_id": PARENT}]
        assert (event["sampled"], event["sample_rate"], sent["tracestate"]) == (True, 1.0, "es=s:1")
    else:
        assert (event["trace_id"], event["parent_id"], event["sampled"]) == (TRACE, PARENT, sampled)
        assert "links" not in event
        assert sent.get("tracestate", "") == state
    assert sent["traceparent"] == f"00-{event['trace_id']}-{event['id']}-{'01' if event['sampled'] else '00'}"


def test_16_what_the_program_itself_has_begun_is_continued():
    engine = Engine(trace_continuation_strategy="restart")
    transaction = engine.begin(context=TraceContext(TRACE, PARENT, True, "", own=True))
    assert (transaction.trace_id, transaction.parent_id, transaction.links) == (TRACE, PARENT, [])


@pytest.mark.parametrize(
    ("patterns", "shown"),
    [
        ("", {}),
        ("*", {"baggage.user": "a b", "baggage.Tenant": "7", "baggage.x": ""}),
        ("tenant, u*", {"baggage.user": "a b", "baggage.Tenant": "7"}),
        ("(?-i)tenant", {}),
        ("(?-i)Tenant", {"baggage.Tenant": "7"}),
    ],
)
def test_15_baggage_to_attach(patterns, shown):
    engine = Engine(baggage_to_attach=patterns, transaction_max_spans="1")
    with engine.transaction(baggage=baggage(["user=a%20b;p=1,Tenant=7,x="])) as transaction:
        engine.wrap(lambda: None)()
        transaction.context["tags"] = {"own": "1", "baggage.x": "the user's"}
        transaction.capture(ValueError("x"), handled=True)
        sent = engine.tracer.headers(transaction)
    span = encoded.span(*engine.sink.spans(transaction))
    error = encode.error(*transaction.errors)
    assert not objections("span", span) + objections("error", error)
    assert wire(engine, transaction).get("otel", {}).get("attributes", {}) == shown
    assert span.get("otel", {}).get("attributes", {}) == shown
    assert error["context"]["tags"] == {**shown, "own": "1", "baggage.x": "the user's"}
    assert transaction.context["tags"] == {"own": "1", "baggage.x": "the user's"}
    assert "attached" not in error
    assert sent["baggage"] == "user=a%20b;p=1,Tenant=7,x="


def test_15_what_is_attached_is_cut():
    engine = Engine()
    with engine.transaction(baggage={"k" * 2000: "v" * 2000}) as transaction:
        transaction.capture(ValueError("x"), handled=True)
    (found,) = wire(engine, transaction)["otel"]["attributes"].items()
    assert (len(found[0]), len(found[1])) == (1024, 1024)
    assert not objections("error", encode.error(*transaction.errors))


def test_15_without_baggage_nothing_is_said_of_it():
    engine = Engine()
    with engine.transaction() as transaction:
        engine.wrap(lambda: None)()
        transaction.capture(ValueError("x"), handled=True)
        assert "baggage" not in engine.tracer.headers(transaction)
    assert "otel" not in wire(engine, transaction)
    assert "otel" not in encoded.span(*engine.sink.spans(transaction))
    assert "tags" not in encode.error(*transaction.errors)["context"]
