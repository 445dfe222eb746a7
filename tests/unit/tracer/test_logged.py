"""What the program logs, and where an error belongs (spec 8, 12)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys

import pytest
from tests.engine import Engine, running
from tests.receiver import objections

from apm_run.intake import encode
from apm_run.model import SpanDraft, TransactionDraft
from apm_run.tracer import current


def record(msg="paid %s", args=(5,), level=logging.ERROR, **more):
    made = logging.LogRecord("shop", level, "x.py", 1, msg, args, None)
    made.__dict__.update(more)
    return made


def told(engine, error=None, record=None, scene=None):
    engine.tracer.told(error, record, scene)


def events(engine, transaction=None):
    found = engine.sink.errors if transaction is None else transaction.errors
    for event in found:
        encoded = encode.error(event)
        assert not objections("error", encoded), objections("error", encoded)
        assert len(encode.error_line(event)) < 307_200
    return found


def test_what_a_record_becomes():
    """Spec 8: log {message, param_message = the unformatted template, level, logger_name, stacktrace}."""
    engine = Engine()
    told(engine, record=record(), scene=sys._getframe())
    (event,) = events(engine)
    stacktrace = event["log"].pop("stacktrace")
    assert event["log"] == {
        "message": "paid 5",
        "param_message": "paid %s",
        "level": "error",
        "logger_name": "shop",
    }
    assert stacktrace[0]["function"] == "test_what_a_record_becomes"
    assert event["culprit"] == f"{__name__}.test_what_a_record_becomes"
    assert "exception" not in event


def test_a_logged_number_that_python_refuses_to_write_out():
    engine = Engine()
    told(engine, record=record(10**5000, None))
    (event,) = events(engine)
    assert event["log"]["message"] == "<int of 16610 bits>"


def test_a_record_with_an_exception():
    """Its stack is that of the exception, which the program has dealt with."""
    engine = Engine()
    told(engine, ValueError("x"), record(), sys._getframe())
    (event,) = events(engine)
    assert "stacktrace" not in event["log"]
    assert event["exception"]["handled"] is True
    told(engine, ValueError("x"), record(), None)
    assert len(events(engine)) == 2


@pytest.mark.parametrize("options", [{"auto_log_stacks": "false"}, {"stack_trace_limit": "0"}])
def test_without_a_stack(options):
    """Spec 4.2: auto_log_stacks."""
    engine = Engine(**options)
    told(engine, record=record(), scene=sys._getframe())
    (event,) = events(engine)
    assert "stacktrace" not in event["log"]
    assert "culprit" not in event


class Odd:
    def __str__(self):
        raise AssertionError("the program's code has run")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("made", "message", "template"),
    [
        (lambda: record(message="as its handler says"), "as its handler says", "paid %s"),
        (lambda: record("plain", ()), "plain", "plain"),
        (lambda: record("paid %s", (Odd(),)), "paid %s", "paid %s"),
        (lambda: record("too many", (1, 2)), "too many", "too many"),
        (lambda: record("%(a)s", ({"a": 1},)), "1", "%(a)s"),
        (lambda: record(ValueError("mine"), ()), "mine", "mine"),
        (lambda: record(Odd(), (1,)), f"<{__name__}.Odd>", f"<{__name__}.Odd>"),
        (lambda: record(5, ()), "5", "5"),
        (lambda: record("at https://u:gem@h/?token=gem", ()), "at https://h/?token=[REDACTED]",
         "at https://h/?token=[REDACTED]"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)  # fmt: skip
def test_messages(made, message, template):
    """Nothing of the program's is formatted that its own handlers have not."""
    engine = Engine()
    told(engine, record=made())
    (event,) = events(engine)
    assert (event["log"]["message"], event["log"]["param_message"]) == (message, template)


def test_huge_and_odd_records_are_valid():
    engine = Engine()
    told(engine, record=record("x" * 10**6, ()))
    told(engine, record=record(levelname=5, name=None))
    huge, odd = events(engine)
    assert len(encode.error(huge)["log"]["message"]) == 10_000
    assert len(encode.error(huge)["log"]["param_message"]) == 1024
    assert set(odd["log"]) == {"message", "param_message"}


def test_a_record_outside_and_inside():
    """Spec 8: all three ids or none; parent_id is the span or transaction active at capture."""
    engine = Engine()
    told(engine, record=record())
    assert not {"trace_id", "transaction_id", "parent_id"} & set(events(engine)[0])
    with engine.transaction() as transaction:
        told(engine, record=record())
        span = engine.tracer.begin(SpanDraft("work", "app", exit=False), transaction)
        with running(span):
            told(engine, record=record())
        engine.tracer.end(span)
    first, second = events(engine, transaction)
    assert (first["parent_id"], second["parent_id"]) == (transaction.id, span.id)
    assert first["trace_id"] == second["trace_id"] == transaction.trace_id
    assert transaction.outcome == span.outcome == "failure"  # spec 12: reported error


def test_the_program_s_own_transaction():
    engine = Engine()
    engine.tracer.begin_ambient("program", engine.clock.now, 1, None)
    ambient = engine.tracer.ambient
    told(engine, record=record())
    assert events(engine, ambient)[0]["transaction_id"] == ambient.id


def test_the_outcome_of_a_span_with_a_status_stays():
    """Spec 12: protocol status before reported error."""
    engine = Engine()
    with engine.transaction() as transaction:
        draft = SpanDraft("work", "external")
        span = engine.tracer.begin(draft, transaction)
        with running(span):
            told(engine, record=record())
        draft.outcome = "success"
        engine.tracer.end(span)
        draft = SpanDraft("work", "external")
        draft.outcome = "success"
        span = engine.tracer.begin(draft, transaction)
        with running(span):
            told(engine, record=record())
        engine.tracer.end(span)
    assert [span.outcome for span in engine.sink.spans(transaction)] == ["success", "success"]


def test_parents_that_are_not_reported():
    """A span over the limit is nobody's parent; one that has ended or another transaction's is not active."""
    engine = Engine(transaction_max_spans="1")
    other = engine.begin("other")
    with engine.transaction() as transaction:
        ended = engine.tracer.begin(SpanDraft("work", "app", exit=False), transaction)
        engine.tracer.end(ended)
        over = engine.tracer.begin(SpanDraft("work", "app", exit=False), transaction)
        for each in (ended, over, other):
            with running(each):
                transaction.capture(ValueError(each.id), handled=True)
    assert {event["parent_id"] for event in transaction.errors} == {transaction.id}


def test_the_context_of_the_span_goes_along():
    """Spec 8: also copy the span's context into error.context."""
    engine = Engine()
    with engine.transaction() as transaction:
        transaction.context.update(request={"method": "GET"}, tags={"a": 1, "b": 1})
        draft = SpanDraft("work", "messaging", exit=False)
        draft.context = {"tags": {"b": 2}, "message": {"queue": {"name": "q"}}, "other": 1}
        with running(engine.tracer.begin(draft, transaction)):
            told(engine, ValueError("x"))
        draft.context = {"message": {"queue": {"name": "q"}}}
        transaction.context.pop("tags")
        with running(engine.tracer.begin(draft, transaction)):
            told(engine, ValueError("y"))
    first, second = events(engine, transaction)
    assert first["context"] == {
        "request": {"method": "GET"},
        "tags": {"a": 1, "b": 2},
        "message": {"queue": {"name": "q"}},
    }
    assert second["context"] == {"request": {"method": "GET"}, "message": {"queue": {"name": "q"}}}


def test_the_context_that_a_task_or_callback_ran_in():
    engine = Engine()
    transaction = engine.begin()
    context = contextvars.copy_context()
    context.run(current.set, transaction)
    told(engine, ValueError("x"), scene=context)
    told(engine, ValueError("y"), scene=contextvars.Context())
    assert [event["exception"]["message"] for event in transaction.errors] == ["x"]
    assert [event["exception"]["handled"] for event in transaction.errors] == [False]
    assert [event["exception"]["message"] for event in engine.sink.errors] == ["y"]


@pytest.mark.parametrize(
    ("names", "dropped"),
    [
        ("builtins.ValueError", True),
        ("ValueError", True),
        ("builtins.KeyError, builtins.Value*", True),
        ("builtins.Exception", False),
        ("shop.ValueError", False),
    ],
)
def test_filtered_types(names, dropped):
    """Spec 4.2, filter_exception_types: no event, and the outcome as it is."""
    engine = Engine(filter_exception_types=names)
    with engine.transaction() as transaction:
        transaction.capture(ValueError("x"), handled=False)
        told(engine, KeyError("y") if "KeyError" not in names else ValueError("z"), record())
    assert [event["exception"]["type"] for event in events(engine, transaction)] == (
        ["ValueError", "KeyError"] if not dropped else ["KeyError"] * ("KeyError" not in names)
    )
    assert transaction.outcome == "failure"


def test_filtered_types_of_the_programs():
    class Mine(Exception):
        pass

    engine = Engine(filter_exception_types=f"{__name__}.Mine")
    transaction = engine.begin()
    transaction.capture(Mine(), handled=False)
    Mine.__module__ = "builtins"
    transaction.capture(Mine(), handled=False)
    assert [event["exception"]["module"] for event in transaction.errors] == ["builtins"]


def test_what_is_ignored_is_reported_outside():
    engine = Engine()
    transaction = engine.begin()
    transaction.ignore()
    with running(transaction):
        told(engine, record=record())
    assert "transaction_id" not in events(engine)[0]


def test_huge_logged_errors_lose_the_least_first():
    """Spec 2: no event is over the server's limit."""
    engine = Engine()

    def deep(depth, filler="x" * 200):
        values = [filler] * 10
        if depth:
            deep(depth - 1)
        else:
            told(engine, ValueError("x"), record(values and "m"), sys._getframe())
            told(engine, None, record("m"), sys._getframe())

    def fill(event):
        for key in ("exception", "log"):
            for frame in event.get(key, {}).get("stacktrace", ()):
                frame["vars"] = {str(number): "x" * 200 for number in range(100)}

    deep(60)
    for event in engine.sink.errors:
        fill(event)
    first, second = events(engine)
    for event, key in ((first, "log"), (second, "log")):
        line = encode.error_line(event)
        assert b'"vars"' not in line
        assert b'"message":"m"' in line, key
    for frame in second["log"]["stacktrace"]:
        frame["pre_context"] = ["x" * 10_000]
    assert b'"pre_context"' not in encode.error_line(second)
    for frame in second["log"]["stacktrace"]:
        frame["abs_path"] = "x" * 10_000
    line = encode.error_line(second)
    assert b'"stacktrace":[]' in line
    assert not objections("error", __import__("json").loads(line)["error"])


def test_cancelled_is_no_failure():
    """A cancelled call of an entry is neither a failure nor an error."""
    engine = Engine()

    async def work():
        raise asyncio.CancelledError

    wrapped = engine.wrap(work, lambda call: TransactionDraft("work", "job"), entry=True)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wrapped())
    ((transaction, _),) = engine.sink.transactions
    assert transaction.outcome != "failure"
    assert transaction.errors == engine.sink.errors == []


def test_an_entry_that_has_reported_an_error_has_failed():
    """Spec 12: no status: failure if an error was reported."""
    engine = Engine()
    wrapped = engine.wrap(
        lambda: told(engine, record=record()), lambda call: TransactionDraft("work", "job"), entry=True
    )
    wrapped()
    ((transaction, _),) = engine.sink.transactions
    assert transaction.outcome == "failure"
