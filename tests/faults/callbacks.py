"""Spans between two callbacks, what gives them up, and calls that are a span only where they fail, in the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine import exit_span
from tests.faults.case import RECORDED, Case, leaf
from tests.faults.program import KINDS, Program, fault

from apm_run.instrument.callbacks import Pair, under_way
from apm_run.instrument.vocabulary import Abandon, Callbacks, Failure
from apm_run.tracer import Tracer, current


def callbacks_cases(target: Callbacks) -> Iterator[tuple[str, ...]]:
    steps = ["none", "describe", "begin", "key", "second key", "end"]
    steps += ["observe"] if target.observe is not None else []
    for step in steps:
        for raising in ("", "call"):
            yield step, "plain", raising


def described(call: Any, settings: Any) -> Any:
    assert call.args == ("event",)
    return exit_span(call)


def check_callbacks(case: Case) -> None:
    program, engine, heard, asked = Program("plain", bool(case.raising)), case.engine(), [], []

    def key(event: str) -> str:
        asked.append(event)
        return fault() if case.step == "key" or (case.step == "second key" and len(asked) == 2) else event

    functions: dict[str, Any] = {"describe": described, "observe": case.target.observe and (lambda *_: None)}
    if case.step in functions:
        functions[case.step] = fault
    target = Callbacks(case.target.path, lambda *both: both, key=key, **functions)
    case.stage(engine, target, **{leaf(target): heard.append})
    ((begin, end),) = heard

    def library(*args: Any) -> Any:
        begin("event")
        try:
            return program.act(*args)
        finally:
            end("event")

    with engine.transaction() as transaction:
        program.use(library, "argument")
    assert program.inside == [transaction], "something is current between the two"
    spans = engine.sink.spans(transaction)
    assert len(spans) == (case.step not in ("describe", "begin", "end", "second key")), spans
    for span in spans:
        assert span.outcome == ("unknown" if case.step == "key" else "success"), span.outcome
    recorded = {**RECORDED, "none": "", "second key": "key"}
    case.recorded(case.target.path, recorded.get(case.step, case.step))
    under_way.set(None)


def abandon_cases(target: Abandon) -> Iterator[tuple[str, ...]]:
    for step in ("none", "when"):
        for kind in KINDS[:3]:
            for raising in ("", "call"):
                yield step, kind, raising


def check_abandon(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    target = Abandon(case.target.path, case.target.of, fault if case.step == "when" else lambda call: True)
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    listened = Callbacks(target.of, lambda *both: both, described, key=str)
    pair = Pair(listened, engine.tracer, target.of)
    with engine.transaction() as transaction:
        pair.begin("event")
        program.use(getattr(holder, leaf(target)), "argument")
        if case.step == "when":
            assert transaction.spans == []
            pair.end("event")
    (span,) = engine.sink.spans(transaction)
    assert span.outcome == ("success" if case.step == "when" else "unknown"), span.outcome
    assert under_way.get() is None
    case.recorded(target.path, "" if case.step == "none" else case.step)


def failure_cases(target: Failure) -> Iterator[tuple[str, ...]]:
    for step in ("none", "describe", "begin", "fail", "end"):
        for kind in KINDS[:2]:
            for raising in ("", "call"):
                yield step, kind, raising


def check_failure(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    target = Failure(case.target.path, fault if case.step == "describe" else exit_span)
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
    before = current.set(transaction)
    program.use(getattr(holder, leaf(target)), "argument")
    assert program.inside == [transaction]
    current.reset(before)
    Tracer.end_transaction(engine.tracer, transaction)
    spans = engine.sink.spans(transaction)
    assert len(spans) == (bool(case.raising) and case.step in ("none", "fail")), spans
    for span in spans:
        assert span.outcome == ("success" if case.step == "fail" else "failure"), span.outcome
        assert span.start_ns < span.end_ns
    unmet = case.step == "none" or not case.raising
    case.recorded(target.path, "" if unmet else RECORDED.get(case.step, case.step))
