"""Where a program tells of errors (spec 8): what is heard, and that the program sees nothing of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
import logging
import pickle
import sys
import threading
import traceback
import types

import pytest

from apm_run.instrument import registry, reports


@pytest.fixture
def heard(monkeypatch):
    """Listen for the length of a test: what has been told, as (library, error, record, scene)."""
    found: list = []

    def report(library, error, *, record=None, scene=None):
        found.append((library, error, record, scene))

    for module, holder, name in (
        (logging, logging.Logger, "callHandlers"),
        (threading, threading, "_make_invoke_excepthook"),
        (asyncio.base_events, asyncio.BaseEventLoop, "call_exception_handler"),
    ):
        monkeypatch.setattr(holder, name, getattr(holder, name))
        results: dict[str, str] = {}
        reports.listen(module, report, results)
        assert set(results.values()) == {"wrapped"}
    return found


@pytest.fixture
def logger():
    made = logging.Logger("shop")
    made.addHandler(logging.StreamHandler(io.StringIO()))
    return made


def test_the_registry_names_the_places():
    assert set(registry.TELLING) == set(reports.PLACES)


def test_level_error_and_above_are_heard(heard, logger):
    """Spec 8: level ERROR and above."""
    for level in (logging.DEBUG, logging.WARNING, logging.ERROR - 1, logging.ERROR, logging.CRITICAL, 90):
        logger.log(level, "at %d", level)
    assert [record.levelno for _, _, record, _ in heard] == [40, 50, 90]
    assert {record.message for _, _, record, _ in heard} == {"at 40", "at 50", "at 90"}, "its handlers come first"
    assert {(library, error) for library, error, _, _ in heard} == {("logging", None)}
    assert {scene.f_code.co_name for *_, scene in heard} == {"test_level_error_and_above_are_heard"}


@pytest.mark.parametrize("drop", ["disabled", "level", "filter", "disable"])
def test_dropped_records_are_not_heard(heard, logger, monkeypatch, drop):
    """A record that the program drops makes no error."""
    if drop == "disabled":
        logger.disabled = True
    elif drop == "level":
        logger.setLevel(logging.CRITICAL)
    elif drop == "filter":
        logger.addFilter(lambda record: False)
    else:
        monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
        logger.manager = logging.root.manager
    logger.error("dropped")
    assert heard == []


def test_a_logger_that_does_not_propagate_is_heard_once(heard):
    parent, child = logging.getLogger("told"), logging.getLogger("told.child")
    for each in (parent, child):
        each.addHandler(logging.NullHandler())
    parent.propagate = False
    child.error("through both")
    child.propagate = False
    child.error("at home")
    assert [record.msg for _, _, record, _ in heard] == ["through both", "at home"]


def test_the_exception_of_a_record(heard, logger):
    error = ValueError("x")
    try:
        raise error
    except ValueError:
        logger.exception("with")
        logger.error("without")
    logger.error("by hand", exc_info=error)
    logger.error("none", exc_info=True)
    assert [told for _, told, _, _ in heard] == [error, None, error, None]


@pytest.mark.parametrize("ended", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit])
def test_an_end_that_was_asked_for_is_no_error(heard, logger, ended):
    """Cancellation is neither failure nor error event; that the program has logged it is still told."""
    logger.error("cancelled", exc_info=ended())
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.call_exception_handler({"message": "m", "exception": ended()})
    loop.close()
    assert [(library, error) for library, error, _, _ in heard] == [("logging", None)]


def test_an_own_base_exception_is_one():
    class Mine(BaseException):
        pass

    assert reports._is_error(Mine())
    assert not reports._is_error(None)


def test_who_looks_for_the_caller_finds_it(heard, logger):
    """The recipe that loguru documents: the first frame whose file is not that of logging."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            frame, depth = inspect.currentframe(), 0
            while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
                frame, depth = frame.f_back, depth + 1
            found.append(frame.f_code.co_name)

    logger.addHandler(Handler())
    logger.error("here")
    assert found == ["test_who_looks_for_the_caller_finds_it"]


def test_a_failing_handler_raises_as_bare(heard, logger):
    class Handler(logging.Handler):
        def handle(self, record):
            raise LookupError

    logger.addHandler(Handler())
    with pytest.raises(LookupError) as caught:
        logger.error("x")
    assert heard == []
    if sys.version_info >= (3, 11):
        names = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert names.count("callHandlers") == 1


@pytest.mark.parametrize("holder", [logging.Logger, asyncio.BaseEventLoop])
def test_they_pass_for_the_originals(heard, holder):
    name = "callHandlers" if holder is logging.Logger else "call_exception_handler"
    function = getattr(holder, name)
    original = function.__wrapped__
    assert inspect.signature(function) == inspect.signature(original)
    assert pickle.loads(pickle.dumps(function)) is function
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(function, attribute) == getattr(original, attribute)
    assert function.__code__.co_filename == original.__code__.co_filename


def test_what_ends_a_thread_is_heard_and_its_hook_too(heard, monkeypatch):
    """Spec 8: threading.excepthook is the program's."""
    hooked = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_value))
    error = ValueError("x")

    def work():
        raise error

    for target in (work, sys.exit, lambda: None):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert [(library, told) for library, told, _, _ in heard] == [("threading", error)]
    assert [type(told) for told in hooked] == [ValueError, SystemExit]


def test_what_a_loop_tells_is_heard_and_its_handler_too(heard):
    """Spec 8: never retrieved, or raised by a callback, in the context that it ran in."""
    handled = []
    mark = contextvars.ContextVar("mark")

    async def bad():
        mark.set("task")
        raise KeyError("never")

    def falling():
        mark.set("callback")
        raise ValueError("callback")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: handled.append(context["exception"]))
        loop.call_soon(falling)
        task = loop.create_task(bad())
        await asyncio.wait([task])

    asyncio.run(main())
    import gc

    gc.collect()
    assert [str(error) for error in handled] == ["callback", "'never'"]
    assert [(library, told) for library, told, _, _ in heard] == [("asyncio", error) for error in handled]
    (*_, callback), (*_, task) = heard
    assert callback[mark] == "callback"
    assert (task is not None) is (sys.version_info >= (3, 12))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.call_exception_handler({"message": "nothing was raised"})
    loop.close()
    assert len(heard) == 2


def test_a_module_without_the_place():
    results: dict[str, str] = {}
    reports.listen(types.ModuleType("logging"), lambda *_, **__: None, results)
    assert results == {"logging:Logger.callHandlers": "skipped: no Logger.callHandlers"}
