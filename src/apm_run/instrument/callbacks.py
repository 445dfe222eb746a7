"""Spans that a library tells of in two callbacks: one when it begins, one when it has ended (decision 4).

Between the two the library's own code runs, so nothing is made current. The callbacks find each other by a key; what
is under way is also known by its context, for libraries that say nothing where a call is interrupted.
"""

from __future__ import annotations

import sys
from _contextvars import ContextVar

from apm_run.guard import failed
from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import UNKNOWN, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.vocabulary import Abandon, Callbacks
    from apm_run.tracer import Span, Tracer

#: So many may be under way; beyond them the oldest ones are taken for lost.
LIMIT = 1000


class Begun:
    """A span that waits for its second callback.

    :ivar before: what was under way in this context before it: a callback of the program's may call the library.
    """

    __slots__ = ("before", "call", "key", "opened", "owner")

    def __init__(self, owner: Pair, key: Any, opened: Span, call: Call, before: Begun | None) -> None:
        self.owner = owner
        self.key = key
        self.opened: Span | None = opened
        self.call: Call | None = call
        self.before = before


#: What has begun in this context and not ended.
under_way: ContextVar[Begun | None] = ContextVar("apm_run_under_way", default=None)


def _last() -> Begun | None:
    """The last one of this context that has not ended; what ended elsewhere is passed over and forgotten."""
    found = first = under_way.get()
    while found is not None and found.opened is None:
        found = found.before
    if found is not first:
        under_way.set(found)
    return found


class Pair:
    """The two callbacks of one target."""

    def __init__(self, target: Callbacks, tracer: Tracer, where: str) -> None:
        """:param where: as for :class:`wrap.Interceptor`."""

        def describe(call: Call) -> Any:
            return target.describe(call, tracer.settings)

        self.where = where
        self._key = target.key
        self._interceptor = wrap.Interceptor(Target(where, describe, observe=target.observe), tracer, where)
        self._begun: dict[Any, Begun] = {}

    def begin(self, event: Any) -> None:
        """The first callback."""
        interceptor = self._interceptor
        parent = interceptor.parent()
        if parent is None:
            return
        call = Call(self.begin, (event,), {})
        opened: Any = interceptor.open(parent, call)[0]
        if opened is None:
            return
        opened.sync = not _in_loop()
        try:
            key = self._key(event)
            forgotten = self._begun.pop(key, None)
            begun = self._begun[key] = Begun(self, key, opened, call, _last())
        except Exception:
            interceptor.fault("key")
            opened.outcome = UNKNOWN
            interceptor.end(opened)
            return
        under_way.set(begun)
        if forgotten is not None:
            self._lose(forgotten)
        if len(self._begun) > LIMIT:
            for key in list(self._begun)[: LIMIT // 10]:
                self.abandon(key)

    def end(self, event: Any) -> None:
        """The second callback; of what was not begun it says nothing."""
        if not self._begun:
            return
        try:
            begun = self._begun.pop(self._key(event), None)
        except Exception:
            self._interceptor.fault("key")
            return
        if begun is not None:
            opened, call = _release(begun)
            self._interceptor.close(opened, call, event)

    def abandon(self, key: Any) -> None:
        """There will be no second callback."""
        begun = self._begun.pop(key, None)
        if begun is not None:
            self._lose(begun)

    def _lose(self, begun: Begun) -> None:
        opened, _ = _release(begun)
        opened.outcome = UNKNOWN
        self._interceptor.end(opened)


def _release(begun: Begun) -> tuple[Any, Any]:
    """Take out what one holds: the context that it has begun in may never be seen again, and live on."""
    opened, call = begun.opened, begun.call
    begun.opened = begun.call = None
    _last()
    return opened, call


def _in_loop() -> bool:
    """Whether an event loop runs in this thread: who is waiting is a task then, and not the thread."""
    asyncio = sys.modules.get("_asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def abandoning(
    target: Abandon, original: Callable[..., Any], where: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    """What is done before a function that a library calls when something will have no second callback."""

    def abandon(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begun = _last()
        if begun is None or begun.owner.where != target.of:
            return
        try:
            over = target.when(Call(original, args, kwargs))
        except Exception:
            failed(f"{where}: when")
            return
        if over:
            begun.owner.abandon(begun.key)

    return abandon
