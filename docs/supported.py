"""The page of supported libraries, from the instrumentation files that the registry names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from apm_run.instrument import registry
from apm_run.instrument.vocabulary import (
    Annotate,
    Carry,
    Deliver,
    Exchange,
    Factory,
    Greenlet,
    Receive,
    Serve,
    Subclass,
    Subscribe,
    Target,
)

_HEAD = """\
# Supported libraries

<!-- Written by `make docs` from src/apm_run/instrumentations/. -->

Every library below is traced as soon as the program imports it. The releases are those that its tests have been run
with (`make integration-full` writes [the results](tested-versions.md)); no other release is refused: what has moved
there is left alone, and `apm-run doctor` says so. Each can be switched off by its name in `disable_instrumentations`.

| Library | Releases | Captured | How |
|---|---|---|---|
"""

#: What a file captures, by the words that it says it with.
_CAPTURED: dict[str, Callable[[object], bool]] = {
    "transactions": lambda target: isinstance(target, (Serve, Receive, Deliver)) or _entry(target),
    "spans": lambda target: isinstance(target, (Target, Exchange, Factory, Receive)) and not _entry(target),
    "names and errors of requests": lambda target: isinstance(target, (Annotate, Subscribe)),
    "the current span goes along": lambda target: isinstance(target, (Carry, Greenlet)),
}

_FOOT = """
A library that is not listed is traced as far as it stands on one that is: SQLAlchemy, Django's ORM and aiosqlite by
the driver below them, boto3 by botocore, and any HTTP client by `http.client`, urllib3 or aiohttp.

A package can bring its own: a file `apm_run_instrumentations/<module>.py` beside it, with an `INSTRUMENTATION` as the
built-in ones have.
"""


def page() -> str:
    """Return the page of supported libraries."""
    files = sorted({file for files in registry.BUILT_IN.values() for file in files})
    return _HEAD + "".join(sorted(map(_row, files), key=str.lower)) + _FOOT


def _row(file: str) -> str:
    found = registry.load(file)
    said = (sys.modules[f"apm_run.instrumentations.{file}"].__doc__ or "").strip()
    # The file's own words, without the library's name before them.
    words = re.sub(r"^[^: ]{1,40}( and [^: ]+)?: ", "", " ".join(said.split())).replace("``", "`").replace("|", "\\|")
    words = words[0].upper() + words[1:]
    targets = [one for each in found.targets for one in (each.targets if isinstance(each, Subclass) else (each,))]
    captured = [what for what, kind in _CAPTURED.items() if any(map(kind, targets))]
    return f"| {found.library} | {found.versions} | {', '.join(captured)} | {words} |\n"


def _entry(target: object) -> bool:
    return isinstance(target, Target) and target.entry
