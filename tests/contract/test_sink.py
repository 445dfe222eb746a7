"""The sink that all end-to-end tests lean on finds what is wrong."""

from __future__ import annotations

import pytest
from tests.local.traffic import NDJSON, ask, body, error, metadata, send, span, transaction
from tests.receiver import SCHEMAS, Sink


def test_it_collects():
    with Sink() as sink:
        root = transaction("GET /")
        child = span(root, context={"service": {"target": {"type": "sqlite"}}})
        answer = send(sink.receiver.port, metadata("shop"), root, child, error(child), {"log": {"message": "m"}})
        assert answer.status == 202
        assert sink.wait(lambda events: events.logs) == [{"message": "m"}]
        assert sink.transactions == [root["transaction"]]
        assert sink.spans == [child["span"]]
        assert len(sink.errors) == 1
        assert sink.metricsets == []
        assert sink.metadata[0] == (metadata("shop")["metadata"], root["transaction"])
        assert sink.tree() == "GET / [request] success\n  SELECT FROM items [db/sqlite] success"
        assert sink.tree("of another trace") == ""
        sink.wait_idle(0.05)


def test_it_gives_up_waiting():
    with Sink() as sink, pytest.raises(AssertionError, match="not received within"):
        sink.wait(lambda events: events.spans, timeout=0.05)


@pytest.mark.parametrize(
    "line",
    [
        body(transaction(id=5)),
        body({"tennis": {}}),
        # The server takes these; an agent must not send them.
        body(transaction()).rstrip() + b"`\n",
        body({**transaction(), "span": {}}),
        body(span(transaction())),
        pytest.param(
            body(transaction(context={"request": {}})),
            marks=pytest.mark.skipif(not SCHEMAS.exists(), reason="../shared/fixtures/schema is not here"),
        ),
    ],
    ids=["type", "kind", "trailer", "two roots", "exit", "schema"],
)
def test_it_fails_the_test_at_its_end(line):
    sink = Sink()
    ask(sink.receiver.port, "POST", "/intake/v2/events", body(metadata()) + line, NDJSON)
    with pytest.raises(AssertionError):
        sink.close()
