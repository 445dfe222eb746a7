"""Functions that are called while a span runs, in the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine import running
from tests.faults.case import RECORDED, Case, leaf
from tests.faults.program import KINDS, Program, fault
from tests.faults.spans import one_argument_more

from apm_run.instrument.vocabulary import SpanDraft, Within
from apm_run.tracer import Tracer, current


def within_cases(target: Within) -> Iterator[tuple[str, ...]]:
    steps = ["none"]
    steps += ["rewrite", "headers"] if target.rewrite is not None else []
    steps += ["observe"] if target.observe is not None else []
    for step in steps:
        for kind in KINDS:
            for raising in ("", "call"):
                yield step, kind, raising


def check_within(case: Case) -> None:
    """Call it below a span of its own, which stays open and decides nothing."""
    program, engine, target = Program(case.kind, bool(case.raising)), case.engine(), case.target
    functions: dict[str, Any] = {
        "rewrite": None if target.rewrite is None else one_argument_more,
        "observe": None if target.observe is None else (lambda *_: None),
    }
    if case.step in functions:
        functions[case.step] = fault
    replaced = Within(target.path, *target.subtypes, **functions)
    holder = case.stage(engine, replaced, **{leaf(target): program.function()})
    transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
    span = Tracer.begin(engine.tracer, SpanDraft("SPAN", "db", target.subtypes[0]), transaction)
    with running(span):
        program.use(getattr(holder, leaf(target)), "argument", word="value")
        assert current.get() is span, "the context is not restored"
    assert (span.end_ns, span.outcome) == (0, None), "it is not its to end"
    Tracer.end(engine.tracer, span)
    Tracer.end_transaction(engine.tracer, transaction)
    assert engine.sink.spans(transaction) == [span]
    ((args, kwargs),) = program.calls
    rewritten = target.rewrite is not None and case.step not in ("rewrite", "headers")
    assert args[-1] == ("rewritten" if rewritten else "argument"), args
    assert kwargs == {"word": "value"}, kwargs
    assert program.inside == [span], "something was begun"
    case.recorded(target.path, "" if case.step == "none" else RECORDED.get(case.step, case.step))
