"""What a program says of transactions and spans stands (spec 12, 19, 26), and is valid as it is sent."""

from __future__ import annotations

import json
import sys
import threading
from enum import IntEnum
from functools import partial

import pytest
from tests import encoded
from tests.engine import Engine
from tests.receiver import objections

import apm_run
from apm_run.conventions import http_server
from apm_run.intake import encode
from apm_run.model import SpanDraft


def sent(engine):
    """The events of what has ended, by their kind; each is valid."""
    found = {"transaction": [], "span": [], "error": []}
    for transaction, spans in engine.sink.transactions:
        lines = [encode.transaction_line(transaction, spans)]
        lines += [encode.span_line(span) for span in spans]
        lines += [encode.error_line(error) for error in transaction.errors]
        for line in lines:
            ((kind, event),) = json.loads(line).items()
            assert objections(kind, event) == []
            found[kind].append(event)
    return found


def one(engine, kind):
    (event,) = sent(engine)[kind]
    return event


class Odd:
    """A type of the program's, of which everything raises."""

    def __str__(self):
        raise ValueError("odd")

    __int__ = __iter__ = __float__ = items = __repr__ = __str__


class Colour(IntEnum):
    RED = 3


# Transactions


def test_26_everything_of_a_transaction(engine):
    with apm_run.start_transaction("t", "job") as transaction:
        transaction.name, transaction.type, transaction.result, transaction.outcome = "n", "y", "r", "unknown"
        assert (transaction.name, transaction.type) == ("n", "y")
        assert (transaction.result, transaction.outcome) == ("r", "unknown")
        transaction.set_custom("basket", {"items": [1, 2.5, None, True, {"x": "y"}]})
        transaction.set_user(42, username="ada", email="ada@example.com", domain="example")
        transaction.set_service("my.other/shop", "2.0")
        parent = transaction.ensure_parent_id()
        assert transaction.ensure_parent_id() == transaction.parent_id == parent
        transaction.capture_message("broken")
    event = one(engine, "transaction")
    assert (event["name"], event["type"], event["result"], event["outcome"]) == ("n", "y", "r", "unknown")
    assert event["parent_id"] == parent
    context = {
        "custom": {"basket": {"items": [1, 2.5, None, True, {"x": "y"}]}},
        "user": {"id": 42, "username": "ada", "email": "ada@example.com", "domain": "example"},
        "service": {"name": "my_other_shop", "version": "2.0"},
    }
    assert event["context"] == context
    error = one(engine, "error")
    assert error["context"] == context
    assert error["log"]["message"] == "broken"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"), (True, True), (3, 3), (2.5, 2.5), (Colour.RED, 3), (1 << 70, str(1 << 70)),
        (float("nan"), "nan"), ([1], "[1]"), (b"x", "x"), ("x" * 2000, "x" * 1023 + "…"),
        (Odd(), "<unprintable Odd object>"),
    ],
)  # fmt: skip
def test_26_labels_are_texts_booleans_and_numbers(engine, value, shown):
    with apm_run.start_transaction("t") as transaction, apm_run.start_span("s") as span:
        for handle in (transaction, span):
            handle.set_label('a.b*c"d', value)
            handle.set_label("gone", 1)
            handle.set_label("gone", None)
    for kind in ("transaction", "span"):
        (tags,) = [one(engine, kind)["context"]["tags"]]
        assert list(tags) == ["a_b_c_d"]
        assert tags["a_b_c_d"] == shown or (len(shown) == 1024 and len(tags["a_b_c_d"]) == 1024)


@pytest.mark.parametrize(
    "id", [2**63, -(2**63) - 1, 10**5000, True, 1.5], ids=["large", "small", "huge", "no", "broken"]
)
def test_a_user_s_id_that_the_server_can_not_hold_is_a_text(engine, misuses, id):
    """Spec 2: string or int, of 64 bits."""
    with apm_run.start_transaction("t") as transaction:
        transaction.set_user(id=id)
    (event,) = sent(engine)["transaction"]
    assert isinstance(event["context"]["user"]["id"], str)
    assert len(misuses) == 1


def test_what_is_said_later_adds_to_what_was_said(engine):
    with apm_run.start_transaction("t") as transaction:
        transaction.set_user("1", email="a@b")
        transaction.set_user(username="ada")
        transaction.set_label("a", 1)
        transaction.set_label("b", 2)
        transaction.set_custom("a", 1)
        transaction.set_custom("b.c", 2)
        transaction.set_service("s")
    context = one(engine, "transaction")["context"]
    assert context["user"] == {"id": "1", "email": "a@b", "username": "ada"}
    assert context["tags"] == {"a": 1, "b": 2}
    assert context["custom"] == {"a": 1, "b_c": 2}
    assert context["service"] == {"name": "s"}


def test_custom_context_is_as_it_was_when_it_was_said(engine):
    basket = {"items": [1]}
    with apm_run.start_transaction("t") as transaction:
        transaction.set_custom("basket", basket)
        basket["items"].append(2)
        transaction.set_custom("odd", Odd())
    assert one(engine, "transaction")["context"]["custom"] == {
        "basket": {"items": [1]},
        "odd": "<unprintable Odd object>",
    }


def test_an_event_of_a_huge_custom_context_is_sent_without_it(engine):
    with apm_run.start_transaction("t") as transaction:
        transaction.set_custom("huge", ["x" * 1000] * 400)
    assert "context" not in one(engine, "transaction")


def test_spans_are_of_the_service_that_the_transaction_is_of(engine):
    with apm_run.start_transaction("t") as transaction:
        transaction.set_service("other", "1")
        with apm_run.start_span("s", "db", "redis", exit=True):
            pass
    assert one(engine, "span")["context"]["service"] == {
        "name": "other",
        "version": "1",
        "target": {"type": "redis"},
    }


@pytest.mark.parametrize("before", [True, False])
def test_12_what_the_user_says_of_a_request_stands(engine, before):
    """Whether it is said before the route and the status are known, or afterwards."""
    transaction = engine.begin("GET unknown route")
    transaction.context["response"] = {}

    def say():
        handle = apm_run.Transaction(transaction)
        handle.name, handle.type, handle.result, handle.outcome = "checkout", "shop", "sold out", "success"

    def infer():
        http_server.name(transaction, "GET", "/x")
        http_server.answer(transaction, 500, None)
        transaction.failed = True

    for step in (say, infer) if before else (infer, say):
        step()
    engine.tracer.end_transaction(transaction)
    event = one(engine, "transaction")
    found = (event["name"], event["type"], event["result"], event["outcome"])
    assert found == ("checkout", "shop", "sold out", "success")


def test_a_request_of_another_type_is_still_that_request(engine):
    """An inner layer of the same request begins no second transaction for it."""
    transaction = engine.begin("request")
    transaction.kind, transaction.entry = "request", True
    with apm_run.start_transaction("x"):
        assert not http_server.inner(None)
    from tests.engine import running

    with running(transaction):
        apm_run.current_transaction().type = "shop"
        assert http_server.inner(None)


def test_threads_may_label_at_once_and_while_it_is_encoded(engine, request):
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-5)
    with apm_run.start_transaction("t") as transaction:

        def label(first):
            for number in range(first, 8000, 4):
                transaction.set_label(f"n{number}", number)

        threads = [threading.Thread(target=label, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            encoded.transaction(transaction._item, [])
        for thread in threads:
            thread.join()
    assert len(transaction._item.context["tags"]) == 8000


# Spans


def test_26_everything_of_a_span(engine):
    with apm_run.start_transaction("t"), apm_run.start_span("s", "db", exit=True) as span:
        span.name, span.type, span.subtype, span.action, span.outcome = "n", "storage", "s3", "get", "unknown"
        assert (span.name, span.type, span.subtype, span.action) == ("n", "storage", "s3", "get")
        assert span.outcome == "unknown"
        assert span.parent_id == span.transaction.id
        span.set_db(instance="shop", statement="SELECT 1", type="sql", user="ada", rows_affected=3)
        span.set_db(rows_affected=4)
        span.set_destination("db.example.com", 5432)
    event = one(engine, "span")
    assert (event["name"], event["type"], event["subtype"], event["action"]) == ("n", "storage", "s3", "get")
    assert event["outcome"] == "unknown"
    assert event["context"] == {
        "db": {"instance": "shop", "statement": "SELECT 1", "type": "sql", "user": "ada", "rows_affected": 4},
        "service": {"target": {"type": "s3", "name": "shop"}},
        "destination": {
            "address": "db.example.com",
            "port": 5432,
            "service": {"resource": "s3/shop", "name": "", "type": ""},
        },
    }


def test_12_the_outcome_of_a_span_stands(engine):
    """Whatever its call raises, its protocol says and its errors are."""

    def observe(call, result, draft):
        draft.outcome = "failure"

    def work():
        apm_run.current_span().outcome = "success"
        apm_run.capture_exception(KeyError("x"))
        raise ValueError("mine")

    call = engine.wrap(work, lambda call: SpanDraft("s", "external"), observe=observe)
    with apm_run.start_transaction("t") as transaction:
        transaction.outcome = "success"
        with pytest.raises(ValueError, match="mine"):
            call()
    assert one(engine, "span")["outcome"] == "success"
    assert one(engine, "transaction")["outcome"] == "success"


def target(type, name):
    return lambda span: span.set_service_target(type, name)


def resource(text):
    return lambda span: span.set_destination_resource(text)


MINE = {"type": "a", "name": "b"}


@pytest.mark.parametrize(
    ("steps", "target", "resource"),
    [
        ([target("mine", "there")], {"type": "mine", "name": "there"}, "mine/there"),
        ([target("mine", None)], {"type": "mine"}, "mine"),
        ([target(None, "there")], {"type": "", "name": "there"}, "there"),
        ([target("", None)], None, None),
        ([resource("old")], {"type": "", "name": "old"}, "old"),
        ([resource("")], {"type": "sqlite", "name": "shop"}, None),
        ([target("a", "b"), resource("old")], MINE, "old"),
        ([resource("old"), target("a", "b")], MINE, "old"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_19_service_target_and_resource_of_the_user_s_win(engine, steps, target, resource, before):
    with apm_run.start_transaction("t"), apm_run.start_span("s", "db", "sqlite", exit=True) as span:
        for step in steps if before else ():
            step(span)
        span.set_db(instance="shop")
        for step in () if before else steps:
            step(span)
    context = one(engine, "span")["context"]
    assert context.get("service", {}).get("target") == target
    assert context.get("destination", {}).get("service", {}).get("resource") == resource


def test_19_a_destination_is_unset(engine):
    call = engine.wrap(
        lambda address, port: apm_run.current_span().set_destination(address, port),
        lambda call: SpanDraft("s", "external", address="inferred", port=80),
    )
    with apm_run.start_transaction("t"):
        call(None, None)
        call("x", 0)
        call("y", -1)
    found = [event["context"]["destination"] for event in sent(engine)["span"]]
    assert [(each.get("address"), each.get("port")) for each in found] == [(None, None), ("x", None), ("y", None)]


def test_a_target_that_the_user_has_set_decides_what_is_compressed():
    engine = Engine(span_compression_enabled="true")
    drafts = [SpanDraft("s", "db", "sqlite") for _ in range(3)]
    drafts[2].target_type, drafts[2].target_name = "", "mine"
    with engine.transaction() as transaction:
        for draft in drafts:
            engine.tracer.end(engine.tracer.begin(draft, transaction))
    spans = engine.sink.spans(transaction)
    assert [span.composite.count if span.composite else 1 for span in spans] == [2, 1]


# Errors


def test_each_exception_is_reported_once_where_it_belongs(engine):
    error = ValueError("x")
    with apm_run.start_transaction("t") as transaction:
        with apm_run.start_span("s") as span:
            try:
                raise error
            except ValueError:
                apm_run.capture_exception()
            apm_run.capture_exception(error)
        span.capture_exception(KeyError("y"), handled=False)
        transaction.capture_exception((KeyError, KeyError("z"), None))
    first, second, third = sent(engine)["error"]
    assert [first["parent_id"], third["parent_id"]] == [span.id, transaction.id]
    assert [event["exception"]["handled"] for event in (first, second, third)] == [True, False, True]
    assert first["culprit"].startswith(__name__)


def test_messages(engine):
    apm_run.capture_message("outside 1", param_message="outside %d", level="Warning", logger_name="shop")
    with apm_run.start_transaction("t"), apm_run.start_span("s") as span:
        span.capture_message("inside")
    (outside,) = [json.loads(encode.error_line(error))["error"] for error in engine.sink.errors]
    assert objections("error", outside) == []
    stack = outside["log"].pop("stacktrace")
    assert stack[0]["function"] == "test_messages"
    assert outside["log"] == {
        "message": "outside 1", "param_message": "outside %d", "level": "warning", "logger_name": "shop",
    }  # fmt: skip
    inside = one(engine, "error")
    del inside["log"]["stacktrace"]
    assert inside["log"] == {"message": "inside", "level": "error"}
    assert inside["parent_id"] == span.id


# The process


def test_15_baggage(engine):
    """Added, changed, removed; one read and all."""
    carrier = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "Baggage": "tenant=acme, old=1;p=2"}
    with apm_run.start_transaction("t", parent=carrier) as transaction:
        assert transaction.baggage == {"tenant": "acme", "old": "1"}
        transaction.set_baggage("tenant", "Émil, & sons; 100%")
        transaction.set_baggage("new", "x y")
        transaction.set_baggage("old", None)
        transaction.set_baggage("absent", None)
        assert transaction.baggage["tenant"] == "Émil, & sons; 100%"
        headers = apm_run.outgoing_headers()
        assert headers["baggage"] == "tenant=%C3%89mil%2C%20&%20sons%3B%20100%25,new=x%20y"
        with apm_run.start_transaction("below", parent=headers) as below:
            assert below.baggage == transaction.baggage
        with apm_run.start_transaction("own", parent=transaction) as below:
            assert below.baggage == transaction.baggage
    event = sent(engine)["transaction"][0]
    assert event["otel"]["attributes"] == {"baggage.tenant": "Émil, & sons; 100%", "baggage.new": "x y"}
    assert apm_run.Transaction().baggage == {}


@pytest.mark.parametrize(("key", "value"), [("a b", "x"), ("", "x"), ("a", "x" * 9000), ("ä", "x"), ("a=b", "x")])
def test_15_baggage_that_can_not_be(engine, misuses, key, value):
    with apm_run.start_transaction("t") as transaction:
        transaction.set_baggage("kept", "1")
        transaction.set_baggage(key, value)
        assert transaction.baggage == {"kept": "1"}
    assert len(misuses) == 1


def test_headers(engine):
    assert apm_run.outgoing_headers() == {}
    with apm_run.start_transaction("t") as transaction:
        assert apm_run.outgoing_headers()["traceparent"] == f"00-{transaction.trace_id}-{transaction.id}-01"
        with apm_run.start_span("s", exit=True) as span:
            headers = apm_run.outgoing_headers()
            assert headers == {"traceparent": f"00-{span.trace_id}-{span.id}-01", "tracestate": "es=s:1"}
            assert headers == span.outgoing_headers()
            assert apm_run.current_transaction() == transaction
        assert span._item.propagated


def test_flush_sends_the_metrics_too(engine):
    asked = []

    class Exporter:
        def flush(self, timeout):
            asked.append(timeout)
            return False

    assert apm_run.flush()
    engine.agent.exporter = Exporter()
    with apm_run.start_transaction("t"):
        pass
    assert not apm_run.flush()
    assert not apm_run.flush(timeout=2)
    assert not apm_run.flush("soon")
    assert asked == [10.0, 2.0, 10.0]
    assert [event["transaction"]["name"] for event in engine.sink.metricsets] == ["t"]


def test_handles_say_what_they_are(engine):
    with apm_run.start_transaction("t") as transaction:
        assert repr(transaction) == "<Transaction 't'>"
        assert {transaction, apm_run.current_transaction()} == {transaction}
        assert transaction != "t"
        assert transaction.sampled
    assert repr(apm_run.Span()) == "<no Span>"
    assert apm_run.Span() != apm_run.Span()


# Misuse: nothing raises, and the log tells


MISUSES = [
    lambda t, s: setattr(t, "outcome", "great"),
    lambda t, s: setattr(s, "outcome", 5),
    lambda t, s: setattr(t, "name", 5),
    lambda t, s: setattr(t, "name", Odd()),
    lambda t, s: setattr(s, "type", b"bytes"),
    lambda t, s: t.set_user(Odd(), email=5),
    lambda t, s: t.set_service(5, Odd()),
    lambda t, s: s.set_service_target(5, Odd()),
    lambda t, s: s.set_destination_resource(5),
    lambda t, s: s.set_destination(5, "80"),
    lambda t, s: s.set_db(instance=5, rows_affected="many"),
    lambda t, s: t.add_links(5),
    lambda t, s: t.add_links(Odd()),
    lambda t, s: t.add_links([5, Odd()]),
    lambda t, s: t.capture_exception("x"),
    lambda t, s: apm_run.capture_exception(),
    lambda t, s: apm_run.capture_message(None),
    lambda t, s: apm_run.capture_message(5, param_message=5, level=5, logger_name=5),
    lambda t, s: apm_run.add_filter("log", print),
    lambda t, s: apm_run.add_filter(["span"], print),
    lambda t, s: apm_run.add_filter("span", 5),
    lambda t, s: s.end("error"),
    lambda t, s: t.capture_exception(KeyError(), handled="yes"),
    lambda t, s: apm_run.start_span("x", exit=Odd()).begin().end(),
    lambda t, s: t.set_custom("odd", {1: type("Bag", (dict,), {"items": Odd.__str__, "__bool__": Odd.__str__})(a=1)}),
    lambda t, s: t.set_label("odd", type("Number", (int,), {"__int__": Odd.__str__, "__index__": Odd.__str__})(1)),
    lambda t, s: apm_run.start_span(5, Odd(), 6, 7, parent=8).begin().end(),
    lambda t, s: apm_run.start_transaction(5, parent=Odd(), links=Odd()).begin().end(),
]


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_never_raises_and_the_log_tells(engine, misuses, misuse):
    """Not even where the agent's own failures do."""
    with apm_run.start_transaction("t") as transaction, apm_run.start_span("s") as span:
        misuse(transaction, span)
        assert misuses
        assert all(text.startswith("warning api.misuse ") for text in misuses)
    sent(engine)
    assert engine.agent.filters == {}


def test_the_agent_s_own_failures_stay_its_own(engine, monkeypatch):
    from apm_run import guard

    def broken(*_):
        raise LookupError("ours")

    with apm_run.start_transaction("t") as transaction:
        monkeypatch.setattr(engine.tracer, "headers", broken)
        with pytest.raises(LookupError):
            transaction.outgoing_headers()
        monkeypatch.setattr(guard, "STRICT", False)
        assert transaction.outgoing_headers() == apm_run.outgoing_headers() == {}
        monkeypatch.setattr(engine.tracer, "begin", broken)
        monkeypatch.setattr(engine.tracer, "begin_transaction", broken)
        with apm_run.start_span("s") as span, apm_run.start_transaction("u") as other:
            assert not span
            assert not other
    assert guard.failures["api: headers"][1] == "LookupError: ours"
    guard.failures.clear()
