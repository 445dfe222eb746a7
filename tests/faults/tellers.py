"""Functions that tell, claim or carry, and signals, in the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.faults.case import Case, leaf
from tests.faults.program import KINDS, Program, fault

from apm_run import guard
from apm_run.instrument.vocabulary import Annotate, Carry, Claim, Greenlet, Learn, Retold, Subscribe, Watch
from apm_run.tracer import current


def annotate_cases(target: Annotate) -> Iterator[tuple[str, ...]]:
    after = type(target) is Annotate and target.after
    for step in ("none", "annotate" if type(target) is Annotate else "claim"):
        for kind in KINDS[: 2 if after else 3]:
            for raising in ("", "call"):
                yield step, kind, raising


def check_annotate(case: Case) -> None:
    program, engine, given = Program(case.kind, bool(case.raising)), case.engine(), case.target
    told: list[Any] = []
    annotate = fault if case.step == "annotate" else lambda _, transaction, *__: told.append(transaction)
    target = Claim(given.path)
    if type(given) is Annotate:
        target = Annotate(given.path, annotate, after=given.after, program=given.program)
        if given.program:
            engine.tracer.begin_ambient("program", 1, 1, None)
    ambient = engine.tracer.ambient
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    with engine.transaction() as transaction:
        program.use(getattr(holder, leaf(target)), "argument")
    silent = case.step != "none" or type(target) is Claim or (target.after and case.raising)
    assert told == ([] if silent else [ambient or transaction]), "told of another transaction, or not once"
    after_failure = case.step == "annotate" and target.after and bool(case.raising)
    case.recorded(target.path, "" if case.step == "none" or after_failure else case.step)


def watch_cases(target: Watch) -> Iterator[tuple[str, ...]]:
    for step in ("none", "seen"):
        for raising in ("", "call"):
            yield step, "plain", raising


def check_watch(case: Case) -> None:
    program, engine, seen = Program("plain", bool(case.raising)), case.engine(), []
    target = Watch(case.target.path, fault if case.step == "seen" else lambda *told: seen.append(told))
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    with engine.transaction() as transaction:
        program.use(getattr(holder, leaf(target)), "argument")
    assert [told[1:] for told in seen] == (
        [] if case.raising or case.step == "seen" else [(program.result, transaction)]
    )
    case.recorded(target.path, case.step if case.step == "seen" and not case.raising else "")


def retold_cases(target: Retold) -> Iterator[tuple[str, ...]]:
    for raising in ("", "call"):
        yield "none", "plain", raising


def check_retold(case: Case) -> None:
    program, engine = Program("plain", bool(case.raising)), case.engine()
    function = program.function()
    holder = case.stage(engine, case.target, **{leaf(case.target): function})
    assert engine.tracer.retold == {function.__code__}
    with engine.transaction():
        program.use(getattr(holder, leaf(case.target)), "argument")
    case.recorded(case.target.path, "")


def learn_cases(target: Learn) -> Iterator[tuple[str, ...]]:
    for step in ("none", "targets"):
        yield step, "plain", ""


def check_learn(case: Case) -> None:
    engine, settings = case.engine(), object()
    target = Learn(case.target.path, fault if case.step == "targets" else lambda given: (given,))
    case.stage(engine, target, "wrapped" if case.step == "none" else "failed: Ours: ", **{leaf(target): settings})
    assert bool(guard.failures) == (case.step != "none")


def subscribe_cases(target: Subscribe) -> Iterator[tuple[str, ...]]:
    for step in ("none", "handler"):
        for raising in ("", "call"):
            yield step, "plain", raising


class Signal:
    def __init__(self) -> None:
        self.receivers: list[Any] = []

    def connect(self, receiver: Any, weak: bool = True) -> None:
        self.receivers.append(receiver)

    def send(self, *args: Any) -> None:
        for receiver in self.receivers:
            receiver(*args)


def check_subscribe(case: Case) -> None:
    program, engine, signal = Program("plain", bool(case.raising)), case.engine(), Signal()
    target = Subscribe(case.target.path, fault if case.step == "handler" else lambda *_: None)
    case.stage(engine, target, **{leaf(target): signal})

    def library() -> Any:
        signal.send("sender")
        return program.act()

    with engine.transaction():
        program.use(library)
    case.recorded(target.path, "" if case.step == "none" else case.step)


def carry_cases(target: Carry) -> Iterator[tuple[str, ...]]:
    for raising in ("", "work"):
        yield "none", "plain", raising


def check_carry(case: Case) -> None:
    program, engine, position = Program("plain", bool(case.raising)), case.engine(), case.target.position

    def library(*args: Any) -> Any:
        assert current.get() is None
        return args[position]("argument")

    holder = case.stage(engine, case.target, **{leaf(case.target): library})
    before = position - (not isinstance(holder, ModuleType))
    with engine.transaction() as transaction:
        program.use(getattr(holder, leaf(case.target)), *range(before), program.function())
    assert program.inside == [transaction], "the work has another context"
    case.recorded(case.target.path, "")


def greenlet_cases(target: Greenlet) -> Iterator[tuple[str, ...]]:
    for step in ("none", "context"):
        for raising in ("", "call"):
            yield step, "plain", raising


class Made:
    """A greenlet that has not run; or one that is none, and has no room for a context."""

    def __init__(self, room: bool) -> None:
        if room:
            self.gr_context: Any = None


def check_greenlet(case: Case) -> None:
    program, engine, made, told = Program("plain", bool(case.raising)), case.engine(), Made(case.step == "none"), []
    program.result = made

    def library(*args: Any) -> Any:
        if not case.target.hook:
            return program.act(*args)
        told.append(args[-1])
        return None

    # A hook is called where it stands; before CPython 3.10 no staticmethod can be.
    kept = library if case.target.hook else staticmethod(library)
    holder = case.stage(engine, case.target, **{leaf(case.target): kept})

    def make(*args: Any) -> Any:
        for function in told:
            function(made)
        return program.act(*args) if case.target.hook else getattr(holder, leaf(case.target))(*args)

    with engine.transaction() as transaction:
        program.use(make, "argument")
    if case.step == "none" and (case.target.hook or not case.raising):
        assert made.gr_context.run(current.get) is transaction
    case.recorded(case.target.path, case.step if case.step == "context" and (told or not case.raising) else "")
