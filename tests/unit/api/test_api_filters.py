"""Filters of the program's: they change or drop events, and what they do wrong is logged (spec 26)."""

from __future__ import annotations

import json
import threading

import pytest
from tests.receiver import objections

import apm_run
from apm_run.conventions import wsgi


def lines(exporter):
    found = []
    for line in exporter.lines:
        ((kind, event),) = json.loads(line).items()
        assert objections(kind, event) == []
        found.append((kind, event.get("name") or event.get("log", {}).get("message")))
    return found


def work():
    with apm_run.start_transaction("t"):
        with apm_run.start_span("keep"):
            pass
        with apm_run.start_span("drop"):
            apm_run.capture_message("message")


def test_without_filters_nothing_is_called(engine, exporter):
    work()
    kinds = [("transaction", "t"), ("span", "keep"), ("span", "drop"), ("error", "message")]
    assert sorted(lines(exporter)) == sorted(kinds)
    assert exporter.dropped == []


def test_dropping(engine, exporter):
    function = apm_run.add_filter("span", lambda event: event if event["name"] == "keep" else None)
    assert function({"name": "x"}) is None
    work()
    assert sorted(lines(exporter)) == [("error", "message"), ("span", "keep"), ("transaction", "t")]
    assert exporter.dropped == ["filter"]


@pytest.mark.parametrize("kind", ["transaction", "span", "error", "metricset"])
def test_each_kind(engine, exporter, kind):
    seen = []
    apm_run.add_filter(kind, seen.append)  # which returns None
    work()
    engine.tracer.collect()
    kept = {name for name, _ in lines(exporter)}
    assert kept == {"transaction", "span", "error", "metricset"} - {kind}
    assert exporter.dropped == ["filter"] * len(seen)
    assert seen


def test_late_spans_and_errors_outside_pass_them_too(engine, exporter):
    apm_run.add_filter("span", lambda event: None)
    apm_run.add_filter("error", lambda event: None)
    transaction = apm_run.start_transaction("t").begin()
    span = apm_run.start_span("s").begin()
    transaction.end()
    span.end()
    apm_run.capture_message("outside")
    assert lines(exporter) == [("transaction", "t")]
    assert exporter.dropped == ["filter", "filter"]


def test_changing(engine, exporter):
    def rename(event):
        event["name"] = "new"
        return event

    def copied(event):
        return {"context": {"tags": {"seen": event["name"], "long": "x" * 3000}}, **event}

    apm_run.add_filter("transaction", rename)
    apm_run.add_filter("transaction", copied)
    with apm_run.start_transaction("t"):
        pass
    ((kind, event),) = json.loads(exporter.lines[0]).items()
    assert (kind, event["name"]) == ("transaction", "new")
    assert next(iter(event)) == "id"


def test_texts_that_have_become_too_long_are_cut(engine, exporter):
    def long(event):
        event["name"] = "x" * 3000
        event["context"]["tags"] = {"a": "y" * 3000, "b": [1]}
        event["context"]["user"] = {"id": 5.5, "email": 3}
        event["links"] = [{"trace_id": 5, "span_id": "z" * 3000}]
        event["marks"] = {"a": {"b": 1}}
        return event

    apm_run.add_filter("transaction", long)
    work()
    (event,) = [json.loads(line)["transaction"] for line in exporter.lines if b'{"transaction"' in line]
    assert objections("transaction", event) == []
    assert len(event["name"]) == len(event["context"]["tags"]["a"]) == 1024
    assert event["context"]["user"] == {"id": "5.5", "email": "3"}


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"duration": "long"}, "'duration': expects a number, found a string"),
        ({"trace_id": None}, "'trace_id' required"),
        ({"timestamp": 1.5}, "'timestamp'"),
        ({"context": {"request": {"headers": {"a": 1}}}}, "'a'"),
        ({"sample_rate": float("nan")}, "'sample_rate'"),
        ({"sampled": 10**5000}, "'sampled'"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else value,
)
def test_what_the_server_would_refuse_is_logged_and_left_out(engine, exporter, misuses, change, objection):
    """Spec 2: the server refuses the event; the log is where the user can see why."""
    apm_run.add_filter("transaction", lambda event: {**event, **change})
    work()
    assert sorted(kind for kind, _ in lines(exporter)) == ["error", "span", "span"]
    assert exporter.dropped == ["filter"]
    (message,) = misuses
    assert message.startswith("warning filter.failed transaction: is left out as a filter has left it: ")
    assert objection in message


def test_one_filter_s_change_is_not_seen_in_another_event(engine, exporter):
    """Errors share the context of their transaction."""

    def without_user(event):
        event["context"]["user"].clear()
        return event

    apm_run.add_filter("transaction", without_user)
    with apm_run.start_transaction("t") as transaction:
        transaction.set_user("42")
        apm_run.capture_message("message")
    by_kind = {kind: event for line in exporter.lines for kind, event in json.loads(line).items()}
    assert by_kind["transaction"]["context"]["user"] == {}
    assert by_kind["error"]["context"]["user"] == {"id": "42"}


def test_what_is_shown_of_a_request_is_a_filter_s_own_too(engine, exporter):
    """Whatever it takes out of one error, the next one has it."""

    def without_headers(event):
        if event["log"]["message"] == "first":
            event["context"]["request"]["headers"].clear()
            event["context"]["request"].pop("url")
        return event

    apm_run.add_filter("error", without_headers)
    application = wsgi.application(engine.tracer, answering, None)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a", "HTTP_X_PLAIN": "b"}
    application(environ, lambda status, headers: None)
    first, second = (json.loads(line)["error"]["context"]["request"] for line in exporter.lines if b'"error"' in line)
    assert (first["headers"], "url" in first) == ({}, False)
    assert second["headers"] == {"host": "a", "x-plain": "b"}
    assert second["url"]["full"] == "http://a/"


def answering(environ, start_response):
    apm_run.capture_message("first")
    apm_run.capture_message("second")
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_filter_that_raises_is_logged_and_the_event_kept(engine, exporter, misuses, error):
    def broken(event):
        raise error("secret")

    apm_run.add_filter("transaction", broken)
    apm_run.add_filter("transaction", lambda event: "no event")
    apm_run.add_filter("transaction", lambda event: {**event, "result": "seen"})
    with apm_run.start_transaction("t"):
        pass
    assert json.loads(exporter.lines[0])["transaction"]["result"] == "seen"
    assert misuses[0].startswith("warning filter.failed transaction: test_a_filter")
    assert misuses[0].endswith(f"broken has raised {error.__name__}")
    assert misuses[1].endswith("<lambda> has returned a str")


def test_keyboard_interrupt_is_the_program_s(engine, exporter):
    def interrupted(event):
        raise KeyboardInterrupt

    apm_run.add_filter("transaction", interrupted)
    with pytest.raises(KeyboardInterrupt), apm_run.start_transaction("t"):
        pass


def test_a_long_transaction_s_open_record_is_filtered(engine, exporter):
    """A crash would report it as it is there."""
    seen = []

    def without_user(event):
        seen.append((event["outcome"], event["duration"] > 1000))
        event["context"].pop("user", None)
        return None if event["name"] == "drop" else event

    apm_run.add_filter("transaction", without_user)
    with apm_run.start_transaction("t") as transaction:
        transaction.set_user("42")
        engine.clock.advance(1500)
        engine.tracer.look()
        ((id, end, line),) = exporter.opened
        event = json.loads(line + end)["transaction"]
        assert objections("transaction", event) == []
        assert (id, event["id"]) == (transaction.id, transaction.id)
        assert "user" not in event["context"]
        transaction.name = "drop"
        engine.clock.advance(5000)
        engine.tracer.look()
        assert exporter.taken_back == [id]
    assert exporter.taken_back == [id, id]
    assert seen == [("failure", True), ("failure", True), ("success", True)]
    assert lines(exporter) == []
    assert exporter.dropped == ["filter"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_held_span_s_open_record_is_filtered(engine, exporter, kept):
    apm_run.add_filter("span", lambda event: {**event, "name": "new"} if kept else None)
    transaction = apm_run.start_transaction("t").begin()
    span = apm_run.start_span("s", exit=True).begin()
    span.end()
    engine.tracer.sink.hold(span._item)
    span._item.held = True
    if kept:
        ((_id, end, line),) = exporter.opened
        assert json.loads(line + end)["span"]["name"] == "new"
        assert exporter.taken_back == []
    else:
        assert (exporter.opened, exporter.taken_back) == ([], [span.id])
    transaction.end()
    assert (span.id in exporter.taken_back[1:]) is not kept
    assert exporter.dropped == ([] if kept else ["filter"])


def test_they_may_be_added_while_events_pass(engine, exporter):
    stop = threading.Event()

    def add():
        while not stop.is_set():
            apm_run.add_filter("transaction", lambda event: event)
            if len(engine.agent.filters["transaction"]) > 300:
                break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with apm_run.start_transaction("t"):
            pass
    stop.set()
    for thread in threads:
        thread.join()
    assert len(exporter.lines) == 50


def test_they_are_called_in_the_order_in_which_they_were_added(engine, exporter):
    called = []
    for number in range(3):
        apm_run.add_filter("span", lambda event, number=number: called.append(number) or event)
    with apm_run.start_transaction("t"), apm_run.start_span("s"):
        pass
    assert called == [0, 1, 2]
