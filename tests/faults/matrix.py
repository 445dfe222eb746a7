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

from tests.faults import callbacks, endings, factories, messages, places, servers, spans, tellers, within
from tests.faults.case import Case

from apm_run.instrument import registry
from apm_run.instrument.vocabulary import (
    Abandon,
    Annotate,
    Apart,
    Callbacks,
    Carry,
    Claim,
    Deliver,
    Exchange,
    Factory,
    Failure,
    Greenlet,
    Learn,
    Quiet,
    Receive,
    Remember,
    Retold,
    Scope,
    Serve,
    Subclass,
    Subscribe,
    Target,
    Watch,
    Within,
)

#: Kind of target -> its cases, as arguments of Case; how one is checked.
KINDS: dict[type, tuple[Any, Any]] = {
    Target: (spans.target_cases, spans.check_target),
    Exchange: (spans.exchange_cases, spans.check_exchange),
    Callbacks: (callbacks.callbacks_cases, callbacks.check_callbacks),
    Abandon: (callbacks.abandon_cases, callbacks.check_abandon),
    Failure: (callbacks.failure_cases, callbacks.check_failure),
    Within: (within.within_cases, within.check_within),
    Watch: (tellers.watch_cases, tellers.check_watch),
    Retold: (tellers.retold_cases, tellers.check_retold),
    Annotate: (tellers.annotate_cases, tellers.check_annotate),
    Remember: (endings.remember_cases, endings.check_remember),
    Apart: (endings.apart_cases, endings.check_apart),
    Claim: (tellers.annotate_cases, tellers.check_annotate),
    Subscribe: (tellers.subscribe_cases, tellers.check_subscribe),
    Quiet: (spans.quiet_cases, spans.check_quiet),
    Carry: (tellers.carry_cases, tellers.check_carry),
    Greenlet: (tellers.greenlet_cases, tellers.check_greenlet),
    Learn: (tellers.learn_cases, tellers.check_learn),
    Serve: (servers.serve_cases, servers.check_serve),
    Factory: (factories.factory_cases, factories.check_factory),
    Subclass: (messages.subclass_cases, messages.check_subclass),
    Receive: (messages.receive_cases, messages.check_receive),
    Deliver: (messages.callback_cases, messages.check_callback),
    Scope: (messages.scope_cases, messages.check_scope),
}


def cases_of(file: str, target: Any) -> Iterator[Case]:
    """The cases of one target."""
    assert type(target) in KINDS, f"{file}: a kind of target that the matrix does not know"
    arguments, check = KINDS[type(target)]
    if isinstance(target, Target) and target.until is not None:
        arguments, check = endings.ending_cases, endings.check_ending
    for each in arguments(target):
        yield Case(file, target, check, *each)


def cases() -> Iterator[Case]:
    """All cases, of whatever the registry knows."""
    for file in sorted({file for files in registry.BUILT_IN.values() for file in files}):
        for target in registry.load(file).targets:
            yield from cases_of(file, target)
    yield from places.cases()
