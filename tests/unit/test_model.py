"""A call as the functions of an instrumentation see it, and what they say of it."""

from __future__ import annotations

import pytest

from apm_run.model import Call, SpanDraft


def function(*args, **kwargs):
    return args, kwargs


def test_arguments():
    call = Call(function, ("self", 1), {"two": 2})
    assert call.function is function
    assert call.instance == "self"
    assert call.argument(0, "self") == "self"
    assert call.argument(1, "one") == 1
    assert call.argument(2, "two") == 2
    assert call.argument(3, "three") is None
    assert call.argument(3, "three", "default") == "default"


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((0, 1, 2), {}, ((0, "new", 2), {})),
        ((0, 1), {"a": 1}, ((0, "new"), {"a": 1})),
        ((0,), {"one": 1, "a": 1}, ((0,), {"one": "new", "a": 1})),
        ((0,), {}, ((0,), {"one": "new"})),
        ((), {}, ((), {"one": "new"})),
    ],
)
def test_replaced(args, kwargs, expected):
    before = dict(kwargs)
    call = Call(function, args, kwargs)
    found = call.replaced(1, "one", "new")
    assert found == expected
    assert function(*found[0], **found[1]) == expected
    assert (call.args, call.kwargs) == (args, before)
    assert found[1] is not kwargs


def test_draft_is_an_exit_span_unless_it_says_otherwise():
    draft = SpanDraft("name", "db", "sqlite", "query", db={"type": "sql"}, address="host", port=1)
    assert (draft.name, draft.type, draft.subtype, draft.action) == ("name", "db", "sqlite", "query")
    assert (draft.exit, draft.db, draft.http, draft.address, draft.port) == (True, {"type": "sql"}, None, "host", 1)
    assert (draft.context, draft.outcome, draft.target_type, draft.target_name) == (None, None, None, None)
    assert SpanDraft("name", "app", exit=False).exit is False


def test_nothing_else_can_be_said():
    for made in (SpanDraft("name", "db"), Call(function, (), {})):
        with pytest.raises(AttributeError):
            made.anything = 1
