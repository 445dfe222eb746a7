"""Generators, asynchronous generators and coroutines behave under any consumer as they do bare.

Each case is drawn from a seed: what the function does, and what its consumer does with it. What both of them see is
written down, for the bare function and for the wrapped one, and must be the same.
"""

from __future__ import annotations

import contextvars
import sys
from random import Random
from typing import Any

import pytest
from tests.engine import Engine

from apm_run.tracer import current

SEEDS = range(400)
FRAMES = sys.version_info >= (3, 11)


def shown(error: BaseException | None) -> Any:
    """An exception with what it is chained to and the functions it came through."""
    if error is None:
        return None
    names = []
    traceback = error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    # What is thrown into something that has not begun or has ended comes from that itself.
    if names[-1] in ("wrapper", "generator", "async_generator", "coroutine"):
        names[-1] = "itself"
    # Older interpreters keep the traceback on its way apart from the exception: our frames can be seen.
    if not FRAMES:
        names = [name for name in names if name not in ("wrapper", "itself")]
    names = [name for name in names if name not in ("send", "throw", "close")]
    return type(error).__name__, error.args, names, shown(error.__cause__), shown(error.__context__)


class Suspend:
    """An awaitable that hands a word to whoever drives, and gives what that sends back."""

    def __init__(self, word: Any) -> None:
        self.word = word

    def __await__(self) -> Any:
        return (yield self.word)


class Body:
    """What a function does: the same in all three kinds, drawn from a seed."""

    def __init__(self, seed: int, log: list[Any], tame: bool, closes: bool = False) -> None:
        self.random = Random(seed)
        self.log = log
        self.tame = tame
        # An asynchronous generator is closed once only, whether it obeys or not.
        self.closes = closes

    def act(self) -> str:
        return self.random.choice(("yield", "yield", "yield", "yield", "await", "await", "raise", "return"))

    def thrown(self, error: BaseException) -> str:
        self.log.append(("caught", shown(error)))
        if self.closes and isinstance(error, GeneratorExit):
            return self.random.choice(("again", "other", "from", "return"))
        # What ends with `yield from` or `await` hands a close on; that can not be refused or answered as bare.
        if self.tame and isinstance(error, GeneratorExit):
            return self.random.choice(("again", "other", "from"))
        return self.random.choice(("pass", "again", "other", "from", "return", "yield"))


def generator(seed: int, log: list[Any], tame: bool = False):
    body = Body(seed, log, tame)
    try:
        for step in range(8):
            act = body.act()
            try:
                if act == "raise":
                    raise ValueError(step)
                if act == "return":
                    return ("returned", step)
                log.append(("got", (yield step)))
            except (ValueError, GeneratorExit) as error:
                choice = body.thrown(error)
                if choice == "again":
                    raise
                if choice == "other":
                    raise KeyError(step)  # noqa: B904 (the context is what is looked at)
                if choice == "from":
                    raise KeyError(step) from error
                if choice == "return":
                    return ("swallowed", step)
                if choice == "yield":
                    log.append(("got", (yield "in handler")))
    finally:
        log.append("finally")


async def async_generator(seed: int, log: list[Any], tame: bool = False):
    body = Body(seed, log, tame, closes=True)
    try:
        for step in range(8):
            act = body.act()
            try:
                if act == "raise":
                    raise ValueError(step)
                if act == "return":
                    return
                if act == "await":
                    log.append(("awaited", await Suspend(step)))
                log.append(("got", (yield step)))
            except (ValueError, GeneratorExit) as error:
                choice = body.thrown(error)
                if choice == "again":
                    raise
                if choice == "other":
                    raise KeyError(step)  # noqa: B904
                if choice == "from":
                    raise KeyError(step) from error
                if choice == "return":
                    return
                if choice == "yield":
                    log.append(("got", (yield "in handler")))
    finally:
        log.append("finally")


async def coroutine(seed: int, log: list[Any], tame: bool = False):
    body = Body(seed, log, tame)
    try:
        for step in range(8):
            act = body.act()
            try:
                if act == "raise":
                    raise ValueError(step)
                if act == "return":
                    return ("returned", step)
                log.append(("awaited", await Suspend(step)))
            except (ValueError, GeneratorExit) as error:
                choice = body.thrown(error)
                if choice == "again":
                    raise
                if choice == "other":
                    raise KeyError(step)  # noqa: B904
                if choice == "from":
                    raise KeyError(step) from error
                if choice == "return":
                    return ("swallowed", step)
    finally:
        log.append("finally")


def attempt(log: list[Any], name: str, call: Any, *args: Any) -> bool:
    """Do one thing and write down what came of it; False when it was an exception."""
    before = current.get()
    try:
        log.append((name, call(*args)))
    except BaseException as error:
        log.append((name, shown(error)))
        return False
    finally:
        assert current.get() is before
    return True


def consume(made: Any, seed: int, log: list[Any], tame: bool) -> None:
    """Next, send, throw and close in any order, further than to the end."""
    random = Random(~seed)
    for _ in range(10):
        choice = random.randrange(10)
        if choice < 4:
            attempt(log, "next", made.send, None)
        elif choice < 6:
            attempt(log, "send", made.send, random.random())
        elif choice < 8:
            attempt(log, "throw", made.throw, ValueError("thrown"))
        elif choice == 8 and not tame:
            attempt(log, "throw exit", made.throw, GeneratorExit())
        else:
            attempt(log, "close", made.close)
    for _ in range(10):  # one that goes on yielding would be closed by the collector, whenever that comes
        attempt(log, "close", made.close)


def drive(awaitable: Any, log: list[Any], random: Random | None = None) -> Any:
    """Drive an awaitable as an event loop would; sometimes it is cancelled meanwhile."""
    value = None
    while True:
        try:
            word = awaitable.throw(ValueError("cancelled")) if value == "cancel" else awaitable.send(value)
        except StopIteration as stop:
            return stop.value
        log.append(("suspended", word))
        # A close that is cancelled could not be tried again.
        value = random.choice(("answer", "answer", "cancel")) if random is not None else "answer"


def consume_async(made: Any, seed: int, log: list[Any], tame: bool) -> None:
    random = Random(~seed)
    for _ in range(10):
        choice = random.randrange(10)
        if choice < 4:
            attempt(log, "next", lambda: drive(made.__anext__(), log, random))
        elif choice < 6:
            sent = random.random()
            attempt(log, "asend", lambda sent=sent: drive(made.asend(sent), log, random))
        elif choice < 8:
            attempt(log, "athrow", lambda: drive(made.athrow(ValueError("thrown")), log, random))
        elif choice == 8:
            attempt(log, "athrow exit", lambda: drive(made.athrow(GeneratorExit()), log))
        else:
            attempt(log, "aclose", lambda: drive(made.aclose(), log))
    for _ in range(20):
        attempt(log, "aclose", lambda: drive(made.aclose(), log))


KINDS = [(generator, consume), (async_generator, consume_async), (coroutine, consume)]


@pytest.mark.parametrize("inside", [True, False], ids=["in a transaction", "outside"])
@pytest.mark.parametrize(("function", "consumer"), KINDS, ids=lambda one: one.__name__)
def test_as_bare(function, consumer, inside):
    engine = Engine()
    wrapped = engine.wrap(function)
    tame = function is coroutine or (function is generator and not inside)
    ended = 0
    for seed in SEEDS:
        bare: list[Any] = []
        consumer(function(seed, bare, tame), seed, bare, tame)
        log: list[Any] = []
        if inside:
            with engine.transaction() as transaction:
                made = wrapped(seed, log, tame)
                (consume_coroutine if function is coroutine else consumer)(made, seed, log, tame)
            begun = "finally" in log
            ended += begun
            assert len(engine.sink.spans(transaction)) == begun
        else:
            consumer(wrapped(seed, log, tame), seed, log, tame)
        assert log == bare, seed
    assert not engine.sink.late
    assert not inside or ended > len(SEEDS) // 2


def consume_coroutine(made: Any, seed: int, log: list[Any], tame: bool) -> None:
    """As :func:`consume`, in a task's own context, as it were: between the steps its span is current there."""
    context = contextvars.copy_context()
    before = current.get()

    class Task:
        @staticmethod
        def send(value: Any) -> Any:
            return context.run(made.send, value)

        @staticmethod
        def throw(error: BaseException) -> Any:
            return context.run(made.throw, error)

        @staticmethod
        def close() -> Any:
            return context.run(made.close)

    consume(Task, seed, log, tame)
    assert context[current] is before
