"""Local variables of frames (spec 9): whose, when, and that nothing is kept by showing them."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
from tests.engine import Engine, settings

from apm_run.model import SpanDraft
from apm_run.tracer import errors, stack


class Thing:
    """What a weak reference can be had of."""


def fall(thing, password="gem"):
    number = 5
    raise ValueError(number)


def fallen(function, *args, **options):
    try:
        function(*args)
    except Exception as error:
        return errors.Errors(settings(**options)).facts(error, False)["exception"]["stacktrace"]
    raise AssertionError("it did not raise")


def test_the_local_variables_of_an_error():
    """Spec 4.2: collect_local_variables, errors by default; spec 22: sanitised by name."""
    frame, outer = fallen(fall, Thing())
    assert frame["vars"] == {"thing": f"<{__name__}.Thing>", "password": "[REDACTED]", "number": 5}
    assert outer["vars"]["options"] == {}


@pytest.mark.parametrize(("value", "error", "span"), [
    ("off", False, False), ("errors", True, False), ("transactions", False, True), ("all", True, True),
])  # fmt: skip
def test_which_stacks_show_them(value, error, span):
    engine = Engine(collect_local_variables=value, span_stack_trace_min_duration="0ms")
    with engine.transaction() as transaction:
        engine.tracer.end(engine.tracer.begin(SpanDraft("work", "app"), transaction))
        try:
            fall(1)
        except ValueError as failure:
            transaction.capture(failure, handled=True)
    (found,) = engine.sink.spans(transaction)
    assert ("vars" in transaction.errors[0]["exception"]["stacktrace"][0]) is error
    assert (found.frames[0][3] is not None) is span


def test_of_libraries_and_of_modules_none_are_shown():
    """A library's hold what the program gave it; a module's are its globals."""
    import json

    inner, *_, own = fallen(json.loads, "{")
    assert inner["library_frame"] is True
    assert "vars" not in inner
    assert "vars" in own
    scope = {"__name__": "program"}
    (frame, _) = fallen(exec, compile("x = 1\nraise ValueError", "/program.py", "exec"), scope)
    assert frame["function"] == "<module>"
    assert "vars" not in frame
    (body, *_) = fallen(exec, compile("class A:\n    x = 1\n    raise ValueError", "/program.py", "exec"), scope)
    assert body["function"] == "A"
    assert "vars" not in body


def test_nothing_is_kept_by_showing_them():
    """Spec 8: no reference to frames or local variables is left, neither of ended functions nor of running ones."""
    gc.disable()
    try:
        engine = Engine()
        transaction = engine.begin()
        thing, inner = Thing(), Thing()
        gone = weakref.ref(thing), weakref.ref(inner)
        try:
            fall(inner)
        except ValueError as error:
            transaction.capture(error, handled=True)
        del thing, inner
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [ValueError, lambda: ValueError("x"), lambda: KeyError(Thing()), AssertionError])
def test_no_exception_is_kept(make):
    """Whatever tells that it is reported already does not keep it, nor what its frames hold."""
    gc.disable()
    try:
        engine = Engine()
        transaction = engine.begin()
        thing = Thing()
        gone = weakref.ref(thing)

        def raising(thing):
            raise make()

        try:
            raising(thing)
        except Exception as error:
            transaction.capture(error, handled=True)
        del thing
        assert gone() is None
        assert len(transaction.errors) == 1
    finally:
        gc.enable()


def test_what_exec_has_put_beside_them_stays():
    """Before Python 3.13 the names that ``exec`` makes live in the copy that a frame keeps."""

    def program():
        exec("made = 6")
        number = 7
        try:
            fall(number)
        except ValueError as error:
            errors.Errors(settings()).facts(error, False)
        found = locals()
        return [name for name in ("made", "number") if name in found]

    assert program() == (["made", "number"] if sys.version_info < (3, 13) else ["number"])


def test_a_dictionary_of_them_that_the_program_has_stays():
    def program():
        number = 7
        mine = locals()
        try:
            fall(number)
        except ValueError as error:
            errors.Errors(settings()).facts(error, False)
        return mine["number"]

    assert program() == 7


def test_variables_of_closures_and_those_without_a_value():
    def program():
        cell = 1

        def inner():
            free = cell
            raise ValueError(free)
            late = 2  # noqa: F841

        inner()

    inner, outer, _ = fallen(program)
    assert inner["vars"] == {"free": 1, "cell": 1}
    assert sorted(outer["vars"]) == ["cell", "inner"]


def test_a_stack_of_none_shows_none():
    """Spec 4.2: stack_trace_limit 0 is off."""
    assert fallen(fall, 1, stack_trace_limit=0) == []


def test_frames_are_remembered_and_forgotten(monkeypatch):
    monkeypatch.setattr(stack, "_FRAMES", 10)
    stacks = stack.Stacks(settings())
    for number in range(40):
        scope: dict = {"__name__": "program"}
        exec(compile("def work(): pass", f"/{number}.py", "exec"), scope)
        stacks.render([(scope["work"].__code__, 1, scope, None)], 5, 5)
    assert len(stacks._rendered) == 10
    assert [path for path, _ in stacks._in_app] == [f"/{number}.py" for number in range(40)]


def test_what_is_remembered_of_a_frame_is_not_handed_out():
    stacks = stack.Stacks(settings())
    raw = [(fall.__code__, 10, {"__name__": "program"}, None)]
    (first,) = stacks.render(raw, 5, 5)
    first["function"] = "changed"
    assert stacks.render(raw, 5, 5)[0]["function"] == "fall"
