"""Events as they are sent, read back."""

from __future__ import annotations

import json

from apm_run.intake import encode


def transaction(ended, spans):
    """The event of an ended transaction."""
    return _event("transaction", encode.transaction_line(ended, spans))


def span(ended, stacktrace=None):
    """The event of an ended span."""
    return _event("span", encode.span_line(ended, stacktrace))


def _event(kind, line):
    assert line.endswith(b"}\n")
    (found,) = json.loads(line).items()
    assert found[0] == kind
    return found[1]
