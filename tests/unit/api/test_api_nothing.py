"""Without the agent, and where there is no transaction, everything does nothing (spec 26)."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import apm_run
from apm_run import agent

SAMPLES = {"places": [], "error": ValueError("x"), "handled": False, "port": 80, "rows_affected": 1}


def call(function):
    """Call a function with something for each of its parameters."""
    kwargs = {name: SAMPLES.get(name, "x") for name in inspect.signature(function).parameters if name != "self"}
    return function(**kwargs)


@pytest.fixture(params=["no agent", "nothing running"])
def nothing(request, monkeypatch, engine, misuses):
    if request.param == "no agent":
        monkeypatch.setattr(agent, "running", None)
    yield engine
    assert misuses == []
    assert engine.sink.transactions == engine.sink.errors == []


@pytest.mark.parametrize("kind", [apm_run.Transaction, apm_run.Span])
def test_every_method_of_every_handle(nothing, kind):
    for handle in (kind(), apm_run.current_transaction(), apm_run.current_span()):
        for name in dir(type(handle)):
            member = inspect.getattr_static(type(handle), name)
            if name.startswith("_"):
                continue
            if isinstance(member, property):
                assert not getattr(handle, name)
                if member.fset is not None:
                    setattr(handle, name, "success")
                assert not getattr(handle, name)
            else:
                assert not call(getattr(handle, name))


def test_functions(nothing):
    assert apm_run.outgoing_headers() == {}
    assert apm_run.flush()
    with apm_run.start_span("x") as span:
        assert not span
        assert not span.is_current()


def test_blocks_and_decorators(monkeypatch, engine, misuses):
    monkeypatch.setattr(agent, "running", None)

    def work():
        return 5

    async def blocks():
        async with apm_run.start_transaction("t") as transaction, apm_run.start_span("s") as span:
            return transaction or span

    for starter in (apm_run.start_transaction("t"), apm_run.start_span("s")):
        assert starter(work) is work
        assert starter("no function") == "no function"
        with starter as one, starter as other:
            assert not one
            assert not other
        starter.begin().end()
    assert apm_run.start_span(work) is work
    assert apm_run.start_transaction(work) is work
    assert not asyncio.run(blocks())
    apm_run.capture_exception(ValueError("x"))
    apm_run.capture_message("x")
    assert apm_run.add_filter("span", work) is work
    assert not apm_run.is_running()
    assert engine.agent.filters == {}
    assert misuses == []


def test_what_is_raised_in_a_block_passes(nothing):
    with pytest.raises(KeyError), apm_run.start_span("s"):
        raise KeyError("x")
