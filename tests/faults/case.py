"""One cell of the fault matrix, and how a generic library is put where a target looks for it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.engine import Engine
from tests.faults.program import fault

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Instrumentation
from apm_run.tracer import current

#: Steps of the engine itself that may fail: methods of the tracer.
ENGINE = ("begin", "begin_transaction", "claim", "headers", "fail", "forget", "end", "end_transaction", "capture")
#: Under which name the failure of one of them is on record, where that is another.
RECORDED = {
    "begin": "describe",
    "begin_transaction": "describe",
    "claim": "describe",
    "headers": "rewrite",
    "capture": "fail",
    "forget": "end",
    "end_transaction": "end",
}


class Case:
    """One cell of the matrix."""

    def __init__(
        self,
        file: str,
        target: Any,
        check: Callable[[Case], None],
        step: str,
        kind: str,
        raising: str,
        member: str = "",
    ) -> None:
        """Say what it is about.

        :param step: what of ours fails. :param kind: of the function. :param raising: what of the program raises, or
            ``""``. :param member: of a factory: the target within.
        """
        self.file = file
        self.check = check
        self.target = target
        self.step = step
        self.kind = kind
        self.raising = raising
        self.member = member

    def __str__(self) -> str:
        where = f"{self.target.path}{'.' if self.member else ''}{self.member}"
        return f"{self.file}: {type(self.target).__name__} {where} [{self.step}, {self.kind}, {self.raising or 'ok'}]"

    def run(self) -> None:
        """Check the case: AssertionError, or whatever else the program would have seen."""
        guard.failures.clear()
        assert current.get() is None
        self.check(self)
        assert current.get() is None, "something stays current"

    def engine(self) -> Engine:
        """The engine; one step of it may fail."""
        engine = Engine()
        if self.step in ENGINE:
            setattr(engine.tracer, self.step, fault)
        return engine

    def stage(self, engine: Engine, target: Any, expected: str = "wrapped", **attributes: Any) -> Any:
        """A module with these attributes where the target looks for them, instrumented; returns what has them."""
        trigger, _, path = target.path.partition(":")
        module = holder = ModuleType(trigger)
        for part in path.split(".")[:-1]:
            inner = type(part, (), {})
            setattr(holder, part, inner)
            holder = inner
        for name, value in attributes.items():
            setattr(holder, name, value)
        results: dict[str, str] = {}
        instrument(Instrumentation("library", "", (target,)), module, engine.tracer, results)
        assert results == {target.path: expected}, results
        # The target may be __init__ itself: it is the check that calls it.
        return holder.__new__(holder) if isinstance(holder, type) else holder

    def recorded(self, where: str, step: str) -> None:
        """Only what failed is on record, once; nothing for an empty step."""
        found = {place: count for place, (count, _) in guard.failures.items()}
        assert found == ({f"{where}: {step}": 1} if step else {}), found


def leaf(target: Any) -> str:
    """The name of the function itself."""
    return target.path.rpartition(":")[2].rpartition(".")[2]
