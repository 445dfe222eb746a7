"""The fault matrix, generated from the registry: whatever of ours fails, the program sees nothing of it.

Every target of every instrumentation, every function of it that can fail and every step of the engine, every kind of
function it may meet, the program's own call raising or not: :func:`cases`. The library is replaced by a generic
original of the right kind in a module of the target's name, the instrumentation's functions by ones that raise; the
engine is the real one. A case checks: one call, the same result or the same exception object, the context restored,
the span closed, the failure on record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.faults import factories, messages, places, servers, spans, tellers
from tests.faults.case import Case

from apm_run.instrument import registry
from apm_run.instrument.vocabulary import (
    Annotate,
    Callback,
    Carry,
    Claim,
    Exchange,
    Factory,
    Greenlet,
    Learn,
    Receive,
    Scope,
    Serve,
    Subclass,
    Subscribe,
    Target,
)

#: Kind of target -> its cases, as arguments of Case; how one is checked.
KINDS: dict[type, tuple[Any, Any]] = {
    Target: (spans.target_cases, spans.check_target),
    Exchange: (spans.exchange_cases, spans.check_exchange),
    Annotate: (tellers.annotate_cases, tellers.check_annotate),
    Claim: (tellers.annotate_cases, tellers.check_annotate),
    Subscribe: (tellers.subscribe_cases, tellers.check_subscribe),
    Carry: (tellers.carry_cases, tellers.check_carry),
    Greenlet: (tellers.greenlet_cases, tellers.check_greenlet),
    Learn: (tellers.learn_cases, tellers.check_learn),
    Serve: (servers.serve_cases, servers.check_serve),
    Factory: (factories.factory_cases, factories.check_factory),
    Subclass: (messages.subclass_cases, messages.check_subclass),
    Receive: (messages.receive_cases, messages.check_receive),
    Callback: (messages.callback_cases, messages.check_callback),
    Scope: (messages.scope_cases, messages.check_scope),
}


def cases_of(file: str, target: Any) -> Iterator[Case]:
    """The cases of one target."""
    assert type(target) in KINDS, f"{file}: a kind of target that the matrix does not know"
    arguments, check = KINDS[type(target)]
    for each in arguments(target):
        yield Case(file, target, check, *each)


def cases() -> Iterator[Case]:
    """All cases, of whatever the registry knows."""
    for file in sorted({file for files in registry.BUILT_IN.values() for file in files}):
        for target in registry.load(file).targets:
            yield from cases_of(file, target)
    yield from places.cases()
