"""How a transaction or span of the program's begins: in a block, or as the call of a decorated function.

The wrapper of a decorated function is the engine's own: each kind of function keeps its kind.
"""

from __future__ import annotations

from apm_run import agent
from apm_run.api import convert
from apm_run.api.live import guarded, place, tracer
from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target
from apm_run.model import Call, SpanDraft
from apm_run.tracer import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.instrument.wrap import Current
    from apm_run.tracer import Tracer

_get, _set = current.get, current.set


class Work(wrap.Interceptor):
    """A span of the program's.

    :ivar below: what was given as its parent.
    """

    __slots__ = ("below", "links")

    def __init__(
        self, tracer: Tracer, below: Any, links: Any, describe: Callable[[Call], SpanDraft], entry: bool
    ) -> None:
        """:param describe: its facts."""
        super().__init__(Target("apm_run:start", describe, entry=entry), tracer, "api: start")
        self.below = below
        self.links = links

    def parent(self) -> Current | None:
        """What was given as the parent, else what is current."""
        if self.below is None or self.entry:
            return super().parent()
        if not convert.is_handle(self.below):
            convert.misused("parent", self.below, "transaction or span")
            return super().parent()
        found: Current | None = self.below._item
        return found

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        """Begin it, with its links."""
        opened, args, kwargs = super().open(parent, call)
        if opened is not None and self.links is not None:
            opened.links = [*(opened.links or []), *convert.links(self.links)]
        return opened, args, kwargs


class Root(Work):
    """A transaction of the program's: always one of its own, whatever is current."""

    __slots__ = ()

    def _enter(self, parent: Current | None, call: Call) -> Current | None:
        if not self.tracer.active or agent.running is None:
            return None
        draft = self.describe(call)
        if draft is None:
            return None
        agent.running.speaks = True
        context, baggage = convert.place("parent", self.below)
        return self.tracer.begin_transaction(draft.name, draft.type, context, baggage=baggage)


def _work(found: Tracer, root: bool, facts: dict[str, Any], name: str) -> Work:
    exit = convert.flag("exit", facts.get("exit", False))
    texts = {key: convert.text(key, facts.get(key)) for key in ("name", "type", "subtype", "action")}

    def describe(call: Call) -> SpanDraft:
        return SpanDraft(
            texts["name"] or name,
            texts["type"] or "custom",
            texts["subtype"],
            texts["action"],
            exit=exit,
        )

    return (Root if root else Work)(found, facts["parent"], facts["links"], describe, root)


def _nothing() -> None:
    """Stand for the function that a block has not."""


@guarded
def begin(root: bool, facts: dict[str, Any], sync: bool) -> tuple[Any, ...]:
    """Begin what a block is, and make it current.

    :returns: it, what was current before, and the place; without it, what stands for it as the sender of requests.
    """
    found = tracer()
    previous = _get()
    if found is None or not (root or previous or found.ambient or facts["parent"] is not None):
        return None, None
    work = _work(found, root, facts, "")
    work.sync = sync
    opened = work.open(work.parent(), Call(_nothing, (), {}))[0]
    previous = _get()
    if opened is None:
        return None, previous or found.ambient
    _set(opened)
    return opened, previous, place()


@guarded
def decorated(root: bool, facts: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose calls are transactions or spans; a class or what can not be called stays as it is."""
    inner = getattr(function, "__func__", None)
    if isinstance(function, (classmethod, staticmethod)) and inner is not None:
        return type(function)(decorated(root, facts, inner))
    if isinstance(function, type) or not callable(function):
        convert.misused("decorator", function, "function")
        return function
    found = tracer()
    if found is None:
        return function
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return wrap.function(function, _work(found, root, facts, name))
