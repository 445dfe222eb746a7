"""Functions that tell, claim or carry, and signals, in the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.faults.case import Case, leaf
from tests.faults.program import KINDS, Program, fault

from apm_run.instrument.vocabulary import Annotate, Carry, Claim, Subscribe
from apm_run.tracer import current


def annotate_cases(target: Annotate) -> Iterator[tuple[str, ...]]:
    for step in ("none", "annotate" if type(target) is Annotate else "claim"):
        for kind in KINDS[:3]:
            for raising in ("", "call"):
                yield step, kind, raising


def check_annotate(case: Case) -> None:
    program, engine = Program(case.kind, bool(case.raising)), case.engine()
    annotate = fault if case.step == "annotate" else lambda *_: None
    target = Claim(case.target.path) if type(case.target) is Claim else Annotate(case.target.path, annotate)
    holder = case.stage(engine, target, **{leaf(target): program.function()})
    with engine.transaction():
        program.use(getattr(holder, leaf(target)), "argument")
    case.recorded(target.path, "" if case.step == "none" else case.step)


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
