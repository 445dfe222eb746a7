"""What messages are received by, in the fault matrix: functions that return them, functions called with them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tests.engine import exit_span, job, running
from tests.faults.case import RECORDED, Case, leaf
from tests.faults.program import KINDS, Program, fault
from tests.faults.spans import faulty, follow, target_cases

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.receive import settle
from apm_run.instrument.vocabulary import Deliver, Instrumentation, Receive, Scope, Subclass, Target
from apm_run.tracer import Tracer, current

# A function that returns messages

#: What fails, by where the call is: within a transaction or not.
_STEPS = {
    "inside": ("none", "poll", "begin", "observe", "fail", "end"),
    "outside": ("none", "received", "begin_transaction", "claim", "end_transaction"),
}
_WHERE = {"poll": "describe", "begin_transaction": "received", "claim": "received"}


def receive_cases(target: Receive, member: str = "") -> Iterator[tuple[str, ...]]:
    for place, steps in _STEPS.items():
        for step in steps:
            for kind in KINDS[:3]:
                for raising in ("", "call"):
                    yield step, kind, raising, f"{member}:{place}"


def failing_at(case: Case, target: Receive) -> Receive:
    """The target with its functions replaced; the case's one raises."""
    functions: dict[str, Any] = {"poll": exit_span, "received": lambda call, result: job(call), "observe": nothing}
    if case.step in functions:
        functions[case.step] = fault
    observe = functions.pop("observe")
    return Receive(
        target.path, **functions, observe=observe, loop=target.loop, leave=target.leave, through=target.through
    )


def nothing(*_: Any) -> None:
    pass


def check_receive(case: Case) -> None:
    target, program, engine = case.target, Program(case.kind, bool(case.raising)), case.engine()
    asked = {method: Program("plain", False) for method in target.leave}
    methods = {method: one.function() for method, one in asked.items()}
    if target.loop is not None:
        methods[target.loop] = lambda self: self
    holder = case.stage(engine, failing_at(case, target), **{leaf(target): program.function(), **methods})
    receive(case, engine, program, getattr(holder, leaf(target)), target.path)
    for method, one in asked.items():
        one.use(getattr(holder, method), "argument")
    if target.loop is not None:
        assert isinstance(iter(holder), type(holder))


def receive(case: Case, engine: Any, program: Program, function: Any, where: str) -> None:
    """Ask for messages, and deal with them."""
    if case.member.endswith(":inside"):
        transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
        with running(transaction):
            program.use(function, "argument")
            assert current.get() is transaction, "the context is not restored"
        Tracer.end_transaction(engine.tracer, transaction)
        spans = engine.sink.spans(transaction)
        if case.step not in ("poll", "begin", "end"):
            # A generator has been asked twice: for its item, and for the next one.
            failed = [bool(case.raising) and case.step != "fail"] if spans[1:] == [] else [False, bool(case.raising)]
            if case.step != "fail":
                assert [span.outcome == "failure" for span in spans] == failed, failed
    else:
        program.use(function, "argument")
        begun = current.get()
        came = not case.raising and case.kind != "generator"
        assert (begun is not None) == (came and case.step in ("none", "end_transaction")), begun
        settle()
        assert current.get() is None, "something stays current"
        for ended, _ in engine.sink.transactions:
            assert ended.outcome == "success"
    (call,) = program.calls
    assert call[0][-1] == "argument"
    told = {place for place in guard.failures if guard.failures[place]}
    step = _WHERE.get(case.step, RECORDED.get(case.step, case.step))
    expected = f"receive: {step}" if case.step == "end_transaction" else f"{where}: {step}"
    # Without a message or an error there is nothing to fail at.
    unmet = case.step == "none" or (case.step == "fail" and not case.raising)
    if case.member.endswith(":outside") and case.raising and case.kind != "generator":
        unmet = True
    assert told == (set() if unmet else {expected}), told


# A function that takes one of the program's


def callback_cases(target: Deliver) -> Iterator[tuple[str, ...]]:
    steps = ("none", "registered", "describe", "begin_transaction", "claim", "capture", "end_transaction")
    for step in steps:
        for kind in KINDS:
            for raising in ("", "call"):
                yield step, kind, raising


def check_callback(case: Case) -> None:
    """The library calls what it was given at once."""
    position, name = case.target.argument
    program, engine, given = Program(case.kind, bool(case.raising)), case.engine(), []

    def library(*args: Any, **kwargs: Any) -> None:
        given.append(kwargs[name] if name in kwargs else args[position])

    described = fault if case.step == "describe" else job
    target = Deliver(
        case.target.path, fault if case.step == "registered" else lambda _: described, argument=(position, name)
    )
    holder = case.stage(engine, target, **{leaf(target): library})
    function = getattr(holder, leaf(target))
    function(*range(position - (not isinstance(holder, ModuleType))), program.function())
    function(**{name: None})
    assert given.pop() is None
    program.use(given[0], "argument", word="value")
    assert program.calls == [(("argument",), {"word": "value"})]
    begun = [one for one in program.inside if one is not None]
    assert len(begun) == (case.step in ("none", "capture", "end_transaction")), begun
    if case.step == "none":
        (ended,) = [one for one, _ in engine.sink.transactions]
        assert ended.outcome == ("failure" if case.raising else "success")
    steps = {"registered": "describe", **RECORDED}
    unmet = case.step == "none" or (case.step == "capture" and not case.raising)
    told = {place for place in guard.failures if guard.failures[place]}
    expected = set() if unmet else {f"{target.path}: {steps.get(case.step, case.step)}"}
    if case.step == "registered":  # asked for both
        guard.failures.clear()
    assert told == expected, told


# A piece of work


def scope_cases(target: Scope) -> Iterator[tuple[str, ...]]:
    for raising in ("", "call"):
        yield "none", "plain", raising


def check_scope(case: Case) -> None:
    program, engine = Program("plain", bool(case.raising)), case.engine()
    holder = case.stage(engine, case.target, **{leaf(case.target): program.function()})
    program.use(getattr(holder, leaf(case.target)), "argument")
    case.recorded(case.target.path, "")


# A type in C


def subclass_cases(target: Subclass) -> Iterator[tuple[str, ...]]:
    for method in target.targets:
        if isinstance(method, Target):
            yield from target_cases(method, method.path)
        else:
            yield from receive_cases(method, method.path)


def check_subclass(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    name = case.member.partition(":")[0]
    trigger, _, kind = case.target.path.partition(":")
    module = ModuleType(trigger)
    module.__spec__ = ModuleSpec(trigger, None)
    module.__spec__._initializing = True  # type: ignore[attr-defined]
    original = type(kind, (), {"__slots__": (), name: program.function()})
    setattr(module, kind, original)
    (method,) = [one for one in case.target.targets if one.path == name]
    replaced = faulty(case, method) if isinstance(method, Target) else failing_at(case, method)
    results: dict[str, str] = {}
    target = Subclass(case.target.path, (replaced,))
    instrument(Instrumentation("library", "", (target,)), module, engine.tracer, results)
    assert results == {case.target.path: "wrapped"}, results
    made = getattr(module, kind)
    assert made is not original
    assert issubclass(made, original)
    function, where = getattr(made(), name), f"{case.target.path}.{name}"
    if isinstance(method, Target):
        follow(case, engine, program, function, replaced, where)
    else:
        receive(case, engine, program, function, where)
