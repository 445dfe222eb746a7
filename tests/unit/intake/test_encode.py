"""What the agent sends is what the server takes, whatever the program and its libraries have put into it."""

from __future__ import annotations

import decimal
import enum
import json
import math
from random import Random

import pytest
from tests.engine import Engine, exit_span
from tests.receiver import SCHEMAS, objections

from apm_run import guard
from apm_run.conventions import http_client
from apm_run.intake import encode
from apm_run.intake.limits import KEYWORD, LONG, MAX_EVENT_SIZE
from apm_run.model import SpanDraft
from apm_run.pipeline import Pipeline
from apm_run.propagation import TraceContext


class Unprintable:
    def __str__(self):
        raise LookupError


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "said by the program"


class Color(enum.IntEnum):
    RED = 404


def endless():
    value: dict = {}
    value["value"] = [value]
    return value


HUGE = "x" * 400_000
#: Anything that may come where one expects a short text.
VALUES = [
    None,
    "",
    "text",
    'ä\u2028\u20ac\U0001f600\0\x1f\x7f"\\/\n',
    "half \ud800 a pair \udfff",
    HUGE,
    "\x01" * 400_000,
    b"bytes \xff",
    bytearray(b"bytes"),
    True,
    0,
    -1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**5000,
    1.5,
    math.nan,
    math.inf,
    -math.inf,
    1e400,
    Color.RED,
    Text("text"),
    decimal.Decimal("1.5"),
    Unprintable(),
    object(),
    Exception("error"),
    (1, 2),
    [1, [2, {"three": math.nan}]],
    {"key": {1, 2}},
    {1: 2, None: 3, (4, 5): 6, b"seven": 8, math.nan: 9},
    {math.nan: math.nan},
    endless(),
    frozenset({1}),
    range(3),
]


def judged(line: bytes) -> dict:
    """The event of a line, which the server takes."""
    assert len(line) <= MAX_EVENT_SIZE
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    root = json.loads(line.decode("utf-8"), parse_constant=lambda word: pytest.fail(word))
    ((kind, event),) = root.items()
    assert objections(kind, event) == []
    return event


@pytest.fixture
def engine():
    return Engine()


def ended(engine, **facts):
    """An ended transaction."""
    transaction = engine.begin("name")
    for name, value in facts.items():
        setattr(transaction, name, value)
    engine.tracer.end_transaction(transaction)
    return transaction


def span_of(engine, draft, **facts):
    """An ended span with a draft."""
    span = engine.tracer.begin(draft, engine.begin())
    for name, value in facts.items():
        setattr(span, name, value)
    engine.clock.advance(1.5)
    engine.tracer.end(span)
    return span


def test_the_schemas_are_here():
    if not SCHEMAS.exists():
        pytest.skip("../shared/fixtures/schema is not here: our own model alone judges")


# Transactions


def test_transaction(engine):
    with engine.transaction("name") as transaction:
        engine.clock.advance(12.3456)
        engine.wrap(lambda: None, exit_span)()
        transaction.result = "HTTP 2xx"
        transaction.framework = ("flask", "3.1")
        transaction.context["request"] = {"method": "GET", "url": {"full": "http://x/"}}
    ((_, spans),) = engine.sink.transactions
    event = judged(encode.transaction_line(transaction, spans))
    assert event == {
        "id": transaction.id,
        "trace_id": transaction.trace_id,
        "name": "name",
        "type": "test",
        "timestamp": transaction.timestamp,
        "duration": 12.346,
        "outcome": "success",
        "sampled": True,
        "sample_rate": 1.0,
        "result": "HTTP 2xx",
        "span_count": {"started": 1, "dropped": 0},
        "context": {
            "request": {"method": "GET", "url": {"full": "http://x/"}},
            "service": {"framework": {"name": "flask", "version": "3.1"}},
        },
    }


def test_transaction_that_is_not_sampled():
    engine = Engine(transaction_sample_rate="0")
    with engine.transaction() as transaction:
        transaction.context["tags"] = {"a": 1}
    event = judged(encode.transaction_line(transaction, []))
    assert event["sampled"] is False
    assert event["sample_rate"] == 0
    assert event["span_count"] == {"started": 0, "dropped": 0}
    assert "context" not in event


def test_transaction_of_an_incoming_trace(engine):
    with engine.transaction(context=TraceContext("ab" * 16, "cd" * 8, True, "")) as transaction:
        transaction.links.append({"trace_id": "ef" * 16, "span_id": "01" * 8})
        transaction.framework = ("flask", "")
    event = judged(encode.transaction_line(transaction, []))
    assert event["parent_id"] == "cd" * 8
    assert "sample_rate" not in event
    assert event["links"] == [{"trace_id": "ef" * 16, "span_id": "01" * 8}]
    assert event["context"] == {"service": {"framework": {"name": "flask"}}}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("fact", ["name", "type", "result"])
def test_transaction_with_any_fact(engine, fact, value):
    event = judged(encode.transaction_line(ended(engine, **{fact: value}), []))
    if fact in event:
        assert isinstance(event[fact], str)
        assert len(event[fact]) <= KEYWORD
    assert event["type"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_transaction_with_any_context(engine, value):
    context = {
        "request": {
            "method": value,
            "url": {"full": value, "port": value},
            "headers": {"one": value, "two": [value, value], value if isinstance(value, str) else "three": "x"},
            "env": {"a": value},
        },
        "response": {"status_code": value, "headers": {"one": value}},
        "tags": {"label": value, **({value: 1} if value.__hash__ else {})},
        "custom": {"anything": value},
    }
    transaction = ended(engine, context=context, framework=(value, value))
    event = judged(encode.transaction_line(transaction, []))
    assert event["id"] == transaction.id


def test_context_is_not_changed(engine):
    headers = {"name": "x" * 20_000}
    context = {"request": {"method": "GET", "url": {"full": HUGE}, "headers": headers}, "tags": {"a": HUGE}}
    before = json.dumps(context)
    judged(encode.transaction_line(ended(engine, context=context), []))
    assert json.dumps(context) == before


def test_context_in_parts(engine):
    assert judged(encode.transaction_line(ended(engine, context={"request": {"method": "GET"}}), []))
    event = judged(encode.transaction_line(ended(engine, context={"response": {"finished": True}}), []))
    assert event["context"]["response"] == {"finished": True}
    event = judged(encode.transaction_line(ended(engine, context={"response": {"status_code": "200"}}), []))
    assert event["context"]["response"] == {}


def test_huge_transaction_goes_without_its_context(engine):
    context = {"custom": {str(number): "x" * 1000 for number in range(1000)}}
    event = judged(encode.transaction_line(ended(engine, context=context), []))
    assert "context" not in event
    assert event["name"] == "name"


# Spans


def test_exit_span(engine):
    draft = SpanDraft(
        "SELECT FROM items",
        "db",
        "postgresql",
        "query",
        db={"type": "sql", "statement": "select 1", "instance": "shop", "rows_affected": 3, "user": None},
        address="db.example.org",
        port=5432,
    )
    span = span_of(engine, draft)
    event = judged(encode.span_line(span, [{"filename": "x.py", "lineno": 1}]))
    assert event == {
        "id": span.id,
        "trace_id": span.transaction.trace_id,
        "transaction_id": span.transaction.id,
        "parent_id": span.transaction.id,
        "name": "SELECT FROM items",
        "type": "db",
        "subtype": "postgresql",
        "action": "query",
        "timestamp": span.timestamp,
        "duration": 1.5,
        "outcome": "success",
        "sync": True,
        "sample_rate": 1.0,
        "stacktrace": [{"filename": "x.py", "lineno": 1}],
        "context": {
            "db": {"type": "sql", "statement": "select 1", "instance": "shop", "rows_affected": 3},
            "service": {"target": {"type": "postgresql", "name": "shop"}},
            "destination": {
                "address": "db.example.org",
                "port": 5432,
                "service": {"resource": "postgresql/shop", "name": "", "type": ""},
            },
        },
    }


def test_span_that_stays_in_the_process(engine):
    event = judged(encode.span_line(span_of(engine, SpanDraft("", "", exit=False))))
    assert (event["name"], event["type"]) == ("unnamed", "custom")
    assert "context" not in event
    assert "subtype" not in event


def test_sample_rate_that_is_not_known_is_left_out(engine):
    span = span_of(engine, SpanDraft("work", "custom", exit=False))
    span.transaction.sample_rate = None
    assert "sample_rate" not in judged(encode.span_line(span))


def http(**facts):
    return SpanDraft("GET x", "external", "http", http=facts)


@pytest.mark.parametrize(
    ("draft", "target", "resource"),
    [
        (SpanDraft("x", "db", "redis"), {"type": "redis"}, "redis"),
        (SpanDraft("x", "custom"), {"type": "custom"}, "custom"),
        (SpanDraft("x", "db", "mysql", db={"type": "sql"}), {"type": "mysql"}, "mysql"),
        (SpanDraft("x", "db", "mysql", db={"instance": "a"}), {"type": "mysql", "name": "a"}, "mysql/a"),
        (http(url="http://x:80/", host="x:80"), {"type": "http", "name": "x:80"}, "x:80"),
        (http(url="http://x/"), {"type": "http"}, "http"),
    ],
)
def test_service_target(engine, draft, target, resource):
    context = judged(encode.span_line(span_of(engine, draft)))["context"]
    assert context["service"] == {"target": target}
    assert context["destination"]["service"]["resource"] == resource


def test_service_target_of_messages_and_by_the_user(engine):
    draft = SpanDraft("SEND to jobs", "messaging", "rabbitmq")
    draft.context = {"message": {"queue": {"name": "jobs"}}}
    assert draft.target() == ("rabbitmq", "jobs")
    draft.context = {"message": {}}
    assert draft.target() == ("rabbitmq", "")
    draft.target_type, draft.target_name = "mine", "there"
    event = judged(encode.span_line(span_of(engine, draft)))
    assert event["context"]["service"]["target"] == {"type": "mine", "name": "there"}
    draft.target_type, draft.target_name = "", ""
    context = judged(encode.span_line(span_of(engine, draft)))["context"]
    assert "service" not in context
    assert "destination" not in context


def test_http(engine):
    draft = http(url="http://x/" + "y" * 20_000, method="GET", status_code=200, host="x:80")
    found = judged(encode.span_line(span_of(engine, draft)))["context"]["http"]
    assert len(found["url"]) == LONG
    assert {**found, "url": ""} == {
        "url": "",
        "method": "GET",
        "status_code": 200,
        "response": {"status_code": 200},
    }
    assert judged(encode.span_line(span_of(engine, http())))["context"]["http"] == {}


def test_long_field_max_length():
    """Spec 2, 4.2."""
    engine = Engine(long_field_max_length="100")
    draft = SpanDraft("x", "db", db={"statement": HUGE, "instance": "u" * 200})
    found = judged(encode.span_line(span_of(engine, draft)))["context"]["db"]
    assert (len(found["statement"]), len(found["instance"])) == (100, 200)


def test_long_statement_is_cut(engine):
    draft = SpanDraft("x", "db", db={"statement": HUGE, "user": HUGE})
    found = judged(encode.span_line(span_of(engine, draft)))["context"]["db"]
    assert (len(found["statement"]), len(found["user"])) == (LONG, KEYWORD)
    assert found["statement"].endswith("\u2026")


FACTS = ["name", "type", "subtype", "action", "address", "target_type", "target_name", "outcome"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_span_with_any_fact(engine, value):
    for fact in FACTS[:-1]:
        draft = SpanDraft("name", "type", db={"type": value, "statement": value, "instance": value, "link": value})
        setattr(draft, fact, value)
        draft.port = value
        draft.db["rows_affected"] = value
        draft.context = {"tags": {"label": value}, "message": {"headers": {}}}
        assert judged(encode.span_line(span_of(engine, draft)))["name"]
    draft = http(url=value, method=value, status_code=value, host=value)
    draft.address, draft.port = "there", value
    judged(encode.span_line(span_of(engine, draft)))


def test_huge_spans(engine):
    span = span_of(engine, SpanDraft("x", "custom", exit=False))
    frames = [{"filename": "x" * 1000} for _ in range(1000)]
    event = judged(encode.span_line(span, frames))
    assert "stacktrace" not in event
    span.draft.context = {"custom": {"body": HUGE}}
    event = judged(encode.span_line(span, frames))
    assert "context" not in event
    assert event["id"] == span.id


# Errors


def captured(engine, error, **facts):
    transaction = engine.begin()
    for name, value in facts.items():
        setattr(transaction, name, value)
    try:
        raise error
    except BaseException as caught:
        transaction.capture(caught, handled=True)
    return transaction.errors[0]


def test_error(engine):
    error = ValueError("mine")
    error.__cause__ = LookupError("cause")
    facts = captured(engine, error)
    event = judged(encode.error_line(facts))
    assert event["exception"]["message"] == "mine"
    assert event["exception"]["cause"][0]["message"] == "cause"
    assert event["culprit"] == f"{__name__}.captured"
    assert event["exception"]["stacktrace"][0]["context_line"].strip() == "raise error"


def test_error_outside_of_transactions(engine):
    engine.tracer.capture(ValueError("mine"), None, False)
    event = judged(encode.error_line(engine.sink.errors[0]))
    assert "culprit" not in event


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_error_with_any_message(engine, value):
    kind = type("x" * 5000, (Exception,), {"__module__": value})
    facts = captured(engine, kind(value), name=value, type=value, context={"tags": {"label": value}})
    event = judged(encode.error_line(facts))
    assert len(event["exception"]["message"]) <= LONG
    assert len(event["exception"]["type"]) == KEYWORD


def frames(count, size=80, lines=11):
    line = "x" * size
    frame = {"filename": line, "lineno": 1, "context_line": line}
    return [{**frame, "pre_context": [line] * (lines // 2), "post_context": [line] * (lines // 2)}] * count


def exception(count, size=80, causes=0, depth=0):
    found = {"type": "T", "module": "m", "message": "e", "handled": True, "stacktrace": frames(count, size)}
    if depth:
        found["cause"] = [exception(count, size, causes, depth - 1) for _ in range(causes)]
    return found


def huge_error(engine, found, **facts):
    return {**captured(engine, ValueError()), "exception": found, **facts}


def test_huge_errors_lose_the_least_first(engine):
    event = judged(encode.error_line(huge_error(engine, exception(50, causes=3, depth=2))))
    assert "context_line" not in event["exception"]["stacktrace"][0]
    assert len(event["exception"]["cause"][2]["cause"]) == 3
    event = judged(encode.error_line(huge_error(engine, exception(60, 400, causes=3, depth=3))))
    assert "cause" not in event["exception"]
    assert len(event["exception"]["stacktrace"]) == 50
    event = judged(encode.error_line(huge_error(engine, exception(5), context={"custom": {"huge": HUGE}})))
    assert "context" not in event
    assert len(event["exception"]["stacktrace"]) == 5
    event = judged(encode.error_line(huge_error(engine, exception(60, 100_000))))
    assert event["exception"]["stacktrace"] == []
    assert event["exception"]["message"] == "e"


# Lines


def test_lines_are_utf8():
    line = encode.line("span", {"text": "ä\U0001f600\u2028", "half": "\ud800"})
    assert line == '{"span":{"text":"ä\U0001f600\u2028","half":"?"}}\n'.encode()


def test_values_that_json_has_no_word_for():
    event = {"a": math.nan, "b": (math.inf, {1, 2}), "c": {1: b"bytes", None: Unprintable()}, "d": 2**64, "e": 1.5}
    found = json.loads(encode.line("log", event))["log"]
    assert found == {
        "a": "nan",
        "b": ["inf", [1, 2]],
        "c": {"1": "bytes", "None": "<unprintable Unprintable object>"},
        "d": "18446744073709551616",
        "e": 1.5,
    }


def test_endless_values_end():
    found = json.loads(encode.line("log", {"value": endless()}))["log"]
    depth = 0
    while isinstance(found, (dict, list)):
        found = found["value"] if isinstance(found, dict) else found[0]
        depth += 1
    assert depth == 20


def test_values_are_asked_as_little_as_can_be():
    assert encode.text(Text("text")) == "said by the program"
    assert encode.text("x" * 2000) == "x" * 1023 + "\u2026"
    assert encode.text(5) == "5"


def test_any_structure():
    random = Random(5)

    def value(depth):
        if depth and random.random() < 0.4:
            kind = random.choice((list, tuple, dict))
            if kind is dict:
                keys = [one for one in VALUES if one.__hash__ and not isinstance(one, (Unprintable, int))]
                return {random.choice(keys): value(depth - 1) for _ in range(random.randrange(4))}
            return kind(value(depth - 1) for _ in range(random.randrange(4)))
        return random.choice([one for one in VALUES if one is not HUGE])

    for _ in range(300):
        line = encode.line("transaction", {"context": value(5)})
        json.loads(line, parse_constant=pytest.fail)


# Together


def test_what_can_not_be_encoded_costs_nothing_else(engine, monkeypatch):
    class Exporter:
        def takes(self, sampled):
            return True

        def put(self, payload, events):
            put.append((payload, events))

    put: list = []
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    with engine.transaction() as transaction:
        for tags in ({"a": 1}, "no dictionary", {"b": 2}):
            span = engine.tracer.begin(SpanDraft("x", "custom", exit=False), transaction)
            span.draft.context = {"tags": tags}
            engine.tracer.end(span)
        transaction.capture(ValueError(), handled=True)
    Pipeline(engine.tracer.settings, Exporter()).transaction(*engine.sink.transactions[0])
    ((payload, events),) = put
    kinds = [next(iter(json.loads(line))) for line in payload.splitlines()]
    assert kinds == ["transaction", "span", "span", "error"]
    assert events == 4
    assert list(guard.failures) == ["encode span"]


def test_a_database_named_by_how_it_is_reached_shows_no_password(engine):
    """Issue 4: DSNs are sanitised, in whatever is made of them."""
    draft = SpanDraft("x", "db", "postgresql", db={"instance": "postgresql://u:s3cr3t@h/db"}, address="u:s3cr3t@h")
    line = encode.span_line(span_of(engine, draft))
    context = judged(line)["context"]
    assert context["service"]["target"] == {"type": "postgresql", "name": "postgresql://h/db"}
    assert context["destination"]["address"] == "h"
    assert b"s3cr3t" not in line


def test_http_url_goes_without_secrets(engine):
    """Spec 22: http.url without userinfo; issue 4: query-string secrets redacted."""
    draft = SpanDraft("x", "external", "http", http={"url": "http://u:s3cr3t@h/?sig=s3cr3t&a=1"})
    http = judged(encode.span_line(span_of(engine, draft)))["context"]["http"]
    assert http["url"] == "http://h/?sig=[REDACTED]&a=1"


def test_where_spans_of_one_place_lead(engine):
    """That is written down once for all of them, but for those about which the user says something else."""

    def where(url, change=lambda span: None, **context):
        transaction = engine.begin()
        transaction.context.update(context)
        span = engine.tracer.begin(http_client.request("GET", url), transaction)
        change(span)
        engine.tracer.end(span)
        engine.tracer.end_transaction(transaction)
        found = judged(encode.span_line(span))["context"]
        return found["http"]["url"], found["service"], found["destination"]

    def renamed(span):
        span.own().target_name = "shop"

    service = {"target": {"type": "http", "name": "place.example:80"}}
    resource = {"resource": "place.example:80", "name": "", "type": ""}
    destination = {"address": "place.example", "port": 80, "service": resource}
    for path in ("/a", "/b", "/c"):
        url = f"http://place.example{path}"
        assert where(url) == (url, service, destination)
    url = "http://place.example/d"
    assert where(url, renamed)[1] == {"target": {"type": "http", "name": "shop"}}
    assert where(url, service={"name": "other"})[1] == {"name": "other", **service}
    assert where(url) == (url, service, destination)
