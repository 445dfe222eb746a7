"""A program that is started as a part of a trace: ``TRACEPARENT`` and its kin in the environment (spec 14 to 16)."""

from __future__ import annotations

import pytest
from tests.instrumentations.peer import peer
from tests.traced import traced

TRACE, PARENT = "ab" * 16, "cd" * 8
HERE = f"00-{TRACE}-{PARENT}-01"
ASKS = "import urllib.request\nurllib.request.urlopen({url!r}).read()\n"
FORKS = "import os, urllib.request\nif os.fork():\n    os.wait()\nurllib.request.urlopen({url!r}).read()\n"


def run(sink, tmp_path, server, source, **env):
    script = tmp_path / "prog.py"
    script.write_text(source.format(url=server.url))
    done = traced("python", script, url=sink.url, env={"APM_RUN_STATE_DIR": str(tmp_path / "state"), **env})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return server.sent("traceparent"), server.sent("tracestate"), server.sent("baggage")


def test_14_traceparent_and_tracestate_of_the_environment(sink, tmp_path):
    with peer() as server:
        env = {"TRACEPARENT": f" {HERE}\t", "TRACESTATE": "a=1, es=s:0.5", "BAGGAGE": "user=a%20b, wrong"}
        sent = run(sink, tmp_path, server, ASKS, **env)
    sink.wait(lambda sink: sink.spans)
    (transaction,), (span,) = sink.transactions, sink.spans
    assert (transaction["trace_id"], transaction["parent_id"], transaction["sample_rate"]) == (TRACE, PARENT, 0.5)
    assert transaction["otel"]["attributes"] == span["otel"]["attributes"] == {"baggage.user": "a b"}
    assert sent == ([[f"00-{TRACE}-{span['id']}-01"]], [["a=1, es=s:0.5"]], [["user=a%20b"]])


@pytest.mark.parametrize(
    "env",
    [
        {"TRACEPARENT": ""},
        {"TRACEPARENT": "nonsense", "TRACESTATE": "es=s:0.5"},
        {"TRACEPARENT": f"{HERE}-more"},
        {"TRACESTATE": "es=s:0.5", "BAGGAGE": "a=1"},
    ],
    ids=["blank", "nonsense", "longer", "none"],
)
def test_14_without_a_valid_one_it_is_a_trace_of_its_own(sink, tmp_path, env):
    with peer() as server:
        _, state, baggage = run(sink, tmp_path, server, ASKS, **env)
    sink.wait(lambda sink: sink.transactions)
    assert "parent_id" not in sink.transactions[0]
    assert (sink.transactions[0]["sample_rate"], state, baggage) == (1.0, [["es=s:1"]], [[]])


def test_14_a_decision_against_sampling_goes_on(sink, tmp_path):
    with peer() as server:
        parents, _, _ = run(sink, tmp_path, server, ASKS, TRACEPARENT=HERE[:-1] + "0")
    assert parents[0][0].startswith(f"00-{TRACE}-")
    assert parents[0][0].endswith("-00")
    sink.wait_idle()
    assert sink.spans == []


def test_16_restart_links_to_it_and_a_forked_child_goes_on_with_the_new_one(sink, tmp_path):
    with peer() as server:
        env = {"TRACEPARENT": HERE, "TRACESTATE": "es=s:0.5", "BAGGAGE": "a=1"}
        parents, states, baggage = run(
            sink, tmp_path, server, FORKS, ELASTIC_APM_TRACE_CONTINUATION_STRATEGY="restart", **env
        )
    sink.wait(lambda sink: len(sink.transactions) == 2)
    parent = next(one for one in sink.transactions if "parent_id" not in one)
    child = next(one for one in sink.transactions if "parent_id" in one)
    assert parent["links"] == [{"trace_id": TRACE, "span_id": PARENT}]
    assert (child["trace_id"], child["parent_id"]) == (parent["trace_id"], parent["id"])
    assert "links" not in child
    assert {one[0].split("-")[1] for one in parents} == {parent["trace_id"]}
    assert (states, baggage) == ([["es=s:1"]] * 2, [["a=1"]] * 2)
