"""Functions that a library calls while one of its spans runs, and that know more of it than its own call does."""

from __future__ import annotations

from apm_run.instrument import wrap
from apm_run.instrument.vocabulary import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.instrument.vocabulary import Within
    from apm_run.model import Call
    from apm_run.tracer import Span, Tracer, Transaction

    Current = Span | Transaction


class Insider(wrap.Interceptor):
    """Such a function at work: the span that runs is what it has opened, and it is not its to end."""

    __slots__ = ("subtypes", "tell")

    def __init__(self, target: Within, tracer: Tracer, where: str) -> None:
        """:param where: as for every interceptor."""
        super().__init__(Target(target.path, _nothing, rewrite=target.rewrite), tracer, where)
        self.subtypes = target.subtypes
        self.tell = target.observe

    def parent(self) -> Current | None:
        """The running exit span, or what stands in its place where nothing is sampled; None where neither does."""
        found = self.running()
        if found is None:
            return None
        if found.exit and not found.end_ns:
            draft: Any = found.draft
            return found if draft.subtype in self.subtypes else None
        return found if self.rewrite is not None and not found.transaction.sampled else None

    def open(self, parent: Current | None, call: Call) -> tuple[Current | None, tuple[Any, ...], dict[str, Any]]:
        """Put the trace context in; what is open is the span that runs already."""
        args, kwargs = call.args, call.kwargs
        if self.rewrite is not None and parent is not None:
            args, kwargs = self.rewritten(call, parent)
        return (parent if parent is not None and parent.exit else None), args, kwargs  # type: ignore[return-value]

    def close(self, opened: Current, call: Call, result: object, *, here: bool = True) -> None:
        """Tell of the result, or of the exception."""
        if self.tell is not None:
            try:
                self.tell(call, result, opened.draft, opened.transaction.settings)  # type: ignore[arg-type]
            except Exception:
                self.fault("observe")

    def fail(self, opened: Current, call: Call, error: BaseException) -> None:
        """What has been raised may yet be dealt with: it decides nothing."""
        if isinstance(error, Exception):
            self.close(opened, call, error)

    def end(self, opened: Current, here: bool = True) -> None:
        """It goes on."""


def _nothing(_: Call) -> None:
    """It is no span of its own."""
