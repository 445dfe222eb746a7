"""Names of transactions: grouped, capped, ignored (spec 22; spec 4.2, transactions_ignore_patterns)."""

from __future__ import annotations

import pytest
from tests.engine import Engine

from apm_run import log
from apm_run.config.wildcard import Matcher
from apm_run.tracer import names


def test_the_first_group_that_matches_names_it():
    """Spec 22: first match wins; the transaction name becomes the pattern text."""
    engine = Engine(transaction_name_groups="GET /a/*/b, GET /a/*")
    for name in ("GET /a/1/b", "get /A/2/b", "GET /a/1", "GET /c"):
        with engine.transaction() as transaction:
            transaction.name = name
    assert [t.name for t, _ in engine.sink.transactions] == ["GET /a/*/b", "GET /a/*/b", "GET /a/*", "GET /c"]


def test_errors_copy_the_grouped_name():
    """Spec 22: before errors copy the name."""
    engine = Engine(transaction_name_groups="/user/*")
    with engine.transaction() as transaction:
        transaction.name = "/user/7"
        transaction.capture(ValueError(), handled=True)
    assert engine.sink.transactions[0][0].errors[0]["transaction"]["name"] == "/user/*"


def test_names_are_bounded_and_that_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(log, "write", lambda *args: said.append(args[:2]))
    found = names.Names()
    shown = {found.shown(f"GET /{number}", ()) for number in range(3 * names.MOST)}
    assert len(shown) == names.MOST + 1
    assert "_other" in shown
    assert found.shown("GET /1", ()) == "GET /1"
    assert said == [("warning", "name.many")]


def test_names_of_groups_have_room_for_ever():
    found = names.Names()
    groups = (Matcher("GET /user/*"),)
    assert {found.shown(f"GET /user/{number}", groups) for number in range(3 * names.MOST)} == {"GET /user/*"}
    assert found.shown("POST /x", groups) == "POST /x"


def test_another_setting_counts_at_once():
    found = names.Names()
    assert found.shown("a1", ()) == "a1"
    assert found.shown("a1", (Matcher("a*"),)) == "a*"
    assert found.shown("a1", ()) == "a1"


def test_a_name_of_another_type_is_left_to_the_encoding():
    engine = Engine(transactions_ignore_patterns="a")
    with engine.transaction() as transaction:
        transaction.name = {"a": 1}
    assert engine.sink.transactions[0][0].name == {"a": 1}


@pytest.mark.parametrize("recording", ["true", "false"])
def test_transactions_ignore_patterns_see_the_final_name(recording):
    engine = Engine(transactions_ignore_patterns="^GET /internal, b$")
    engine.tracer.active = recording == "true"
    for name in ("GET /internal/1", "GET /a", "ab"):
        with engine.transaction() as transaction:
            transaction.capture(ValueError(name), handled=True)
            transaction.name = name
    expected = ["GET /a", "ab"] if engine.tracer.active else []
    assert [t.name for t, _ in engine.sink.transactions] == expected
    errors = engine.sink.errors
    assert [e["exception"]["message"] for e in errors] == (["GET /internal/1"] if engine.tracer.active else [])
    for error in errors:
        assert not error.keys() & {"trace_id", "transaction_id", "parent_id", "transaction"}
