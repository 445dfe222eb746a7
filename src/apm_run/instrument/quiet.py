"""What a library does on its own account: no spans below it."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Target
from apm_run.instrument.wrap import Interceptor
from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.instrument.wrap import Current
    from apm_run.model import Call
    from apm_run.tracer import Tracer


class Silence(Interceptor):
    """Makes a span current that nobody is told of: an exit span, so that nothing begins below it while it runs."""

    __slots__ = ()

    def __init__(self, tracer: Tracer, where: str) -> None:
        super().__init__(Target("", _silence), tracer, where)

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        """Begin it, with its parent's id for what refers to it nevertheless."""
        opened, args, kwargs = super().open(parent, call)
        if opened is not None and parent is not None:
            opened.id = parent.id
        return opened, args, kwargs

    def fail(self, opened: Current, call: Call, error: BaseException) -> None:
        """What it has raised is for whoever has called it."""
        self.end(opened)

    def end(self, opened: Current, here: bool = True) -> None:
        """Take it back."""
        try:
            self.tracer.forget(opened)  # type: ignore[arg-type]
        except Exception:
            self.fault("end")


def _silence(call: Call) -> SpanDraft:
    return _DRAFT


_DRAFT = SpanDraft("", "app", "internal")
