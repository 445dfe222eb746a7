"""The public API: ``import apm_run``.

Under ``apm-run`` the running agent serves it, whatever version is installed beside the program. Without ``apm-run``
everything here does nothing, and costs next to nothing: a program that uses it runs as ever. What is loaded then
imports nothing of the agent.
"""

from __future__ import annotations

from apm_run.api.calls import (
    add_filter,
    capture_exception,
    capture_message,
    current_span,
    current_transaction,
    flush,
    is_running,
    outgoing_headers,
    start_span,
    start_transaction,
)
from apm_run.api.handles import Span, Transaction
from apm_run.api.start import SpanStarter, TransactionStarter

__all__ = [
    "Span",
    "SpanStarter",
    "Transaction",
    "TransactionStarter",
    "add_filter",
    "capture_exception",
    "capture_message",
    "current_span",
    "current_transaction",
    "flush",
    "is_running",
    "outgoing_headers",
    "start_span",
    "start_transaction",
]
