"""The fault matrix over every instrumentation, and over one target of each kind that no instrumentation has yet."""

from __future__ import annotations

import sys
from collections import defaultdict
from types import ModuleType

import pytest
from tests.faults import matrix, program

from apm_run import guard, instrumentations
from apm_run.conventions import wsgi
from apm_run.instrument import registry, vocabulary

ALL = defaultdict(list)
for case in matrix.cases():
    ALL[f"{case.file} {type(case.target).__name__} {case.target.path}"].append(case)


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    """As in a traced program: what fails is on record only."""
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_instrumentation(name):
    check(ALL[name])


def check(cases):
    assert cases
    wrong = []
    for case in cases:
        try:
            case.run()
        except Exception as error:
            wrong.append(f"{case}: {type(error).__name__}: {error}")
    assert wrong == [], f"{len(wrong)} of {len(cases)}"


def test_every_kind_of_target_is_known():
    kinds = {getattr(vocabulary, name) for name in vocabulary.__all__}
    assert kinds - set(matrix.KINDS) == {
        vocabulary.Call,
        vocabulary.Instrumentation,
        vocabulary.SpanDraft,
        vocabulary.TransactionDraft,
    }


def nothing(*_):
    return None


TARGETS = {
    "span": vocabulary.Target("library:Client.send", nothing, observe=nothing, rewrite=nothing),
    "function": vocabulary.Target("library:send", nothing, observe=nothing),
    "entry": vocabulary.Target("library:Worker.run", nothing, observe=nothing, entry=True),
    "exchange": vocabulary.Exchange(
        "library:Connection.put", nothing, inject="end", finish="response", abandon="close", rewrite=nothing
    ),
    "callbacks": vocabulary.Callbacks("library:register", nothing, nothing, key=nothing, observe=nothing),
    "abandon": vocabulary.Abandon("library:Connection.close", "library:register", nothing),
    "failure": vocabulary.Failure("library:connect", nothing),
    "carry": vocabulary.Carry("library:submit", 2),
    "claim": vocabulary.Claim("library:Server.run"),
    "application": vocabulary.Serve("library:application", wsgi, itself=True),
}


@pytest.mark.parametrize("name", TARGETS)
def test_every_kind_of_target(name):
    check(list(matrix.cases_of("test", TARGETS[name])))


def test_a_new_instrumentation_is_covered_at_once(monkeypatch):
    """A file that is registered needs nothing else to be in the matrix."""
    module = ModuleType("apm_run.instrumentations.brand_new")
    module.INSTRUMENTATION = vocabulary.Instrumentation("brand new", "", (TARGETS["span"],))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(instrumentations, "brand_new", module, raising=False)
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "library": ("brand_new",)})
    found = [case for case in matrix.cases() if case.file == "brand_new"]
    assert {case.step for case in found} >= {"none", "describe", "rewrite", "observe"}
    assert {case.kind for case in found} == set(program.KINDS)
    check(found)
