"""aiosqlite: what its thread does for a call belongs to the span of the call; the spans are those of sqlite3."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Carry, Instrumentation

INSTRUMENTATION = Instrumentation(
    library="aiosqlite",
    versions="0.17 to 0.22",
    targets=(Carry("aiosqlite.core:Connection._execute", 1),),
)
