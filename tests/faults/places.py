"""The places where a program tells of errors, in the fault matrix: what they are told may be anything."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.faults.case import Case, leaf
from tests.faults.program import Program, fault

from apm_run.instrument import reports


class Place:
    """Stands for a target: where it is."""

    def __init__(self, path: str) -> None:
        self.path = path


class Record:
    """Of a level that nobody asks about."""

    levelno = 10


class Told:
    """What is told; it fails wherever it is asked."""

    def __getattr__(self, name: str) -> Any:
        return fault()


def cases() -> Iterator[Case]:
    for module, (path, _) in reports.PLACES.items():
        for step in ("none",) if module == "threading" else ("none", "told"):
            for raising in ("", "call"):
                yield Case("reports", Place(f"{module}:{path}"), check, step, "plain", raising)

    for step in ("none", "correlate", "formatter"):
        for raising in ("", "call"):
            yield Case("reports", Place("logging:Formatter.__init__"), check_correlation, step, "plain", raising)


class Misplaced:
    """A formatter whose type does not say where it is from."""

    __module__ = None  # type: ignore[assignment]


def check_correlation(case: Case) -> None:
    """Log records and formatters: nothing that fails in our attributes is seen."""
    log, formatter = Program("plain", bool(case.raising)), Program("plain", bool(case.raising))
    formatter.result = None  # type: ignore[assignment]
    module: Any = ModuleType("logging")
    module.LogRecord = Record
    module.Logger = type("Logger", (), {"callHandlers": log.function()})
    module.Formatter = type("Formatter", (), {"__init__": formatter.function()})
    results: dict[str, str] = {}
    facts = fault if case.step == "correlate" else lambda wanted: None
    reports.listen(module, lambda *_, **__: None, results, facts)
    assert set(results.values()) == {"wrapped"}
    log.use(module.Logger.callHandlers, module.Logger(), Record())
    formatter.use(module.Formatter.__init__, Misplaced() if case.step == "formatter" else object(), "text")
    failing = case.step == "correlate" or (case.step == "formatter" and not case.raising)
    case.recorded("logging", case.step if failing else "")


RECORDED = {"logging": "logging: record", "asyncio.base_events": "asyncio: context"}


def check(case: Case) -> None:
    name, _, path = case.target.path.partition(":")
    program, told = Program("plain", bool(case.raising)), []
    module = holder = ModuleType(name)
    if "." in path:
        holder = type("Holder", (), {})  # type: ignore[assignment]
        setattr(module, path.partition(".")[0], holder)
    original = program.function()
    setattr(holder, leaf(case.target), (lambda: original) if name == "threading" else original)
    results: dict[str, str] = {}
    reports.listen(module, lambda library, error, **more: told.append(library), results)
    assert results == {case.target.path: "wrapped"}
    function = getattr(holder, leaf(case.target))
    if name == "threading":
        program.use(function(), "thread")
    else:
        program.use(function, holder, Told() if case.step == "told" else Record() if name == "logging" else {})
    assert told == []
    failing = case.step == "told" and not (name == "logging" and case.raising)
    place, _, step = RECORDED.get(name, "").partition(": ")
    case.recorded(place, step if failing else "")
