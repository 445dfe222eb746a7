"""concurrent.futures: work given to a pool of threads belongs to the span that was current where it was given."""

from __future__ import annotations

from apm_run.instrument.vocabulary import Carry, Instrumentation, Scope

INSTRUMENTATION = Instrumentation(
    library="concurrent.futures",
    versions="CPython 3.9 to 3.13",
    targets=(
        Carry("concurrent.futures.thread:ThreadPoolExecutor.submit", 1),
        Scope("concurrent.futures.thread:_WorkItem.run"),
    ),
)
