"""Nothing that a program, its libraries or its clients say makes the server refuse an event (spec 2): any values."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import logging
import math
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import encoded
from tests.engine import Engine
from tests.receiver import objections

from apm_run import config, filters
from apm_run.api import convert, live
from apm_run.collect import metadata
from apm_run.config import OPTIONS
from apm_run.conventions import body
from apm_run.intake import encode, schema
from apm_run.intake.limits import DROPPED_SPANS_STATS, MAX_EVENT_SIZE
from apm_run.intake.nodes import Record
from apm_run.intake.validate import validate
from apm_run.model import SpanDraft
from apm_run.tracer.compression import Composite


class Unprintable:
    def __str__(self):
        raise LookupError

    def __repr__(self):  # for the report of a failing test
        return "Unprintable()"


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "said by the program"


class Whole(int):
    def __repr__(self):
        return "no number"


class Color(enum.IntEnum):
    RED = 404


def deep():
    found = {}
    for _ in range(5000):
        found = {"deeper": [found]}
    return found


def endless():
    found = []
    found.append({"again": found})
    return found


#: Values of types that are odd, and some that can not be printed, by their names.
ODD_KEYS = {
    "text of the program's type": Text("text"),
    "whole number of the program's type": Whole(7),
    "enumeration": Color.RED,
    "unprintable": Unprintable(),
    "5000 digits": 10**5000,
    "bytes": b"\xff",
}
ODD = {
    **ODD_KEYS,
    "negative 5000 digits": -(10**5000),
    "error": ValueError("x"),
    "no decimal": decimal.Decimal("NaN"),
    "complex": 1j,
    "date": datetime.date.min,
    "range": range(3),
    "array": bytearray(b"\xff"),
    "deep": deep(),
    "endless": endless(),
    "not a number": math.nan,
    "infinite": -math.inf,
    "too large": 2**63,
    "too small": -(2**63) - 1,
}

#: Half of a surrogate pair, control characters and what lies beyond 16 bits are characters as any other.
LETTERS = st.characters(exclude_categories=())
TEXTS = st.one_of(
    st.text(LETTERS, max_size=20),
    st.text(LETTERS, min_size=1, max_size=3).flatmap(
        lambda part: st.sampled_from([1023, 1024, 1025, 10_001, 200_000]).map(lambda size: (part * size)[:size])
    ),
)
KEYS = st.one_of(
    TEXTS,
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.binary(max_size=20),
    st.tuples(st.integers()),
    st.sampled_from(sorted(ODD_KEYS)).map(lambda name: ODD_KEYS[name]),
)
LEAVES = st.one_of(
    KEYS, st.integers(min_value=2**63 - 2, max_value=2**64), st.sampled_from(sorted(ODD)).map(lambda name: ODD[name])
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.frozensets(KEYS, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=6,
)


def judged(line: bytes, kind: str) -> dict:
    """The event of a line, which the server takes."""
    assert len(line) <= MAX_EVENT_SIZE
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    root = json.loads(line.decode("utf-8"), parse_constant=lambda word: pytest.fail(word))
    assert list(root) == [kind]
    assert objections(kind, root[kind]) == []
    return root[kind]


def shaped(node, wrong):
    """Values of the shape of a table of the schema, any values at its leaves.

    :param wrong: whether a part may be of another shape, too.
    """
    if isinstance(node, Record):
        found = st.fixed_dictionaries({}, optional={name: shaped(part, wrong) for name, part in node.fields.items()})
        return st.one_of(found, ANY) if wrong else found
    return ANY


def ended(engine, facts, draft=None):
    """An ended transaction with these facts, and its ended span."""
    transaction = engine.begin("name")
    for name, value in facts.items():
        setattr(transaction, name, value)
    span = None
    if draft is not None:
        span = engine.tracer.begin(draft, transaction)
        engine.clock.advance(1.5)
        engine.tracer.end(span)
    engine.tracer.end_transaction(transaction)
    return transaction, span


HEADERS = st.dictionaries(st.one_of(TEXTS, st.binary(max_size=5)), ANY, max_size=3)
URL = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["full", "raw", "protocol", "hostname", "pathname", "search", "hash", "port"], ANY)
)
CONTEXT = st.fixed_dictionaries(
    {},
    optional={
        "request": st.fixed_dictionaries(
            {},
            optional={
                "method": ANY,
                "url": URL,
                "headers": HEADERS,
                "cookies": st.dictionaries(KEYS, ANY, max_size=3),
                "env": st.dictionaries(KEYS, ANY, max_size=3),
            },
        ),
        "response": st.fixed_dictionaries({}, optional={"status_code": ANY, "headers": HEADERS}),
        "tags": st.dictionaries(KEYS, ANY, max_size=3),
        "custom": st.dictionaries(KEYS, ANY, max_size=3),
    },
)
ATTRIBUTES = st.one_of(st.none(), st.dictionaries(TEXTS, TEXTS, max_size=3))


@given(ANY, ANY, ANY, st.one_of(st.none(), st.tuples(ANY, ANY)), CONTEXT, ATTRIBUTES)
def test_2_a_transaction_of_any_values(name, kind, result, framework, context, attributes):
    facts = {"name": name, "type": kind, "result": result, "framework": framework, "context": context}
    transaction, _ = ended(Engine(), {**facts, "attributes": attributes})
    event = judged(encode.transaction_line(transaction, []), "transaction")
    assert event["id"] == transaction.id
    transaction.sampled = False
    assert "context" not in judged(encode.transaction_line(transaction, []), "transaction")


DRAFT = ("name", "type", "subtype", "action", "address", "port", "target_type", "target_name", "resource")


@given(
    st.fixed_dictionaries(dict.fromkeys(DRAFT, ANY)),
    st.one_of(
        st.none(),
        st.fixed_dictionaries({}, optional=dict.fromkeys(schema.SPAN.fields["context"].fields["db"].fields, ANY)),
    ),
    st.one_of(
        st.none(), st.fixed_dictionaries({}, optional=dict.fromkeys(("url", "method", "status_code", "host"), ANY))
    ),
    st.one_of(st.none(), st.fixed_dictionaries({}, optional={"tags": st.dictionaries(KEYS, ANY, max_size=3)})),
    st.booleans(),
    ATTRIBUTES,
)
def test_2_a_span_of_any_values(facts, db, http, context, leaves, attributes):
    draft = SpanDraft("name", "type", exit=leaves, db=db, http=http)
    for name, value in facts.items():
        setattr(draft, name, value)
    draft.context = context
    _, span = ended(Engine(), {"attributes": attributes}, draft)
    span.composite = Composite("exact_match", 3_000_000)
    span.composite.count = 2
    event = judged(encode.span_line(span, [{"filename": "x.py", "vars": {"a": "b"}}]), "span")
    assert (event["id"], event["composite"]["count"]) == (span.id, 2)


@given(st.lists(st.tuples(ANY, ANY, ANY), max_size=5), st.integers(0, 200))
def test_20_4_dropped_spans_of_any_target(targets, more):
    engine = Engine(transaction_max_spans="0")
    transaction = engine.begin("name")
    for kind, target_type, target_name in [*targets, *(("a", "b", str(number)) for number in range(more))]:
        draft = SpanDraft("x", kind)
        draft.target_type, draft.target_name = target_type, target_name
        engine.tracer.end(engine.tracer.begin(draft, transaction))
    engine.tracer.end_transaction(transaction)
    event = judged(encode.transaction_line(transaction, []), "transaction")
    assert event["span_count"]["dropped"] == len(targets) + more
    assert len(event.get("dropped_spans_stats", ())) <= DROPPED_SPANS_STATS


@given(ANY, ANY, ANY, ANY)
def test_24_2_a_metricset_of_any_names(name, kind, span_type, subtype):
    engine = Engine()
    transaction = engine.begin("name")
    transaction.name, transaction.type = name, kind
    engine.tracer.end(engine.tracer.begin(SpanDraft("x", span_type, subtype, exit=False), transaction))
    engine.tracer.end_transaction(transaction)
    engine.tracer.collect()
    assert engine.sink.metricsets
    for event in engine.sink.metricsets:
        judged(encode.metricset_line(event), "metricset")


# What the program says by the API


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_26_one_odd_value_said_of_everything(value):
    said([value] * 24)


@given(st.lists(ANY, min_size=24, max_size=24))
def test_26_whatever_is_said_of_a_transaction_and_a_span(values):
    said(values)


def said(values):
    """Say it all, and judge what would be sent."""
    (name, kind, result, key, label, custom, *user, service, version, bag, said, place, message) = values[:16]
    engine = Engine()
    transaction = engine.begin("name")
    for field, value in (("name", name), ("type", kind), ("result", result), ("outcome", result)):
        live.put(transaction, field, value)
    live.set_custom(transaction, key, custom)
    live.set_user(transaction, **dict(zip(("id", "username", "email", "domain"), user)))
    live.set_service(transaction, service, version)
    live.set_baggage(transaction, bag, said)
    span = engine.tracer.begin(SpanDraft("x", "custom"), transaction)
    for item in (transaction, span):
        live.set_label(item, key, label)
        live.add_links(item, place)
    for field, value in zip(("name", "type", "subtype", "action", "outcome"), values):
        live.put(span, field, value)
    live.set_target(span, *values[16:18])
    live.set_resource(span, values[18])
    live.set_destination(span, *values[19:21])
    live.set_db(span, rows_affected=values[21], statement=values[22], instance=values[23], type=kind, user=name)
    engine.tracer.end(span)
    engine.tracer.capture(ValueError(message), transaction, True)
    record = live.Message(*(convert.text("x", value) or "x" for value in values[:4]))
    engine.tracer.capture(None, transaction, True, record, sys._getframe())
    engine.tracer.end_transaction(transaction)
    judged(encode.transaction_line(transaction, [span]), "transaction")
    judged(encode.span_line(span), "span")
    assert len(transaction.errors) == 2
    for error in transaction.errors:
        judged(encode.error_line(error), "error")


# Errors


def failing(value, other):
    """Local variables of any value."""
    third = [value, other]
    raise ValueError(value) from LookupError(other, third)


@given(ANY, ANY, ANY, CONTEXT)
def test_8_an_exception_of_any_values(value, other, name, context):
    engine = Engine(collect_local_variables="all")
    transaction = engine.begin("name")
    transaction.name, transaction.type, transaction.context = name, other, context
    kind = type("Odd", (Exception,), {"__module__": value, "__qualname__": "x" * 2000})
    try:
        failing(value, other)
    except ValueError as error:
        transaction.capture(error, handled=False)
    transaction.capture(kind(other), handled=True)
    for error in transaction.errors:
        event = judged(encode.error_line(error), "error")
        assert event["transaction_id"] == transaction.id


@given(ANY, st.one_of(st.tuples(), st.tuples(ANY), st.tuples(ANY, ANY)), ANY, ANY, st.booleans())
def test_8_a_logged_error_of_any_values(message, args, level, name, formatted):
    engine = Engine()
    record = logging.LogRecord("shop", logging.ERROR, "x.py", 1, message, None, None)
    record.args, record.levelname, record.name = args, level, name
    if formatted:
        record.message = message
    engine.tracer.told(None, record, sys._getframe())
    (error,) = engine.sink.errors
    assert judged(encode.error_line(error), "error")["log"]


# What requests bring


TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")


@given(st.binary(max_size=500), st.sampled_from(TYPES), st.text(LETTERS, max_size=20), st.sampled_from([1, 5000]))
def test_22_a_body_of_any_bytes(data, kind, parameter, times):
    read = body.of_request(f"{kind};{parameter}", "", Engine(capture_body="all").tracer.settings)
    if not isinstance(read, str):
        read.add(data * times)
    context = {"request": {"method": "POST", "body": read, "cookies": {"a": "b"}}}
    transaction, _ = ended(Engine(), {"context": context})
    judged(encode.transaction_line(transaction, []), "transaction")


# What filters of the program's make of events


FIXED = Engine()
EVENTS = {
    "transaction": encoded.transaction(ended(FIXED, {})[0], []),
    "span": encoded.span(ended(FIXED, {}, SpanDraft("x", "custom"))[1]),
    "error": {"id": "ab" * 16, "exception": {"message": "x"}},
    "metricset": {"samples": {"a": {"value": 1}}},
}


@given(st.sampled_from(sorted(EVENTS)).flatmap(lambda kind: st.tuples(st.just(kind), shaped(schema.KINDS[kind], True))))
def test_26_what_a_filter_makes_of_an_event_is_valid_or_nothing(made):
    kind, changes = made

    def change(event):
        if isinstance(changes, dict):
            event.update(changes)
            return event
        return changes

    found = filters.passed(kind, EVENTS[kind], [change])
    if found is not None:
        line = encode._fitting(kind, found, encode._without("context"))
        # The server takes an empty object for none, where the published schemas are stricter.
        assert validate(kind, json.loads(line, parse_constant=lambda word: pytest.fail(word))[kind]) == []


# Metadata

#: The environment holds bytes without zeros, which Python reads as text with halves of surrogate pairs.
ENVIRONMENT = st.one_of(
    st.binary(max_size=60).map(lambda value: os.fsdecode(value.replace(b"\0", b"") * 40)),
    st.sampled_from(["x" * 1024, "x" * 1025, "\u00e4" * 3000]),
)


@given(
    st.dictionaries(st.sampled_from([option.variable for option in OPTIONS]), ENVIRONMENT, max_size=30),
    st.lists(ENVIRONMENT, max_size=3),
    st.one_of(st.none(), st.tuples(ENVIRONMENT, ENVIRONMENT)),
)
def test_3_metadata_of_any_environment(environment, arguments, framework):
    labels = ",".join(f"{text}={text}" for text in arguments)
    found, _ = config.load(
        {**environment, "ELASTIC_APM_GLOBAL_LABELS": labels, "ELASTIC_APM_INCLUDE_PROCESS_ARGS": "true"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "orig_argv", arguments, raising=False)
        patch.setattr(sys, "argv", arguments)
        judged(metadata.line(metadata.build(found, None, framework)), "metadata")
