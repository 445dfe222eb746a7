"""The figures that the page shows."""

from __future__ import annotations

import time

import pytest
from tests.local.traffic import ask, error, identity, metadata, send, span, transaction

from apm_run.local import figures


def api(receiver, question, **parameters):
    from urllib.parse import urlencode

    answer = ask(receiver.port, "GET", f"/api/{question}?{urlencode(parameters)}")
    return answer.json if answer.status == 200 else answer.status


def test_an_empty_store(receiver):
    for question in ("services", "traces", "errors", "dependencies", "metrics", "logs", "rejections"):
        assert api(receiver, question) == []
    assert api(receiver, "transactions") == {"groups": [], "all": 0}
    for question in ("transaction", "trace", "error", "event"):
        assert api(receiver, question) == 404
    assert api(receiver, "state")["services"] == []


def test_services(receiver):
    lines = [
        transaction(duration=float(number), outcome="failure" if number > 90 else "success") for number in range(1, 101)
    ]
    send(receiver.port, metadata("shop", environment="prod"), *lines, transaction(duration=7, outcome="unknown"))
    root = transaction()
    send(receiver.port, metadata("prices"), root, span(root), error(root))
    prices, shop = api(receiver, "services")
    assert (shop["service"], shop["environment"], shop["count"], shop["p95"]) == ("shop", "prod", 101, 95)
    assert shop["average"] == pytest.approx((5050 + 7) / 101)
    # What has no known outcome counts neither way.
    assert (shop["failures"], shop["failure_rate"]) == (10, 0.1)
    assert (prices["service"], prices["spans"], prices["errors"], prices["runtime"]) == (
        "prices",
        1,
        1,
        "CPython 3.11.7",
    )
    assert api(receiver, "state")["services"] == ["shop", "prices"]


def test_transactions_grouped_by_name_and_type(receiver):
    send(
        receiver.port, metadata(),
        transaction("GET /", duration=1), transaction("GET /", duration=3), transaction("POST /", duration=100),
        transaction("GET /", type="script", duration=1),
    )  # fmt: skip
    groups = api(receiver, "transactions", service="shop")["groups"]
    assert [(each["name"], each["type"], each["count"], each["average"]) for each in groups] == [
        ("POST /", "request", 1, 100),
        ("GET /", "request", 2, 2),
        ("GET /", "script", 1, 1),
    ]
    assert api(receiver, "transactions", service="other")["groups"] == []
    one = api(receiver, "transaction", service="shop", type="request", name="GET /")
    assert (one["count"], one["p95"], sum(bucket["count"] for bucket in one["distribution"])) == (2, 3, 2)
    assert [sample["duration"] for sample in one["samples"]] == [3, 1]


def test_the_time_range_leaves_older_events_out(receiver):
    now = time.time_ns() // 1000
    send(receiver.port, metadata(), transaction("old", timestamp=now - 7200_000_000), transaction("new"))
    since = now - 3600_000_000
    assert [each["name"] for each in api(receiver, "transactions", since=since)["groups"]] == ["new"]
    assert [each["name"] for each in api(receiver, "traces", since=since)] == ["new"]
    (service,) = api(receiver, "services", since=since)
    assert (service["count"], service["throughput"]) == (1, pytest.approx(1 / 60, rel=0.01))
    assert api(receiver, "services", since="nonsense")[0]["count"] == 2


def test_a_trace_over_services(receiver):
    root = transaction("GET /shop")
    call = span(root, "GET prices", type="external", subtype="http")
    there = transaction("GET /price", trace_id=root["transaction"]["trace_id"], parent_id=call["span"]["id"])
    query = span(there, timestamp=None, start=2.5)
    failure = error(query)
    log = {"log": {"message": "m", "trace.id": root["transaction"]["trace_id"], "log.level": "warn"}}
    send(receiver.port, metadata("prices"), there, query, failure, log)
    send(receiver.port, metadata("shop"), root, call)
    found = api(receiver, "trace", id=root["transaction"]["trace_id"])
    assert [(each["service"], each["name"]) for each in found["transactions"]] == [
        ("shop", "GET /shop"),
        ("prices", "GET /price"),
    ]
    by_name = {each["name"]: each for each in found["spans"]}
    assert by_name["GET prices"]["event_id"] == found["transactions"][1]["parent_id"]
    # A start relative to its transaction becomes a time of its own.
    assert by_name["SELECT FROM items"]["ts"] == there["transaction"]["timestamp"] + 2500
    assert [each["type"] for each in found["errors"]] == ["ValueError"]
    assert [each["level"] for each in found["logs"]] == ["warn"]
    # One line in the list of traces: its root.
    (line,) = api(receiver, "traces")
    assert (line["name"], line["services"], line["spans"], line["errors"]) == ("GET /shop", 2, 2, 1)


def test_a_trace_whose_head_is_elsewhere_is_listed(receiver):
    send(receiver.port, metadata(), transaction("orphan", parent_id=identity()))
    assert [each["name"] for each in api(receiver, "traces")] == ["orphan"]


def test_spans_without_their_transaction(receiver):
    gone = transaction()
    child = span(gone, timestamp=None, start=5)
    send(receiver.port, metadata(), child)
    (found,) = api(receiver, "trace", id=child["span"]["trace_id"])["spans"]
    assert found["ts"] == 5000


def test_one_event_as_it_was_sent(receiver):
    root = transaction(context={"custom": {"deep": [{"a": None}]}})
    send(receiver.port, metadata(version="7"), root)
    found = api(receiver, "event", table="transactions", id=1)
    assert found == {"event": root, "metadata": metadata(version="7")["metadata"]}
    for table, number in (("transactions", 2), ("sqlite_master", 1), ("transactions", "1 OR 1"), ("spans", "9" * 40)):
        assert api(receiver, "event", table=table, id=number) == 404


def test_errors(receiver):
    frame = {"filename": "a.py", "function": "f"}
    first = error(exception={"type": "KeyError", "message": "first", "stacktrace": [frame]})
    second = error(exception={"type": "KeyError", "message": "second", "handled": False, "stacktrace": [frame]})
    send(receiver.port, metadata(), first, second, error())
    groups = {each["type"]: each for each in api(receiver, "errors", service="shop")}
    assert groups["KeyError"]["count"] == 2
    assert (groups["KeyError"]["message"], groups["KeyError"]["handled"]) == ("second", 0)
    one = api(receiver, "error", service="shop", grouping=groups["KeyError"]["grouping"])
    assert [each["message"] for each in one["occurrences"]] == ["second", "first"]


def test_dependencies(receiver):
    root = transaction()
    target = {"service": {"target": {"type": "sqlite", "name": "shop.db"}}}
    many = span(root, context=target, composite={"count": 4, "sum": 4, "compression_strategy": "exact_match"})
    send(receiver.port, metadata(), root, span(root, context=target, outcome="failure"), many, span(root))
    (found,) = api(receiver, "dependencies")
    assert (found["target"], found["count"], found["failure_rate"]) == ("sqlite/shop.db", 5, 0.5)


def test_metrics_and_logs(receiver):
    sets = [{"metricset": {"timestamp": number, "samples": {"a": {"value": number}}}} for number in (3, 1, 2)]
    logs = [{"log": {"@timestamp": number, "message": str(number), "log.level": "info"}} for number in (1, 3, 2)]
    send(receiver.port, metadata(), *sets, *logs)
    assert api(receiver, "metrics", service="shop") == [{"name": "a", "labels": "", "points": [[1, 1], [2, 2], [3, 3]]}]
    assert [each["message"] for each in api(receiver, "logs", level="info")] == ["3", "2", "1"]
    assert api(receiver, "logs", level="error") == []


def test_rejections_and_clear(receiver):
    send(receiver.port, metadata(), {"tennis": {}}, transaction())
    (found,) = api(receiver, "rejections")
    assert found["message"] == 'did not recognize object type: "tennis"'
    assert found["document"] == '{"tennis": {}}'
    before = api(receiver, "state")["change"]
    assert ask(receiver.port, "POST", "/api/clear").status == 204
    assert api(receiver, "services") == []
    assert api(receiver, "state")["change"] > before


def test_percentile():
    assert figures.percentile([], 0.95) is None
    assert figures.percentile([5], 0.95) == 5
    assert figures.percentile(range(1, 21), 0.95) == 19
    assert figures.percentile([3, 1, 2], 0.5) == 2


def test_distribution():
    assert figures.distribution([]) == []
    buckets = figures.distribution([0, 1, 1, 1000])
    assert [bucket["count"] for bucket in buckets if bucket["count"]] == [1, 2, 1]
    assert buckets[-1]["from"] <= 1000 < buckets[-1]["to"]


def test_counts_over_time():
    series = figures.counts([0, 50, 100, 1000, -5], (0, 100))
    assert (series[0], series[20], series[-1], sum(series)) == (2, 1, 2, 5)
    assert figures.counts([7], (7, 7))[0] == 1


def test_thinned():
    points = [(number, float(number)) for number in range(1000)]
    assert len(figures.thinned(points)) == 112
    assert figures.thinned(points)[0] == (8, 4.0)
    assert figures.thinned(points[:5]) == points[:5]
