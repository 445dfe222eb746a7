"""From an exception to the facts of an error: what it is, what caused it, once."""

from __future__ import annotations

import sys
import time

import pytest
from tests.engine import WALL, Engine, settings

from apm_run.tracer import errors
from apm_run.tracer.tracer import WAITING_ERRORS


def facts(error, limit=50, handled=False, **options):
    return errors.Errors(settings(stack_trace_limit=limit, **options)).facts(error, handled)


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def tree(found):
    """Types of an exception and its causes."""
    return (found["message"], [tree(cause) for cause in found.get("cause", ())])


def chain(error):
    return tree(facts(error)["exception"])


def test_what_is_said_of_an_exception():
    found = facts(raised(LookupError("mine")), handled=True)
    exception = found["exception"]
    frame = exception["stacktrace"][0]
    assert found["culprit"] == f"{__name__}.raised"
    assert {key: value for key, value in exception.items() if key != "stacktrace"} == {
        "type": "LookupError",
        "module": "builtins",
        "message": "mine",
        "handled": True,
    }
    assert frame["function"] == "raised"
    assert frame["context_line"].strip() == "raise error"
    assert len(frame["pre_context"]) == len(frame["post_context"]) == 2


def test_never_raised():
    found = facts(ValueError("mine"))
    assert found["culprit"] is None
    assert found["exception"]["stacktrace"] == []


def test_types_have_qualified_names_and_modules():
    class Mine(Exception):
        pass

    exception = facts(Mine())["exception"]
    assert exception["type"] == "Mine"
    assert exception["module"] == __name__


def test_causes():
    context, cause = ValueError("context"), ValueError("cause")
    one = LookupError("one")
    one.__context__ = context
    assert chain(one) == ("one", [("context", [])])
    one.__cause__ = cause
    assert chain(one) == ("one", [("cause", [])])
    one.__cause__ = None
    assert one.__suppress_context__
    assert chain(one) == ("one", [])


def test_frames_of_causes():
    try:
        try:
            raise ValueError("first")
        except ValueError as first:
            raise LookupError("second") from first
    except LookupError as second:
        (cause,) = facts(second)["exception"]["cause"]
    assert cause["stacktrace"][0]["context_line"].strip() == 'raise ValueError("first")'


def test_cycles():
    first, second, third = (ValueError(name) for name in ("first", "second", "third"))
    first.__cause__, second.__cause__, third.__cause__ = second, third, first
    assert chain(first) == ("first", [("second", [("third", [])])])
    lonely = ValueError("lonely")
    lonely.__cause__ = lonely
    assert chain(lonely) == ("lonely", [])


def test_depth_is_bounded():
    error = ValueError("0")
    for number in range(1, 1000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    found, depth = facts(error)["exception"], 0
    while found.get("cause"):
        (found,) = found["cause"]
        depth += 1
    assert depth == 10


class BaseExceptionGroup(Exception):
    """As ExceptionGroup, which Python 3.11 brought, and its stand-in for older ones."""

    def __init__(self, message, exceptions):
        super().__init__(message)
        self.exceptions = exceptions


Group = BaseExceptionGroup


def test_members_of_groups_are_causes():
    inner = Group("inner", (ValueError("c"), ValueError("d")))
    group = Group("outer", (ValueError("a"), inner, "no exception"))
    group.__cause__ = ValueError("cause")
    assert chain(group) == ("outer", [("a", []), ("inner", [("c", []), ("d", [])]), ("cause", [])])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_exception_groups():
    group = eval("ExceptionGroup('group', [ValueError('a'), TypeError('b')])")
    assert chain(group) == ("group (2 sub-exceptions)", [("a", []), ("b", [])])


def test_the_whole_tree_is_bounded():
    wide = Group("wide", tuple(ValueError(str(number)) for number in range(1000)))
    assert len(facts(wide)["exception"]["cause"]) == 49
    deep = ValueError("leaf")
    for _ in range(6):
        deep = Group("group", (deep, *(ValueError("x") for _ in range(20))))
    deep = Group("top", (deep, Group("second", (ValueError("y"),) * 5)))

    def count(found):
        return 1 + sum(count(cause) for cause in found.get("cause", ()))

    assert count(facts(deep)["exception"]) <= 60


@pytest.mark.parametrize("members", [None, "text", 5, {}])
def test_attributes_that_only_look_like_a_group(members):
    assert chain(Group("mine", members)) == ("mine", [])


def test_properties_that_raise():
    class Mine(Group):
        @property
        def exceptions(self):
            raise LookupError

        @exceptions.setter
        def exceptions(self, found):
            pass

    assert chain(Mine("mine", ())) == ("mine", [])


def test_what_can_not_be_printed():
    class Mine(Exception):
        def __str__(self):
            raise LookupError("no words")

    class Odd(Exception):
        def __str__(self):
            return 5  # noqa: PLE0307

    assert facts(Mine())["exception"]["message"] == "<unprintable Mine object>"
    assert facts(Odd())["exception"]["message"] == "<unprintable Odd object>"
    assert facts(ValueError("\ud800\0\x1b"))["exception"]["message"] == "\ud800\0\x1b"
    assert facts(ValueError(b"bytes", 5))["exception"]["message"] == "(b'bytes', 5)"


def recursion(depth):
    if depth == 0:
        raise RecursionError("deep")
    recursion(depth - 1)


@pytest.fixture
def deep():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        recursion(10_000)
    except RecursionError as error:
        yield error
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("limit", [0, 1, 50, 2000])
def test_huge_tracebacks_are_bounded(deep, limit):
    started = time.perf_counter()
    frames = facts(deep, limit=limit)["exception"]["stacktrace"]
    assert time.perf_counter() - started < 1
    assert len(frames) == limit
    assert {frame["function"] for frame in frames} <= {"recursion"}
    if limit:
        assert frames[0]["context_line"].strip() == 'raise RecursionError("deep")'


def test_huge_tracebacks_in_whole(deep):
    frames = facts(deep, limit=-1)["exception"]["stacktrace"]
    assert len(frames) == 10_002
    assert frames[-1]["function"] == "deep"


def test_an_error_of_a_transaction_waits_for_its_end():
    engine = Engine()
    transaction = engine.begin("name")
    error = raised(ValueError("mine"))
    transaction.capture(error, handled=False)
    transaction.context["request"] = {"method": "GET"}
    assert engine.sink.errors == []
    engine.tracer.end_transaction(transaction)
    (event,) = transaction.errors
    assert len(event["id"]) == 32
    assert event["timestamp"] >= WALL // 1000
    assert (event["trace_id"], event["transaction_id"], event["parent_id"]) == (
        transaction.trace_id,
        transaction.id,
        transaction.id,
    )
    assert event["transaction"] == {"sampled": True, "name": "name", "type": "test"}
    assert event["context"] == {"request": {"method": "GET"}}


def test_the_same_exception_is_an_error_once():
    engine = Engine()
    transaction = engine.begin()
    first, second = ValueError("first"), ValueError("second")
    for error in (first, first, second, second):
        transaction.capture(error, handled=False)
    assert [event["exception"]["message"] for event in transaction.errors] == ["first", "second"]


def test_an_error_after_the_end_of_its_transaction():
    engine = Engine()
    transaction = engine.begin()
    engine.tracer.end_transaction(transaction)
    transaction.capture(ValueError("late"), handled=False)
    assert [event["exception"]["message"] for event in engine.sink.errors] == ["late"]
    assert engine.sink.errors[0]["transaction_id"] == transaction.id


def test_an_error_outside_of_transactions():
    engine = Engine()
    engine.tracer.capture(ValueError("mine"), None, True)
    (event,) = engine.sink.errors
    assert event["timestamp"] == WALL // 1000
    assert not {"trace_id", "transaction_id", "parent_id", "transaction", "context"} & set(event)


def test_errors_of_a_program_that_goes_on_failing_do_not_pile_up():
    engine = Engine()
    transaction = engine.begin()
    for number in range(WAITING_ERRORS + 25):
        transaction.capture(ValueError(number), handled=True)
    assert len(transaction.errors) == WAITING_ERRORS
    assert len(engine.sink.errors) == 25


def test_an_error_captured_while_the_transaction_ends():
    """The end comes between the look at it and the adding: who sees the other's doing sends it."""
    for taken in (True, False):
        engine = Engine()
        transaction = engine.begin()

        class Ending(list):
            def append(self, event, engine=engine, transaction=transaction, taken=taken):
                if taken:
                    super().append(event)
                engine.tracer.end_transaction(transaction)
                if not taken:
                    super().append(event)

        transaction.errors = Ending()
        transaction.capture(ValueError("mine"), handled=True)
        waiting = [event["exception"]["message"] for event in transaction.errors]
        sent = [event["exception"]["message"] for event in engine.sink.errors]
        assert (waiting, sent) == ((["mine"], []) if taken else ([], ["mine"]))
