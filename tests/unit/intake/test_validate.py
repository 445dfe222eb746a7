"""What the model accepts and refuses, rule by rule. Agreement with the published schemas: test_agreement.py."""

from __future__ import annotations

import copy

import pytest

from apm_run.intake.validate import micros, validate

TRANSACTION = {
    "id": "945254c567a5417e",
    "trace_id": "0123456789abcdef0123456789abcdef",
    "type": "request",
    "duration": 32.5,
    "span_count": {"started": 1},
}
SPAN = {
    "id": "0aaaaaaaaaaaaaaa",
    "trace_id": "0123456789abcdef0123456789abcdef",
    "parent_id": "945254c567a5417e",
    "name": "SELECT FROM items",
    "type": "db",
    "duration": 3,
    "timestamp": 1496170407154000,
}
ERROR = {"id": "9876543210abcdeffedcba0123456789", "exception": {"type": "ValueError"}}
METRICSET = {"samples": {"count": {"value": 1}}}
LOG = {"message": "ready", "@timestamp": 1496170407154000}
METADATA = {"service": {"name": "shop", "agent": {"name": "python", "version": "1"}}}
SMALLEST = {
    "transaction": TRANSACTION,
    "span": SPAN,
    "error": ERROR,
    "metricset": METRICSET,
    "log": LOG,
    "metadata": METADATA,
}
LONG = "x" * 1025


def changed(kind, path, value):
    event = copy.deepcopy(SMALLEST[kind])
    target = event
    *parents, last = path.split("/")
    for parent in parents:
        target = target.setdefault(parent, {})
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return event


@pytest.mark.parametrize("kind", SMALLEST)
def test_the_smallest_event_is_accepted(kind):
    assert validate(kind, SMALLEST[kind]) == []


@pytest.mark.parametrize("kind", SMALLEST)
@pytest.mark.parametrize("value", [None, {}, {"unknown": 1}])
def test_an_event_without_known_fields_is_none(kind, value):
    assert validate(kind, value) == [f"'{kind}' required"]


@pytest.mark.parametrize("value", [[], "x", 1, 1.5, True])
def test_an_event_is_an_object(value):
    (error,) = validate("span", value)
    assert error.startswith("'span': expects an object, found a")


def test_an_unknown_kind_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        validate("tennis-court", {})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *(("transaction", key) for key in TRANSACTION),
        *(("span", key) for key in SPAN if key != "timestamp"),
        ("error", "id"),
        ("metricset", "samples"),
        ("metadata", "service/name"),
        ("metadata", "service/agent"),
        ("metadata", "service/agent/name"),
        ("metadata", "service/agent/version"),
    ],
)
@pytest.mark.parametrize("value", [..., None])
def test_required_fields(kind, path, value):
    event = changed(kind, path, value)
    if kind == "metricset":
        event["timestamp"] = 1
    (error,) = validate(kind, event)
    assert error.endswith(f"'{path.split('/')[-1]}' required")


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("span", "timestamp", "2022-09-08T13:47:29.111-08:00"),
        ("span", "context/tags", {"text": "x" * 1024, "flag": True, "number": 1.5, "nothing": None}),
        ("span", "context/db", {"statement": "x" * 20_000, "rows_affected": 0}),
        ("span", "context/http/request/body", ["anything", {"at": "all"}]),
        ("span", "context/service/target", {"type": "mysql", "name": None}),
        ("span", "context/destination/service", {"resource": "mysql", "name": "", "type": ""}),
        ("span", "composite", {"count": 2, "sum": 0, "compression_strategy": "exact_match"}),
        ("span", "links", [{"trace_id": "a", "span_id": "b"}]),
        ("span", "child_ids", ["a", None]),
        ("span", "stacktrace", [{"filename": "a.py", "lineno": 3, "vars": {"any": [1]}}, {"classname": "A"}]),
        ("span", "outcome", ""),
        ("span", "unknown", {"fields": ["are ignored"]}),
        ("transaction", "outcome", "failure"),
        ("transaction", "name", "🙂" * 1024),
        ("transaction", "context/request", {"method": "GET", "body": {"a": 1}, "cookies": {"c": [1]}}),
        ("transaction", "context/request", {"method": "GET", "body": "text", "url": {"port": "8080"}}),
        ("transaction", "context/request", {}),
        ("transaction", "context/response", {"status_code": 200, "headers": {"a": "1", "b": ["2"], "c": None}}),
        ("transaction", "context/user", {"id": 7}),
        ("transaction", "context/service", {"name": ""}),
        ("transaction", "marks", {"navigation": {"load": 1.5, "none": None}, "empty": None}),
        ("transaction", "dropped_spans_stats", [{"outcome": "success", "duration": {"count": 1}}]),
        ("error", "exception", {"message": "", "code": "E1", "cause": [{"type": "A", "cause": [{"type": "B"}]}]}),
        ("error", "exception", {"message": "m", "code": -7, "handled": False, "attributes": {"a": {}}}),
        ("error", "log", {"message": "x" * 20_000, "param_message": "%s"}),
        ("metricset", "samples", {"h": {"values": [1, 2.5], "counts": [0, 3], "type": "histogram"}}),
        ("metricset", "samples", {"h": {"value": 1, "values": [], "counts": None}}),
        ("log", "@timestamp", None),
        ("log", "log", {"level": 5, "anything": True}),
        ("log", "log.origin.file.line", 10),
        ("metadata", "labels", {"a": 1}),
        ("metadata", "process", {"pid": 1, "argv": ["a"]}),
        ("metadata", "system/kubernetes/pod", {"uid": "x"}),
        ("metadata", "cloud", {}),
    ],
)
def test_accepted(kind, path, value):
    assert validate(kind, changed(kind, path, value)) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("span", "id", 5, "span: 'id': expects a string, found an integer"),
        ("span", "name", LONG, "span: 'name': validation rule 'maxLength(1024)' violated"),
        ("span", "outcome", "good", "span: 'outcome': validation rule 'enum(success;failure;unknown)' violated"),
        ("span", "sync", "yes", "span: 'sync': expects a boolean, found a string"),
        ("span", "sync", 1, "span: 'sync': expects a boolean, found an integer"),
        ("span", "duration", "3", "span: 'duration': expects a number, found a string"),
        ("span", "duration", True, "span: 'duration': expects a number, found a boolean"),
        ("span", "duration", -0.5, "span: 'duration': validation rule 'min(0)' violated"),
        ("span", "duration", float("inf"), "span: 'duration': validation rule 'finite' violated"),
        ("span", "duration", 10**400, "span: 'duration': validation rule 'finite' violated"),
        ("span", "timestamp", 1.5e15,
         "span: 'timestamp': expects integer microseconds or an RFC 3339 string, found a number"),
        ("span", "timestamp", ..., "span: requires at least one of the fields 'start;timestamp'"),
        ("span", "links", [{"trace_id": "a"}], "span: links: 'span_id' required"),
        ("span", "links", [None], "span: links slice element required"),
        ("span", "links", {}, "span: 'links': expects an array, found an object"),
        ("span", "child_ids", [LONG], "span: 'child_ids': validation rule 'maxLength(1024)' violated"),
        ("span", "stacktrace", [{"lineno": 1}],
         "span: stacktrace: requires at least one of the fields 'classname;filename'"),
        ("span", "stacktrace", [{"filename": "a", "lineno": 5.0}],
         "span: stacktrace: 'lineno': expects an integer, found a number"),
        ("span", "stacktrace", [{"filename": "a", "vars": []}],
         "span: stacktrace: 'vars': expects an object, found an array"),
        ("span", "composite", {"count": 1, "sum": 1, "compression_strategy": "x"},
         "span: composite: 'count': validation rule 'min(2)' violated"),
        ("span", "context/tags", [], "span: context: 'tags': expects an object, found an array"),
        ("span", "context/tags", {"a": LONG}, "span: context: 'tags': validation rule 'maxLengthVals(1024)' violated"),
        ("span", "context/tags", {"a": {}},
         "span: context: 'tags': validation rule 'inputTypesVals(string;bool;number)' violated for key a"),
        ("span", "context/message/headers", {"a": 1},
         "span: context: message: headers: 'a': expects a string or an array of strings, found an integer"),
        ("span", "context/message/headers", {"a": ["b", None]},
         "span: context: message: headers: 'a': expects a string or an array of strings, found an array"),
        ("span", "context/message/headers", "a: b",
         "span: context: message: 'headers': expects an object, found a string"),
        ("span", "context/db/rows_affected", 2**63,
         "span: context: db: 'rows_affected': validation rule '64 bits' violated"),
        ("span", "context/destination/service", {"name": "x"},
         "span: context: destination: service: 'resource' required"),
        ("transaction", "context/request", {"url": {}, "http_version": "1.1"},
         "transaction: context: request: 'method' required"),
        ("transaction", "context/request", {"method": "GET", "body": ["a"]},
         "transaction: context: request: 'body': expects a string or an object, found an array"),
        ("transaction", "context/user/id", True,
         "transaction: context: user: 'id': expects a string or an integer, found a boolean"),
        ("transaction", "context/user/id", 2**63,
         "transaction: context: user: 'id': expects a string or an integer, found an integer"),
        ("transaction", "context/user/id", LONG,
         "transaction: context: user: 'id': validation rule 'maxLength(1024)' violated"),
        ("transaction", "context/service/name", "a/b",
         "transaction: context: service: 'name': validation rule 'pattern(a-z A-Z 0-9 space _ -)' violated"),
        ("transaction", "marks", [], "transaction: 'marks': expects an object, found an array"),
        ("transaction", "marks", {"a": {"b": "c"}}, "transaction: marks: a: 'b': expects a number, found a string"),
        ("transaction", "dropped_spans_stats", [{"service_target_name": "x" * 513}],
         "transaction: dropped_spans_stats: 'service_target_name': validation rule 'maxLength(512)' violated"),
        ("error", "trace_id", "t", "error: 'parent_id' required when one of 'transaction_id;trace_id' is set"),
        ("error", "parent_id", "p", "error: 'trace_id' required when one of 'transaction_id;parent_id' is set"),
        ("error", "exception", ..., "error: requires at least one of the fields 'exception;log'"),
        ("error", "exception", {"code": 1}, "error: exception: requires at least one of the fields 'message;type'"),
        ("error", "exception/cause", [{"module": "m"}],
         "error: exception: cause: requires at least one of the fields 'message;type'"),
        ("metricset", "samples", {"a*": {"value": 1}},
         "metricset: 'samples': validation rule 'patternKeys(no * or \")' violated"),
        ("metricset", "samples", {"a": None, "b": {"value": 1}}, "metricset: samples: 'a' required"),
        ("metricset", "samples", {"a": {"values": [1]}},
         "metricset: samples: a: 'counts' required when one of 'values' is set"),
        ("metricset", "samples", {"a": {"value": 1, "counts": [1]}},
         "metricset: samples: a: 'values' required when one of 'counts' is set"),
        ("metricset", "samples", {"a": {"values": [1], "counts": [-1]}},
         "metricset: samples: a: 'counts': validation rule 'min(0)' violated"),
        ("log", "service.name", 5, "log: 'service.name': expects a string, found an integer"),
        ("metadata", "service/name", "", "metadata: service: 'name': validation rule 'minLength(1)' violated"),
        ("metadata", "service/name", "a.b",
         "metadata: service: 'name': validation rule 'pattern(a-z A-Z 0-9 space _ -)' violated"),
        ("metadata", "process", {"title": "x"}, "metadata: process: 'pid' required"),
    ],
)  # fmt: skip
def test_refused(kind, path, value, message):
    assert validate(kind, changed(kind, path, value)) == [message]


def test_a_numeric_string_is_wanted_for_a_port():
    for value in ("http", "", "8080x", "1" * 20):
        event = changed("transaction", "context/request", {"method": "GET", "url": {"port": value}})
        assert validate("transaction", event) == [
            "transaction: context: request: url: 'port': validation rule 'targetType(int)' violated"
        ]


def test_all_objections_are_listed():
    assert len(validate("span", {"id": 1, "name": 2, "type": 3})) == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1496170407154000, 1496170407154000),
        (-1, -1),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:00:00+0100", 0),
        ("1970-01-01T01:00:00+01", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2022-09-08T13:47:29.111-0800", 1662673649111000),
        ("1970-13-01T00:00:00Z", None),
        ("1970-01-01 00:00:00Z", None),
        ("1970-01-01T00:00:00", None),
        ("yesterday", None),
        (1.5, None),
        (True, None),
        (None, None),
        (2**63, None),
    ],
)
def test_micros(value, expected):
    assert micros(value) == expected
