"""Each error once (spec 8), however many layers report it, and no other is taken for it."""

from __future__ import annotations

import copy
import pickle

import pytest
from tests.engine import Engine

from apm_run.tracer.known import Known


class Mine(Exception):
    pass


class Slotted(Exception):
    __slots__ = ()


class BaseExceptionGroup(Exception):
    """As Python 3.11's; the package that stands in for it calls it so too."""

    def __init__(self, message, exceptions):
        super().__init__(message, exceptions)
        self.exceptions = exceptions


MAKERS = [
    Mine,
    Slotted,
    ValueError,
    AssertionError,
    lambda: ValueError("text"),
    lambda: ValueError("x" * 5000),
    lambda: KeyError({}),
    lambda: RuntimeError(ValueError()),
    lambda: OSError(2, "gone"),
    lambda: Mine(object()),
]


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_exception_is_known(make):
    known = Known()
    error, other = make(), make()
    assert known.find(error) is None
    known.add(error, "id")
    assert known.find(error) == "id"
    assert known.find(other) is None


@pytest.mark.parametrize("make", MAKERS)
def test_one_at_the_same_address_is_another_one(make):
    """In a loop the next exception comes to lie where the last one was."""
    known = Known()
    addresses = set()
    for number in range(50):
        error = make()
        assert known.find(error) is None, number
        known.add(error, str(number))
        addresses.add(id(error))
        del error
    assert len(addresses) < 50


@pytest.mark.parametrize("make", MAKERS)
def test_what_it_leaves_on_an_exception_says_nothing(make):
    """Promise 1: exceptions, their copies and pickles are as bare."""
    known = Known()
    error = make()
    expected = dict(vars(error))
    known.add(error, "id")
    assert vars(error) == expected
    assert repr(vars(error)) == repr(expected)
    error.more = 1
    assert vars(copy.copy(error)) == {**expected, "more": 1}
    try:
        text = pickle.dumps(error)
    except (pickle.PicklingError, TypeError):
        return
    assert b"apm_run" not in text
    assert vars(pickle.loads(text)) == {**expected, "more": 1}


def test_attributes_of_an_exception_stay():
    known = Known()
    error = ValueError()
    error.code = 5
    known.add(error, "id")
    assert error.code == 5
    error.code = 6
    assert known.find(error) == "id"


def test_few_are_remembered():
    known = Known()
    errors = [ValueError(number) for number in range(1000)]
    for number, error in enumerate(errors):
        known.add(error, str(number))
    assert known.find(errors[-1]) == "999"
    assert known.find(errors[0]) is None
    assert len(known._marks) == 256


def test_a_group_of_one_is_its_member():
    known = Known()
    error = ValueError("x")
    known.add(error, "id")
    one = BaseExceptionGroup("one", (BaseExceptionGroup("one", (error,)),))
    assert known.find(one) == "id"
    assert known.find(BaseExceptionGroup("two", (error, ValueError("y")))) is None
    endless = BaseExceptionGroup("endless", ())
    endless.exceptions = (endless,)
    assert known.find(endless) is None


def messages(events):
    return [event["exception"]["message"] for event in events]


def test_an_exception_is_an_error_once_across_transactions():
    """Spec 8: also where a child task or thread, or what serves it after the request, reports it again."""
    engine = Engine()
    first, second = engine.begin("first"), engine.begin("second")
    error = ValueError("x")
    first.capture(error, handled=False)
    second.capture(error, handled=False)
    engine.tracer.end_transaction(first)
    engine.tracer.capture(error, None, handled=False)
    assert (messages(first.errors), messages(second.errors), engine.sink.errors) == (["x"], [], [])


def test_one_raised_from_another_is_a_new_one():
    engine = Engine()
    transaction = engine.begin()
    error = ValueError("x")
    transaction.capture(error, handled=True)
    try:
        try:
            raise error
        except ValueError as cause:
            raise KeyError("y") from cause
    except KeyError as wrapped:
        transaction.capture(wrapped, handled=False)
    assert messages(transaction.errors) == ["x", "'y'"]
    assert transaction.errors[1]["exception"]["cause"][0]["message"] == "x"


def test_two_in_turn_are_reported_once_each():
    engine = Engine()
    transaction = engine.begin()
    one, two = ValueError("one"), ValueError("two")
    for error in (one, two, one, two):
        transaction.capture(error, handled=False)
    assert messages(transaction.errors) == ["one", "two"]


def test_what_was_handled_and_has_gone_on_is_unhandled():
    """Spec 8, ``handled``: logged and raised again, it leaves the program's hands."""
    engine = Engine()
    transaction = engine.begin()
    transaction.capture(ValueError("other"), handled=True)
    error = ValueError("x")
    error.__cause__ = ValueError("cause")
    transaction.capture(error, handled=True)
    transaction.capture(error, handled=True)
    assert [event["exception"]["handled"] for event in transaction.errors] == [True, True]
    transaction.capture(error, handled=False)
    assert [event["exception"]["handled"] for event in transaction.errors] == [True, False]
    assert transaction.errors[1]["exception"]["cause"][0]["handled"] is False
