"""Trace context and baggage through real servers: what comes in is shown, and goes on (spec 13 to 16)."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from tests.instrumentations.served import Served
from tests.receiver import Sink

SERVERS = {
    "wsgi": ("-m", "gunicorn", "-b", "127.0.0.1:0", "relay_wsgi:app"),
    "asgi": ("-m", "uvicorn", "--port", "0", "relay_asgi:app"),
}
STATE = [("tracestate", "b=2, es=s:0.5"), ("tracestate", ""), ("Tracestate", "a=1")]
BAGGAGE = [("baggage", "user=a%20b;p=1, not valid"), ("Baggage", "tenant=7")]


@pytest.fixture(params=list(SERVERS))
def kind(request):
    return request.param


@contextmanager
def serving(kind, sink, **options):
    env = {f"ELASTIC_APM_{name.upper()}": value for name, value in options.items()}
    with Served(*SERVERS[kind], sink=sink, env=env) as served:
        yield served


def test_14_15_what_comes_in_goes_on(kind, sink, server):
    with serving(kind, sink, baggage_to_attach="u*") as served:
        trace, header = served.new_trace()
        assert served.ask("GET", f"/?{server.url}/a", [header, *STATE, *BAGGAGE]).status == 200
        served.ask("GET", "/?", [header, *STATE, *BAGGAGE])
        served.wait(lambda: len(trace.transactions) == 2 and trace.errors)
    relayed = next(one for one in trace.transactions if one["outcome"] == "success")
    shown = {"baggage.user": "a b"}
    (span,) = trace.spans if kind == "wsgi" else [one for one in trace.spans if one["outcome"] == "success"]
    assert relayed["parent_id"] == header[1].split("-")[2]
    assert (relayed["sample_rate"], span["sample_rate"]) == (0.5, 0.5)
    assert relayed["otel"]["attributes"] == span["otel"]["attributes"] == shown
    assert trace.errors[0]["context"]["tags"] == shown
    assert server.sent("traceparent") == [[f"00-{trace.id}-{span['id']}-01"]]
    assert [value.replace(", ", ",") for value in server.sent("tracestate")[0]] == ["b=2,es=s:0.5,a=1"]
    assert server.sent("baggage") == [["user=a%20b;p=1,tenant=7"]]


def test_14_an_incoming_decision_against_sampling_goes_on(kind, sink, server):
    with serving(kind, sink, skip_server_info="true") as served:
        trace, header = served.new_trace("00")
        served.ask("GET", f"/?{server.url}/a", [header, *STATE])
        served.wait(lambda: trace.transactions)
    assert (trace.transaction["sampled"], trace.transaction["sample_rate"]) == (False, 0)
    assert server.sent("traceparent") == [[f"00-{trace.id}-{trace.transaction['id']}-00"]]
    assert not trace.spans


def test_14_the_elastic_header_is_read(kind, sink, server):
    with serving(kind, sink) as served:
        trace, (_, value) = served.new_trace()
        other = f"00-{'f' * 32}-{'f' * 16}-01"
        served.ask("GET", f"/?{server.url}/a", [("Elastic-Apm-Traceparent", value), ("tracestate", "es=s:0.5")])
        served.ask("GET", f"/?{server.url}/b", [("elastic-apm-traceparent", other), ("traceparent", value)])
        served.wait(lambda: len(trace.transactions) == 2)
    assert sorted(one.get("sample_rate", -1) for one in trace.transactions) == [-1, 0.5]
    assert [values[0].split("-")[1] for values in server.sent("traceparent")] == [trace.id] * 2


def test_16_restart_external(kind, sink, server):
    with serving(kind, sink, trace_continuation_strategy="restart_external") as served:
        trace, (name, value) = served.new_trace()
        served.ask("GET", f"/?{server.url}/a", [(name, value), ("tracestate", "a=1"), ("baggage", "user=1")])
        served.ask("GET", f"/?{server.url}/b", [(name, value), ("tracestate", "a=1"), ("tracestate", "es=s:0.5")])
        served.wait(lambda: len(sink.transactions) == 2)
    (continued,) = trace.transactions
    (restarted,) = [one for one in sink.transactions if one is not continued and one["id"] != continued["id"]]
    assert restarted["links"] == [{"trace_id": trace.id, "span_id": value.split("-")[2]}]
    assert "parent_id" not in restarted
    assert server.sent("tracestate") == [["es=s:1"], ["a=1,es=s:0.5"]]
    assert server.sent("traceparent")[0][0].split("-")[1] == restarted["trace_id"]
    assert server.sent("baggage")[0] == ["user=1"]


def test_13_unsampled_requests_are_spared_to_the_server(kind, server):
    """The receiver says that it is of version 8; errors arrive all the same."""
    with Sink() as sink, serving(kind, sink, transaction_sample_rate="0") as served:
        for _ in range(3):
            served.ask("GET", f"/?{server.url}/a")
        served.ask("GET", "/?")
        sink.wait(lambda sink: sink.errors)
        served.ask("GET", f"/?{server.url}/a")
        served.ask("GET", "/?")
        sink.wait(lambda sink: len(sink.errors) == 2)
        assert [error["transaction"]["sampled"] for error in sink.errors] == [False, False]
        assert sink.transactions == []
    assert {values[0][-3:] for values in server.sent("traceparent")} == {"-00"}
    assert server.sent("tracestate") == [["es=s:0"]] * 4
