"""A tracer that is switched off: calls go straight through, and nothing more is reported."""

from __future__ import annotations

import pytest
from tests.engine import Engine, work_span

from apm_run.conventions import http_server


@pytest.fixture
def engine():
    return Engine()


def begin(engine):
    return http_server.begin(engine.tracer, None, "GET", "/", {}, user_agent="")


def test_recording_false_is_inactive():
    engine = Engine(recording="false")
    assert not engine.tracer.active
    assert begin(engine) is None


def test_entries_and_spans_pass_through(engine):
    engine.tracer.active = False
    described = []

    def describe(call):
        described.append(call)
        return work_span(call)

    assert engine.wrap(lambda: 1, describe=describe, entry=True)() == 1
    with engine.transaction() as transaction:
        assert engine.wrap(lambda: 2, describe=describe)() == 2
    assert described == []
    assert transaction.spans == []
    assert engine.sink.transactions == []


def test_what_was_running_is_not_reported(engine):
    transaction = engine.tracer.begin_transaction("before", "custom")
    span = engine.tracer.begin(work_span(None), transaction)
    late = engine.tracer.begin(work_span(None), transaction)
    engine.tracer.end(span)
    engine.tracer.active = False
    transaction.capture(ValueError("x"), handled=False)
    engine.tracer.end_transaction(transaction)
    engine.tracer.end(late)
    engine.tracer.capture(ValueError("x"), None, handled=False)
    assert transaction.errors == []
    assert (engine.sink.transactions, engine.sink.late, engine.sink.errors) == ([], [], [])


def test_targets_that_fail_too_often_are_named(engine, monkeypatch):
    from apm_run import guard

    monkeypatch.setattr(guard, "STRICT", False)

    def describe(call):
        raise ValueError("ours")

    wrapper = engine.wrap(lambda: None, describe=describe)
    with engine.transaction():
        for _ in range(6):
            wrapper()
    assert len(engine.tracer.switched_off) == 1
