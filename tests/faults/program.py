"""The program of the fault matrix: generic originals that do the same whoever calls them, and see to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apm_run.tracer import current

KINDS = ("plain", "coroutine", "generator", "async generator")


class Ours(LookupError):
    """What the instrumentation or the engine raises."""


class Theirs(Exception):
    """What the program's call raises."""


def fault(*_args: Any, **_kwargs: Any) -> Any:
    raise Ours


class Suspend:
    """What a coroutine waits for."""

    def __await__(self) -> Any:
        yield


def finished(awaitable: Any) -> Any:
    """Drive an awaitable to its end."""
    while True:
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value


class Program:
    """It notes its calls, and returns the same object or raises the same exception each time."""

    def __init__(self, kind: str, raising: bool) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.inside: list[Any] = []
        self.result = object()
        self.error = Theirs() if raising else None
        self.kind = kind

    def act(self, *args: Any, **kwargs: Any) -> object:
        self.calls.append((args, kwargs))
        self.inside.append(current.get())
        if self.error is not None:
            raise self.error
        return self.result

    def function(self) -> Callable[..., Any]:
        """The original, of the program's kind."""

        def plain(*args: Any, **kwargs: Any) -> object:
            return self.act(*args, **kwargs)

        async def coroutine(*args: Any, **kwargs: Any) -> object:
            await Suspend()
            return self.act(*args, **kwargs)

        def generator(*args: Any, **kwargs: Any) -> Any:
            yield self.result
            self.act(*args, **kwargs)

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            yield self.result
            await Suspend()
            self.act(*args, **kwargs)

        return dict(zip(KINDS, (plain, coroutine, generator, async_generator)))[self.kind]

    def use(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call what stands in the original's place; what comes of it must be the original's."""
        try:
            result = function(*args, **kwargs)
            if self.kind == "coroutine":
                result = finished(result)
            elif self.kind == "generator":
                (result,) = result
            elif self.kind == "async generator":
                result = collected(result)
        except Theirs as error:
            assert error is self.error, "another exception"  # noqa: PT017
            assert error.__context__ is None, "it says more than it did"  # noqa: PT017
        else:
            assert self.error is None, "the exception is lost"
            assert result is self.result, "another result"
        assert len(self.calls) == 1, f"{len(self.calls)} calls"


def collected(made: Any) -> Any:
    """The one item of an asynchronous generator."""
    items = []
    while True:
        try:
            items.append(finished(made.asend(None)))
        except StopAsyncIteration:
            (item,) = items
            return item
