"""The page of what the events contain says of each field that is sent what it is, and of no other."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from docs.event_fields import FIELDS, GAPS, RULES
from tests.engine import Engine, running, settings
from tests.receiver import objections

from apm_run import config
from apm_run.api import live
from apm_run.collect import container, metadata
from apm_run.conventions import cookies, http_server
from apm_run.intake import schema
from apm_run.model import SpanDraft
from apm_run.propagation import TraceContext
from apm_run.sanitize import names
from docs import events

PAGE = Path(__file__).parents[2] / "docs/reference/events.md"


def paths(kind, event):
    """The paths of the fields that an event has, as the page writes them."""
    known = events.leaves(schema.KINDS[kind])

    def below(value, path):
        if path in known:
            return {path}
        if isinstance(value, list):
            return set().union(*[below(item, f"{path}[]") for item in value])
        if isinstance(value, dict):
            return set().union(*[below(item, f"{path}.{name}" if path else name) for name, item in value.items()])
        return {path}

    return below(event, "")


def request(engine):
    """A transaction with all that a request can bring and the API can say, its spans and its errors."""
    secret = names(engine.tracer.settings.sanitize_field_names)
    transaction = engine.begin(
        "GET /", context=TraceContext("ab" * 16, "cd" * 8, True, "es=s:0.5"), baggage={"tenant": "tenant=a"}
    )
    url = http_server.url("http", "shop:80", "/orders", "a=1", secret)
    shown = http_server.request("POST", url, "1.1", "127.0.0.1", {"accept": "*/*"})
    transaction.context["request"] = {**shown, "cookies": cookies.parsed("a=b", secret), "body": "text"}
    transaction.framework = ("flask", "3")
    live.set_label(transaction, "a", 1)
    live.set_custom(transaction, "a", 1)
    live.set_user(transaction, id=1, username="u", email="e", domain="d")
    live.set_service(transaction, "other", "1")
    live.add_links(transaction, ["00-" + "ef" * 16 + "-" + "01" * 8 + "-01"])
    http_server.answer(transaction, 200, {"server": "x"}, finished=True, headers_sent=True)
    return transaction


def spans_of(engine, transaction):
    """Of every kind: plain, compressed, dropped."""
    db = {"instance": "shop", "statement": "select 1", "type": "sql", "user": "me", "rows_affected": 1}
    http = {"url": "http://x/", "method": "GET", "status_code": 200, "host": "x:80"}
    drafts = [
        SpanDraft("a", "db", "sqlite", "query", db=db, address="x", port=1),
        SpanDraft("b", "external", "http", http=http),
        *[SpanDraft("c", "db", "redis") for _ in range(2)],
    ]
    for draft in drafts:
        with running(transaction):
            span = engine.tracer.begin(draft, transaction)
        live.set_label(span, "a", 1) if draft.name == "a" else None
        live.add_links(span, ["00-" + "ef" * 16 + "-" + "01" * 8 + "-01"])
        engine.clock.advance(10 if draft.name == "a" else 1)
        engine.tracer.end(span)
    engine.tracer.end(engine.tracer.begin(SpanDraft("d", "db", "redis", db={"instance": "x"}), transaction))


def everything():
    """Kind and object of events that have all we can say."""
    engine = Engine(
        span_compression_enabled="true",
        span_stack_trace_min_duration="5ms",
        exit_span_min_duration="1ms",
        collect_local_variables="all",
        source_lines_span_app_frames="5",
    )
    transaction = request(engine)
    spans_of(engine, transaction)
    try:
        raise LookupError("mine") from ValueError("cause")
    except LookupError as error:
        engine.tracer.capture(error, transaction, False)
    record = logging.LogRecord("shop", logging.ERROR, "x.py", 1, "paid %s", (5,), None)
    with running(transaction):
        engine.tracer.told(None, record, sys._getframe())
    engine.tracer.end_transaction(transaction)
    engine.tracer.collect()
    ((_, spans),) = engine.sink.transactions
    from apm_run.pipeline import Pipeline

    class Exporter:
        lines: list = []

        def takes(self, sampled):
            return True

        def put(self, payload, count):
            self.lines += payload.splitlines()

    pipeline = Pipeline(engine.tracer.settings, Exporter())
    pipeline.transaction(transaction, spans)
    for event in engine.sink.metricsets:
        pipeline.metricset(event)
    for line in Exporter.lines:
        ((kind, event),) = json.loads(line).items()
        yield kind, event


def own_metadata(monkeypatch):
    for name in ("NAMESPACE", "NODE_NAME", "POD_NAME", "POD_UID"):
        monkeypatch.setenv(f"KUBERNETES_{name}", name.lower())
    monkeypatch.setattr(container, "discover", lambda: ("c", "p"))
    options = {
        "service_name": "shop",
        "service_version": "1",
        "environment": "e",
        "service_node_name": "n",
        "hostname": "h",
        "global_labels": "a=b",
        "include_process_args": "true",
    }
    line = metadata.line(metadata.build(settings(**options), "wrapper", ("flask", "3")))
    return json.loads(line)["metadata"]


def test_what_is_sent_is_on_the_page_and_nothing_else(monkeypatch):
    found = {kind: set() for kind in FIELDS}
    for kind, event in [*everything(), ("metadata", own_metadata(monkeypatch))]:
        assert objections(kind, event) == []
        found[kind] |= paths(kind, event)
    for kind, fields in FIELDS.items():
        assert found[kind] - set(fields) == set(), kind
        assert set(fields) - found[kind] == set(), kind


def test_the_page_knows_the_options_it_names():
    page = PAGE.read_text("utf-8")
    known = {option.name for option in config.OPTIONS}
    assert {"sanitize_field_names", "baggage_to_attach"} <= known
    for words in [*(words for fields in FIELDS.values() for words in fields.values()), *RULES.values()]:
        for part in words.split("option `")[1:]:
            assert part.partition("`")[0] in known
    assert all(gap in page for gap in GAPS)


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_every_kind_is_described(kind):
    page = PAGE.read_text("utf-8")
    assert f"\n## `{kind}`\n\n{RULES[kind]}\n" in page
