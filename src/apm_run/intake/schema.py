"""What APM Server 8 accepts inside each root key, as tables (spec.md sections 2, 3, 6-11).

The tables hold data only; :mod:`apm_run.intake.validate` reads them. Every field may be absent or null
unless it is required, and fields that are not listed are ignored, as the server ignores them. The receiver
and the tests import this module; the agent only where the program has filters of its own.
"""

from __future__ import annotations

from apm_run.intake.limits import KEYWORD, TARGET
from apm_run.intake.nodes import (
    Anything,
    Flag,
    FreeMap,
    Headers,
    Labels,
    ListOf,
    MapOf,
    Number,
    Record,
    Text,
    TextOrMap,
    TextOrWhole,
    Time,
    Whole,
    each,
    records,
)

OUTCOMES = ("success", "failure", "unknown")
#: Characters of a service name.
SERVICE_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-")


KEY = Text(KEYWORD)
NAME = Text(KEYWORD, required=True)
TEXT = Text()
WHOLE = Whole()
FLAG = Flag()
OUTCOME = Text(choices=OUTCOMES)

_NAME_VERSION = each("name version", KEY)
_ID_NAME = Record(each("id name", KEY))
_USER = Record({"id": TextOrWhole(), "username": KEY, "email": KEY, "domain": KEY})
_FAAS = Record(
    {
        **each("id execution name version", TEXT),
        "coldstart": FLAG,
        "trigger": Record({"type": TEXT, "request_id": TEXT}),
    }
)

METADATA = Record(
    {
        "service": Record(
            {
                "name": Text(KEYWORD, required=True, least=1, alphabet=SERVICE_NAME),
                "version": KEY,
                "environment": KEY,
                "id": TEXT,
                "agent": Record(
                    {
                        "name": Text(KEYWORD, required=True, least=1),
                        "version": NAME,
                        "ephemeral_id": KEY,
                        "activation_method": KEY,
                    },
                    required=True,
                ),
                "language": Record({"name": NAME, "version": KEY}),
                "runtime": Record({"name": NAME, "version": NAME}),
                "framework": Record(_NAME_VERSION),
                "node": Record({"configured_name": KEY}),
            },
            required=True,
        ),
        "process": Record(
            {"pid": Whole(required=True), "ppid": WHOLE, "title": KEY, "argv": ListOf(TEXT)},
        ),
        "system": Record(
            {
                **each("architecture platform hostname configured_hostname detected_hostname host_id", KEY),
                "container": Record({"id": KEY}),
                "kubernetes": Record(
                    {
                        "namespace": KEY,
                        "node": Record({"name": KEY}),
                        "pod": Record({"name": KEY, "uid": KEY}),
                    }
                ),
            }
        ),
        "cloud": Record(
            {
                "provider": NAME,
                **each("region availability_zone", KEY),
                **each("account instance project", _ID_NAME),
                "machine": Record({"type": KEY}),
                "service": Record({"name": KEY}),
            }
        ),
        "labels": Labels(),
        "user": _USER,
        "network": Record({"connection": Record({"type": KEY})}),
    },
    required=True,
)

_EVENT_SERVICE = Record(
    {
        "name": Text(KEYWORD, alphabet=SERVICE_NAME),
        "version": KEY,
        "environment": KEY,
        "id": TEXT,
        "agent": Record({"name": KEY, "version": KEY, "ephemeral_id": KEY}),
        "language": Record(_NAME_VERSION),
        "runtime": Record(_NAME_VERSION),
        "framework": Record(_NAME_VERSION),
        "node": Record({"configured_name": KEY}),
        "origin": Record({"id": TEXT, "name": TEXT, "version": TEXT}),
        "target": Record({"type": TEXT, "name": TEXT}),
    }
)
_MESSAGE = Record(
    {
        "queue": Record({"name": KEY}),
        "age": Record({"ms": WHOLE}),
        "body": TEXT,
        "headers": Headers(),
        "routing_key": TEXT,
    }
)
_SIZES = {"transfer_size": WHOLE, "encoded_body_size": WHOLE, "decoded_body_size": WHOLE}
_CONTEXT = Record(
    {
        "request": Record(
            {
                "method": NAME,
                "url": Record(
                    {
                        **each("full raw protocol hostname pathname search hash", KEY),
                        "port": TextOrWhole(numeric=True),
                    }
                ),
                "headers": Headers(),
                "cookies": FreeMap(),
                "env": FreeMap(),
                "body": TextOrMap(),
                "http_version": KEY,
                "socket": Record({"remote_address": TEXT, "encrypted": FLAG}),
            }
        ),
        "response": Record(
            {"status_code": WHOLE, "headers": Headers(), "finished": FLAG, "headers_sent": FLAG, **_SIZES}
        ),
        "user": _USER,
        "tags": Labels(),
        "custom": FreeMap(),
        "service": _EVENT_SERVICE,
        "cloud": Record(
            {
                "origin": Record(
                    {
                        "account": Record({"id": TEXT}),
                        "provider": TEXT,
                        "region": TEXT,
                        "service": Record({"name": TEXT}),
                    }
                )
            }
        ),
        "message": _MESSAGE,
        "page": Record({"referer": TEXT, "url": TEXT}),
    }
)
_FRAMES = records(
    {
        **each("abs_path filename classname function module context_line", TEXT),
        "lineno": WHOLE,
        "colno": WHOLE,
        "pre_context": ListOf(TEXT),
        "post_context": ListOf(TEXT),
        "library_frame": FLAG,
        "vars": FreeMap(),
    },
    any_of=("classname", "filename"),
)
_LINKS = records({"trace_id": NAME, "span_id": NAME})
_OTEL = Record({"span_kind": TEXT, "attributes": FreeMap()})

TRANSACTION = Record(
    {
        "id": NAME,
        "trace_id": NAME,
        "parent_id": KEY,
        "name": KEY,
        "type": NAME,
        "result": KEY,
        "outcome": OUTCOME,
        "timestamp": Time(),
        "duration": Number(required=True, least=0),
        "sampled": FLAG,
        "sample_rate": Number(),
        "span_count": Record({"started": Whole(required=True), "dropped": WHOLE}, required=True),
        "dropped_spans_stats": records(
            {
                "destination_service_resource": KEY,
                "service_target_type": Text(TARGET),
                "service_target_name": Text(TARGET),
                "outcome": OUTCOME,
                "duration": Record({"count": Whole(least=1), "sum": Record({"us": Whole(least=0)})}),
            }
        ),
        "links": _LINKS,
        "context": _CONTEXT,
        "otel": _OTEL,
        "faas": _FAAS,
        "marks": MapOf(MapOf(Number())),
        "session": Record({"id": NAME, "sequence": Whole(least=1)}),
        "experience": Record(
            {
                "cls": Number(least=0),
                "fid": Number(least=0),
                "tbt": Number(least=0),
                "longtask": Record(
                    {
                        "count": Whole(required=True, least=0),
                        "max": Number(required=True, least=0),
                        "sum": Number(required=True, least=0),
                    }
                ),
            }
        ),
    },
    required=True,
)

SPAN = Record(
    {
        "id": NAME,
        "trace_id": NAME,
        "transaction_id": KEY,
        "parent_id": NAME,
        "child_ids": ListOf(KEY),
        "name": NAME,
        "type": NAME,
        "subtype": KEY,
        "action": KEY,
        "timestamp": Time(),
        "start": Number(),
        "duration": Number(required=True, least=0),
        "sync": FLAG,
        "outcome": OUTCOME,
        "sample_rate": Number(),
        "stacktrace": _FRAMES,
        "composite": Record(
            {
                "count": Whole(required=True, least=2),
                "sum": Number(required=True, least=0),
                "compression_strategy": Text(required=True),
            }
        ),
        "links": _LINKS,
        "otel": _OTEL,
        "context": Record(
            {
                "db": Record(
                    {
                        **each("instance statement type user", TEXT),
                        "link": KEY,
                        "rows_affected": WHOLE,
                    }
                ),
                "http": Record(
                    {
                        "url": TEXT,
                        "method": KEY,
                        "status_code": WHOLE,
                        "request": Record({"id": TEXT, "body": Anything()}),
                        "response": Record({"status_code": WHOLE, "headers": Headers(), **_SIZES}),
                    }
                ),
                "destination": Record(
                    {
                        "address": KEY,
                        "port": WHOLE,
                        "service": Record({"resource": NAME, "name": KEY, "type": KEY}),
                    }
                ),
                "service": _EVENT_SERVICE,
                "message": _MESSAGE,
                "tags": Labels(),
            }
        ),
    },
    required=True,
    any_of=("start", "timestamp"),
)

_EXCEPTION = Record(
    {
        "message": TEXT,
        "type": KEY,
        "module": KEY,
        "code": TextOrWhole(),
        "handled": FLAG,
        "attributes": FreeMap(),
        "stacktrace": _FRAMES,
    },
    any_of=("message", "type"),
)
_CAUSE = Record(_EXCEPTION.fields, required=True, any_of=_EXCEPTION.any_of)
# A cause has causes of its own: the one place where the tables are recursive.
_EXCEPTION.fields["cause"] = ListOf(_CAUSE)

ERROR = Record(
    {
        "id": NAME,
        "trace_id": KEY,
        "transaction_id": KEY,
        "parent_id": KEY,
        "timestamp": Time(),
        "culprit": KEY,
        "exception": _EXCEPTION,
        "log": Record(
            {
                "message": Text(required=True),
                "param_message": KEY,
                "level": KEY,
                "logger_name": KEY,
                "stacktrace": _FRAMES,
            }
        ),
        "transaction": Record({"name": KEY, "type": KEY, "sampled": FLAG}),
        "context": _CONTEXT,
    },
    required=True,
    any_of=("exception", "log"),
    needs=(("parent_id", ("transaction_id", "trace_id")), ("trace_id", ("transaction_id", "parent_id"))),
)

METRICSET = Record(
    {
        "timestamp": Time(),
        "samples": MapOf(
            Record(
                {
                    "value": Number(),
                    "values": ListOf(Number()),
                    "counts": ListOf(Whole(least=0)),
                    "type": TEXT,
                    "unit": TEXT,
                },
                required=True,
                any_of=("value", "values"),
                needs=(("values", ("counts",)), ("counts", ("values",))),
            ),
            required=True,
            forbidden='*"',
        ),
        "tags": Labels(),
        "transaction": Record({"name": KEY, "type": KEY}),
        "span": Record({"type": KEY, "subtype": KEY}),
        "service": Record(_NAME_VERSION),
        "faas": _FAAS,
    },
    required=True,
)

# One ECS-logging record. The nested form of a dotted name is free: the server takes from it what has the
# right type.
LOG = Record(
    {
        "@timestamp": Time(),
        "message": TEXT,
        "labels": Labels(),
        "faas": _FAAS,
        **each(
            "trace.id transaction.id span.id log.level log.logger log.origin.file.name service.name"
            " service.version service.environment service.node.name process.thread.name event.dataset",
            KEY,
        ),
        **each("log.origin.function error.type error.message error.stack_trace", TEXT),
        "log.origin.file.line": WHOLE,
        **each("log service error event process", FreeMap()),
    },
    required=True,
)

#: Root key of a line -> what is inside it.
KINDS = {
    "metadata": METADATA,
    "transaction": TRANSACTION,
    "span": SPAN,
    "error": ERROR,
    "metricset": METRICSET,
    "log": LOG,
}
