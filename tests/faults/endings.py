"""Calls that begin what ends later, objects that are remembered, and what is kept apart, in the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine import exit_span, job
from tests.faults.case import RECORDED, Case, leaf
from tests.faults.program import KINDS, Program, fault

from apm_run.instrument.vocabulary import Apart, Remember, Target
from apm_run.tracer import Tracer, current


def ending_cases(target: Target) -> Iterator[tuple[str, ...]]:
    """The way that a span ends is the kind: with its call, within it, or later; or nobody says so."""
    steps = ["none", "describe", "until"]
    steps += ["begin_transaction", "end_transaction"] if target.entry else ["begin", "fail", "end"]
    steps += ["rewrite", "headers"] if target.rewrite is not None else []
    steps += ["observe"] if target.observe is not None else []
    for step in steps:
        for kind in ("with the call", "within", "later", "forgotten"):
            for raising in ("", "call"):
                yield step, kind, raising


def check_ending(case: Case) -> None:
    program, engine, ends = Program("plain", bool(case.raising)), case.engine(), []

    def until(call: Any, result: Any, end: Any) -> Any:
        if case.kind == "within":
            end()
        elif case.kind == "later":
            ends.append(end)
        return None if case.kind == "with the call" else Owner()

    functions: dict[str, Any] = {
        "describe": job if case.target.entry else exit_span,
        "rewrite": case.target.rewrite and (lambda call, headers: ((*call.args, "rewritten"), dict(call.kwargs))),
        "observe": case.target.observe and (lambda *_: None),
        "until": until,
    }
    if case.step in functions:
        functions[case.step] = fault
    target = Target(case.target.path, entry=case.target.entry, **functions)
    holder = case.stage(engine, target, **{leaf(case.target): program.function()})
    transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
    previous = current.get()
    current.set(transaction)
    try:
        program.use(getattr(holder, leaf(case.target)), "argument", word="value")
        assert current.get() is transaction, "the context is not restored"
    finally:
        current.set(previous)
    for end in ends:
        end()
        end("again")
    ends.clear()
    Tracer.end_transaction(engine.tracer, transaction)
    ((args, kwargs),) = program.calls
    rewritten = case.target.rewrite is not None and case.step not in ("rewrite", "headers")
    assert args[-1] == ("rewritten" if rewritten else "argument"), args
    assert kwargs == {"word": "value"}, kwargs
    spans: list[Any] = engine.sink.spans(transaction)
    if case.target.entry:
        spans = [each for each, _ in engine.sink.transactions if each is not transaction]
    begun = case.step not in ("describe", "begin", "begin_transaction")
    assert len(spans) == (begun and not case.step.startswith("end")), spans
    assert (program.inside == [transaction]) == (not case.target.entry or not begun), program.inside
    if spans and case.step != "fail":
        expected = "unknown" if case.kind == "forgotten" and case.step != "until" else "success"
        assert spans[0].outcome == ("failure" if case.raising else expected), spans[0].outcome
    unmet = {"none": True, "fail": not case.raising, "until": bool(case.raising)}.get(case.step, False)
    case.recorded(case.target.path, "" if unmet else RECORDED.get(case.step, case.step))


class Owner:
    """It takes weak references."""


class Thing:
    """What is remembered: as an object in C it takes no weak references."""

    __slots__ = ()


def remember_cases(target: Remember) -> Iterator[tuple[str, ...]]:
    for step in ("none", "facts"):
        for raising in ("", "call"):
            yield step, "plain", raising


def check_remember(case: Case) -> None:
    program, engine, thing, owners = Program("plain", bool(case.raising)), case.engine(), Thing(), [Owner()]

    def facts(call: Any) -> Any:
        return thing, owners[0], call.args[-1]

    target = Remember(case.target.path, fault if case.step == "facts" else facts)
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    program.use(getattr(holder, leaf(target)), "argument")
    kept = case.step == "none" and not case.raising
    assert target.of(thing) == ("argument" if kept else None)
    owners.clear()
    assert target.of(thing) is None, "it is remembered for ever"
    case.recorded(target.path, "facts" if case.step == "facts" and not case.raising else "")


def apart_cases(target: Apart) -> Iterator[tuple[str, ...]]:
    for kind in KINDS[:2]:
        for raising in ("", "call"):
            yield "none", kind, raising


def check_apart(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    holder = case.stage(engine, case.target, **{leaf(case.target): program.function()})
    with engine.transaction() as transaction:
        program.use(getattr(holder, leaf(case.target)), "argument")
        assert current.get() is transaction, "the context is not restored"
    assert program.inside == [None], "something is current"
    case.recorded(case.target.path, "")
