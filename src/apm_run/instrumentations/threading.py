"""threading: a thread belongs to the span that was current where it was started."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Carry, Instrumentation

INSTRUMENTATION = Instrumentation(
    library="threading",
    versions="CPython 3.9 to 3.13",
    targets=(
        Carry("threading:_start_new_thread", 0),  # to 3.12
        Carry("threading:_start_joinable_thread", 0),  # from 3.13
    ),
)
