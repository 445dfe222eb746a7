"""Which errors are reported, where they belong, and what of it they change (spec 8, 12)."""

from __future__ import annotations

from apm_run.model import FAILURE
from apm_run.tracer.errors import Errors
from apm_run.tracer.known import Known
from apm_run.tracer.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import LogRecord
    from types import FrameType
    from typing import Any

    from apm_run.config import Settings
    from apm_run.tracer.span import Transaction


class Capture:
    """The error events of one tracer, each exception's once."""

    __slots__ = ("_errors", "_known")

    def __init__(self, settings: Settings) -> None:
        """No exception is known yet."""
        self._errors = Errors(settings)
        self._known = Known()

    def known(self, error: BaseException, transaction: Transaction | None, handled: bool) -> bool:
        """Whether an exception is reported already.

        What was logged, and so reported as handled, may have gone on to where nobody handles it.
        """
        id = self._known.find(error)
        if id is None:
            return False
        if transaction is not None and not handled:
            _unhandled(transaction.errors, id)
        return True

    def dismiss(self, error: BaseException) -> None:
        """An exception is no error: it counts as reported."""
        self._known.add(error, "")

    def event(
        self,
        id: str,
        error: BaseException | None,
        handled: bool,
        record: LogRecord | None,
        frame: FrameType | None,
    ) -> dict[str, Any] | None:
        """The event of an exception, of what was logged, or of both; None where its type is filtered."""
        event: dict[str, Any] = {"id": id}
        if error is not None:
            self._known.add(error, id)
            if self._errors.dropped(error):
                return None
        if record is not None:
            event.update(self._errors.logged(record, frame if error is None else None))
        if error is not None:
            event.update(self._errors.facts(error, handled))
        return event


def failing(transaction: Transaction | None, running: Span | Transaction | None) -> Span | None:
    """The span of a transaction that is running; both have failed, where no protocol says otherwise (spec 12)."""
    if transaction is None:
        return None
    transaction.failed = True
    if not isinstance(running, Span) or running.transaction is not transaction or running.end_ns:
        return None
    if running.draft.outcome is None:
        running.own().outcome = FAILURE
    return running


def place(event: dict[str, Any], transaction: Transaction, span: Span | None) -> None:
    """Say what an error belongs to: the span that runs, if that is reported, and its transaction."""
    event["trace_id"] = transaction.trace_id
    event["transaction_id"] = transaction.id
    event["parent_id"] = transaction.id if span is None or span.dropped else span.id
    event["transaction"] = {"sampled": transaction.sampled, "name": transaction.name, "type": transaction.type}
    event["context"] = _context(transaction, span)


def _context(transaction: Transaction, span: Span | None) -> dict[str, Any]:
    """The transaction's context, and of the span's what an error can have."""
    own = span.draft.context if span is not None else None
    if not own:
        return transaction.context
    tags = {**transaction.context.get("tags", {}), **own.get("tags", {})}
    found = {**transaction.context, **{key: own[key] for key in ("message",) if key in own}}
    return {**found, "tags": tags} if tags else found


def _unhandled(waiting: list[dict[str, Any]], id: str) -> None:
    for event in list(waiting):
        causes = [event["exception"]] if event["id"] == id else []
        for each in causes:
            each["handled"] = False
            causes += each.get("cause", ())
