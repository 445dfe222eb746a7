"""Limits of the intake protocol, for both directions (spec.md section 2).

Lengths are counted in Unicode code points, as the server counts them, so ``len()`` is the right measure.
"""

from __future__ import annotations

#: Keyword strings: a longer one makes the server reject the whole event (in metadata: the whole request).
KEYWORD = 1024
#: Long strings: bodies, database statements, messages.
LONG = 10_000
#: ``dropped_spans_stats[].service_target_type`` and ``..._name``.
TARGET = 512
#: Entries of ``dropped_spans_stats`` (spec.md section 20.4).
DROPPED_SPANS_STATS = 128
#: Bytes of one line, its newline included, before compression (300 KiB).
MAX_EVENT_SIZE = 307_200
#: Errors listed in one answer; the others are only counted.
MAX_ERRORS = 5

_ELLIPSIS = "\u2026"


def cut(value: str, limit: int = KEYWORD) -> str:
    """Return ``value`` cut to ``limit`` code points (1 or more), the last one kept being U+2026."""
    if len(value) <= limit:
        return value
    return value[: limit - 1] + _ELLIPSIS
