"""Run any Python program under Elastic APM, with no code change; and the API for programs that want to say more.

The public API is loaded when one of its names is first used: importing a submodule runs none of it.
"""

from __future__ import annotations

from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.api import (
        Span,
        SpanStarter,
        Transaction,
        TransactionStarter,
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

__all__ = [
    "Span",
    "SpanStarter",
    "Transaction",
    "TransactionStarter",
    "__version__",
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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from apm_run import api

    found = globals()[name] = getattr(api, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
