"""From the tracer to the exporter (design 3, steps 12-14)."""

from __future__ import annotations

from apm_run.guard import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from apm_run.config import Settings
    from apm_run.export import Exporter
    from apm_run.tracer import Span, Transaction
    from apm_run.tracer.stack import Stacks

    Event = dict[str, Any]
    Filter = Callable[[Event], "Event | None"]


class Pipeline:
    """Process, encode, enqueue (design 3, steps 12-14): the tracer's sink."""

    def __init__(
        self, settings: Settings, exporter: Exporter, filters: Mapping[str, list[Filter]] | None = None
    ) -> None:
        """:param exporter: takes the encoded lines. :param filters: of the program's, by the kind of event."""
        from apm_run.intake import encode

        self._filters = {} if filters is None else filters
        self._settings = settings
        self._exporter = exporter
        self._encode = encode
        self._stacks: Stacks | None = None

    def begun(self, job: bool = False) -> None:
        """Let the agent thread keep an eye on it."""
        self._exporter.begun(job)

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        """Encode a transaction with its spans and errors in one piece."""
        try:
            lines: list[bytes] = []
            # Each by itself: what can not be encoded costs nothing else.
            try:
                if self._exporter.takes(transaction.sampled):
                    lines.append(self._encode.transaction_line(transaction, spans, self._process))
                if transaction.opened and not any(lines):
                    self._exporter.gone(transaction.id)
            except Exception:
                failed("encode transaction")
            self._put(lines, spans if transaction.sampled else [], transaction.errors)
        except Exception:
            failed("put transaction")

    def _put(self, lines: list[bytes], spans: list[Span], errors: list[dict[str, Any]]) -> None:
        for span in spans:
            try:
                lines.append(self._span(span))
            except Exception:
                failed("encode span")
        for error in errors:
            try:
                lines.append(self._encode.error_line(error, self._process))
            except Exception:
                failed("encode error")
        self._hand_on(lines)

    def _hand_on(self, lines: list[bytes]) -> None:
        if b"" in lines:
            lines = [line for line in lines if line]
        if lines:
            self._exporter.put(b"".join(lines), len(lines))

    def _span(self, span: Span) -> bytes:
        line = self._encode.span_line(span, self._stack(span), self._process)
        if not line and span.held:
            self._exporter.gone(span.id)
        return line

    # The program's filters

    @property
    def _process(self) -> Callable[[str, Event], Event | None] | None:
        return self._filtered if self._filters else None

    def _filtered(self, kind: str, event: Event) -> Event | None:
        """What the program's filters leave of an event that is about to be reported."""
        found = self._look(kind, event)
        if found is None:
            self._exporter.drop("filter")
        return found

    def _look(self, kind: str, event: Event) -> Event | None:
        """The same of one that may not be."""
        functions = self._filters.get(kind)
        if not functions:
            return event
        from apm_run import filters

        return filters.passed(kind, event, functions)

    def open(
        self, transaction: Transaction, spans: list[Span], errors: list[dict[str, Any]], now: int, anew: bool
    ) -> None:
        """Encode what has ended in a long transaction, and leave an open record of it."""
        try:
            self._put([], spans, errors)
            if not self._exporter.takes(transaction.sampled):
                return
            look = self._look if self._filters else None
            line = self._encode.open_line(transaction, now, look) if anew else b""
            self._exporter.open(transaction.id, self._encode.open_end(transaction, now), line)
            if transaction.ended or (anew and not line):  # meanwhile, in another thread; or a filter drops it
                self._exporter.gone(transaction.id)
        except Exception:
            failed("put open transaction")

    def hold(self, span: Span) -> None:
        """Leave an open record of a span that may become part of a longer one."""
        try:
            line = self._encode.span_line(span, self._stack(span), self._look if self._filters else None)
            if line:
                self._exporter.open(span.id, line[-3:], line[:-3])
            else:
                self._exporter.gone(span.id)
        except Exception:
            failed("hold span")

    def metricset(self, event: dict[str, Any]) -> None:
        """Encode a metricset."""
        try:
            self._hand_on([self._encode.metricset_line(event, self._process)])
        except Exception:
            failed("encode metricset")

    def gone(self, id: str) -> None:
        """Take the open record back."""
        self._exporter.gone(id)

    def span(self, span: Span) -> None:
        """Encode a span that ended after its transaction."""
        try:
            self._hand_on([self._span(span)])
        except Exception:
            failed("encode span")

    def error(self, error: dict[str, Any]) -> None:
        """Encode an error that waits for no transaction."""
        try:
            self._hand_on([self._encode.error_line(error, self._process)])
        except Exception:
            failed("encode error")

    def _stack(self, span: Span) -> list[dict[str, Any]] | None:
        if not span.frames:
            return None
        settings = self._settings
        if self._stacks is None:
            from apm_run.tracer.stack import Stacks

            self._stacks = Stacks(settings)
        app, library = settings.source_lines_span_app_frames, settings.source_lines_span_library_frames
        return self._stacks.render(span.frames, app, library)
