"""Spans and transactions in the fault matrix: of one call, and of several calls on one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine import Engine, exit_span, running
from tests.faults.case import RECORDED, Case, leaf
from tests.faults.program import KINDS, Ours, Program, fault

from apm_run.instrument.vocabulary import Exchange, Quiet, Target, TransactionDraft
from apm_run.tracer import Tracer, current

# A function whose call is a span, or a transaction


def target_cases(target: Target, member: str = "") -> Iterator[tuple[str, ...]]:
    steps = ["none", "describe", "begin_transaction" if target.entry else "begin"]
    if target.rewrite is not None:
        steps += ["rewrite", "headers"]
    if target.observe is not None:
        steps += ["observe"]
    steps += ["capture", "claim", "end_transaction"] if target.entry else ["fail", "end"]
    for step in steps:
        for kind in KINDS:
            for raising in ("", "call"):
                yield step, kind, raising, member
    if target.made:
        for raising in ("", "call"):
            yield "made", "plain", raising, member


class Odd:
    """A function that can not be wrapped: it is asked for what makes it one."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self, *args: Any) -> Any:
        return self._program.act(*args)

    def __getattr__(self, name: str) -> Any:
        raise Ours


def entry_draft(call: Any) -> TransactionDraft:
    return TransactionDraft("job", "messaging")


def one_argument_more(call: Any, headers: Any) -> Any:
    return (*call.args, "rewritten"), dict(call.kwargs)


def faulty(case: Case, target: Target) -> Target:
    """The target with its functions replaced: the case's one raises, the others work."""
    functions: dict[str, Any] = {
        "describe": entry_draft if target.entry else exit_span,
        "rewrite": None if target.rewrite is None else one_argument_more,
        "observe": None if target.observe is None else (lambda *_: None),
    }
    if case.step in functions:
        functions[case.step] = fault
    return Target(target.path, entry=target.entry, made=target.made, **functions)


def check_target(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    target = faulty(case, case.target)
    function = program.function()
    if not target.made:
        holder = case.stage(engine, target, **{leaf(target): function})
        follow(case, engine, program, getattr(holder, leaf(target)), target, target.path)
        return
    odd = case.step == "made"
    holder = case.stage(engine, target, **{leaf(target): staticmethod(lambda: Odd(program) if odd else function)})
    if odd:
        program.use(getattr(holder, leaf(target))(), "argument")
        case.recorded(target.path, "made")
        return
    follow(case, engine, program, getattr(holder, leaf(target))(), target, target.path)


def follow(case: Case, engine: Engine, program: Program, function: Any, target: Target, where: str) -> None:
    """Call an instrumented function in a transaction, and look at what became of it."""
    transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
    with running(transaction):
        program.use(function, "argument", word="value")
        assert current.get() is transaction, "the context is not restored"
    Tracer.end_transaction(engine.tracer, transaction)
    ((args, kwargs),) = program.calls
    rewritten = target.rewrite is not None and case.step not in ("rewrite", "headers")
    assert args[-1] == ("rewritten" if rewritten else "argument"), args
    assert kwargs == {"word": "value"}, kwargs
    (opened,) = program.inside
    if case.step in ("describe", "begin", "begin_transaction", "claim"):
        assert opened is transaction, "something was begun"
    else:
        assert opened is not transaction, "nothing was begun"
        if case.step not in ("end", "end_transaction"):
            ended = [one for one, _ in engine.sink.transactions] if target.entry else engine.sink.spans(transaction)
            assert opened in ended, "it is not closed"
            assert opened.end_ns > 0, "it is not closed"
            failed = bool(case.raising) and case.step not in ("fail", "capture")
            assert opened.outcome == ("failure" if failed else "success"), opened.outcome
    unmet = case.step == "none" or (case.step in ("fail", "capture") and not case.raising)
    case.recorded(where, "" if unmet else RECORDED.get(case.step, case.step))


# No span, and none below


def quiet_cases(target: Quiet) -> Iterator[tuple[str, ...]]:
    for step in ("none", "begin", "forget"):
        for kind in KINDS:
            for raising in ("", "call"):
                yield step, kind, raising


def check_quiet(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    holder = case.stage(engine, case.target, **{leaf(case.target): program.function()})
    with engine.transaction() as transaction:
        program.use(getattr(holder, leaf(case.target)), "argument")
    (opened,) = program.inside
    assert (opened is transaction) == (case.step == "begin")
    assert engine.sink.spans(transaction) == []
    case.recorded(case.target.path, "" if case.step == "none" else RECORDED[case.step])


# A span over several calls


def exchange_cases(target: Exchange) -> Iterator[tuple[str, ...]]:
    steps = ["none", "describe", "begin", "headers", "fail", "end"]
    steps += ["rewrite"] if target.rewrite is not None else []
    steps += ["observe"] if target.observe is not None else []
    for step in steps:
        for raising in ("", leaf(target), target.inject, target.finish, target.abandon):
            yield step, "plain", raising


def check_exchange(case: Case) -> None:
    target = case.target
    names = (leaf(target), target.inject, target.finish, target.abandon)
    programs = {name: Program("plain", name == case.raising) for name in names}
    functions: dict[str, Any] = {
        "describe": exit_span,
        "rewrite": None if target.rewrite is None else one_argument_more,
        "observe": None if target.observe is None else (lambda *_: None),
    }
    if case.step in functions:
        functions[case.step] = fault
    engine = case.engine()
    same = {"inject": target.inject, "finish": target.finish, "abandon": target.abandon}
    replaced = Exchange(target.path, **same, **functions)
    methods = {name: programs[name].function() for name in names}
    instance = case.stage(engine, replaced, **methods)
    transaction = Tracer.begin_transaction(engine.tracer, "test", "test")
    with running(transaction):
        for name in names:
            programs[name].use(getattr(instance, name), "argument")
            assert current.get() is transaction, "the context is not restored"
    Tracer.end_transaction(engine.tracer, transaction)
    assert vars(instance) == {}, "something stays at the object"
    spans = engine.sink.spans(transaction)
    assert len(spans) == (case.step not in ("describe", "begin", "end")), spans
    failing = case.raising in names[:3]
    if spans and case.step != "fail":
        assert spans[0].outcome == ("failure" if failing else "success"), spans[0].outcome
    unmet = {
        "none": True,
        "fail": not failing,
        "headers": target.rewrite is None or case.raising == names[0],
        "rewrite": case.raising == names[0],
    }.get(case.step, False)
    case.recorded(target.path, "" if unmet else RECORDED.get(case.step, case.step))
