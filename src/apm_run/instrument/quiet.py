"""What a library does on its own account: no spans below it."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Target
from apm_run.instrument.wrap import Interceptor
from apm_run.model import SpanDraft
from apm_run.tracer import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.instrument.wrap import Current
    from apm_run.model import Call
    from apm_run.tracer import Tracer


class Silence(Interceptor):
    """Makes a span current that nobody is told of: an exit span, so that nothing begins below it while it runs.

    It has its parent's id, for what refers to it nevertheless.
    """

    __slots__ = ()

    def __init__(self, tracer: Tracer, where: str) -> None:
        super().__init__(Target("", _nothing), tracer, where)

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        opened: Current | None = None
        if parent is not None:
            # As for any span: below an exit span that has ended it hangs where that one did.
            owner = parent.parent if isinstance(parent, Span) and parent.exit else parent
            opened = Span(_DRAFT, owner, owner.id, 0)
        return opened, call.args, call.kwargs  # type: ignore[return-value]

    def end(self, opened: Current) -> None:
        opened.end_ns = 1


def _nothing(call: Call) -> None:
    return None


_DRAFT = SpanDraft("", "app", "internal")
