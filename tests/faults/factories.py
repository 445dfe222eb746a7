"""Types that are made through subclasses, and their members, in the fault matrix."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.engine import Engine
from tests.faults.case import Case, leaf
from tests.faults.program import Ours, Program, fault
from tests.faults.spans import faulty, follow, target_cases

from apm_run.instrument import factory as factories
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Factory, Instrumentation, Target


def factory_cases(target: Factory) -> Iterator[tuple[str, ...]]:
    for step in ("none", "factory"):
        for raising in ("", "call"):
            yield step, "plain", raising
    for name, spanned in members(target):
        yield from target_cases(spanned, name)


def members(target: Factory) -> Iterator[tuple[str, Target]]:
    for spanned in target.targets:
        yield spanned.path, spanned
    for making in target.makes:
        for name, spanned in members(making):
            yield f"{making.path}.{name}", spanned


def check_factory(case: Case) -> None:
    program, engine, target = Program(case.kind, bool(case.raising)), case.engine(), case.target
    bases = (target.base, *(making.base for making in target.makes))
    names = {path.partition(":")[0] for path in (target.path, *target.names, *bases)}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    original = factories._subclass
    try:
        sys.modules.update({name: ModuleType(name) for name in names})
        module = sys.modules[target.path.partition(":")[0]]
        base = made_type(target, program)
        setattr(module, leaf(target), maker(target, base))
        replaced = replaced_factory(case, target)
        if case.step == "factory":
            factories._subclass = fault
        results: dict[str, str] = {}
        instrument(Instrumentation("library", "", (replaced,)), module, engine.tracer, results)
        assert results == {target.path: "wrapped"}, results
        use_factory(case, engine, program, module, base, target)
    finally:
        factories._subclass = original
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def maker(target: Factory, base: type) -> Any:
    """The library's function: it takes the type to make by position or by name."""

    def make(*args: Any, **kwargs: Any) -> Any:
        asked = args[target.position] if len(args) > target.position else kwargs.get(target.keyword, base)
        return base() if asked is None and target.default is not None else asked()

    return make


def made_type(target: Factory, program: Program) -> type:
    """The type that a factory makes, and those that its methods make, in the modules of their names."""
    module, _, name = target.base.partition(":")
    kind = type(name, (), {"__slots__": ()})
    setattr(sys.modules[module], name, kind)
    for spanned in target.targets:
        setattr(kind, spanned.path, program.function())
    for making in target.makes:
        setattr(kind, making.path, maker(making, made_type(making, program)))
    return kind


def replaced_factory(case: Case, target: Factory, prefix: str = "") -> Factory:
    """The factory with the functions of its members replaced; those of the case's one raise."""

    def replaced(spanned: Target) -> Target:
        mine = f"{prefix}{spanned.path}" == case.member
        return faulty(case if mine else Case(case.file, target, case.check, "none", case.kind, ""), spanned)

    return Factory(
        target.path,
        target.base,
        position=target.position,
        keyword=target.keyword,
        default=target.default,
        names=target.names,
        makes=tuple(replaced_factory(case, making, f"{prefix}{making.path}.") for making in target.makes),
        targets=tuple(replaced(spanned) for spanned in target.targets),
    )


def use_factory(case: Case, engine: Engine, program: Program, module: ModuleType, base: type, target: Factory) -> None:
    make = getattr(module, leaf(target))
    if not case.member:
        instance = make()
        assert isinstance(instance, base)
        assert (type(instance) is base) == (case.step == "factory")
        if case.raising:
            try:
                make(*range(target.position), **{target.keyword: fault})
                raise AssertionError("the exception is lost")
            except Ours:
                pass
        case.recorded(target.path, "" if case.step == "none" else case.step)
        return
    instance, where = make(), target.base
    *path, name = case.member.split(".")
    for part in path:
        (making,) = [one for one in target.makes if one.path == part]
        instance, where = getattr(instance, part)(), making.base
    spanned = dict(members(target))[case.member]
    follow(case, engine, program, getattr(instance, name), spanned, f"{where}.{name}")
