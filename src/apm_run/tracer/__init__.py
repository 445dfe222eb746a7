"""Begin and end of transactions, spans and errors, and which of them is the current one."""

from apm_run.tracer.span import Span, Transaction, settled
from apm_run.tracer.tracer import Tracer, current

__all__ = ["Span", "Tracer", "Transaction", "current", "settled"]
