"""From the tracer to the exporter (design 3, steps 12-14)."""

from __future__ import annotations

from apm_run.guard import failed, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config import Settings
    from apm_run.export import Exporter
    from apm_run.tracer import Span, Transaction


class Pipeline:
    """Process, encode, enqueue (design 3, steps 12-14): the tracer's sink."""

    def __init__(self, settings: Settings, exporter: Exporter) -> None:
        """:param exporter: takes the encoded lines."""
        from apm_run.intake import encode

        self._settings = settings
        self._exporter = exporter
        self._encode = encode

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        """Encode a transaction with its spans and errors in one piece."""
        try:
            lines: list[bytes] = []
            # Each by itself: what can not be encoded costs nothing else.
            with guard("encode transaction"):
                lines.append(self._encode.transaction_line(transaction, spans))
            for span in spans if transaction.sampled else ():
                with guard("encode span"):
                    lines.append(self._encode.span_line(span, self._stack(span)))
            for error in transaction.errors:
                with guard("encode error"):
                    lines.append(self._encode.error_line(error))
            self._exporter.put(b"".join(lines), len(lines))
        except Exception:
            failed("put transaction")

    def span(self, span: Span) -> None:
        """Encode a span that ended after its transaction."""
        try:
            self._exporter.put(self._encode.span_line(span, self._stack(span)), 1)
        except Exception:
            failed("encode span")

    def error(self, error: dict[str, Any]) -> None:
        """Encode an error that waits for no transaction."""
        try:
            self._exporter.put(self._encode.error_line(error), 1)
        except Exception:
            failed("encode error")

    def _stack(self, span: Span) -> list[dict[str, Any]] | None:
        if not span.frames:
            return None
        from apm_run.tracer import stack

        settings = self._settings
        app, library = settings.source_lines_span_app_frames, settings.source_lines_span_library_frames
        return stack.render(span.frames, app, library)
