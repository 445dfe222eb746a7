"""sqlite3: a span per statement; its connections and cursors are C types, made through subclasses.

The database is a file: its name is no ``db.instance``, for a dependency per tenant's or per test's file says nothing.
"""

from __future__ import annotations

from apm_run.conventions import database
from apm_run.instrument.vocabulary import Call, Factory, Instrumentation, SpanDraft, Target


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute``, ``executemany`` or ``executescript``."""
    return database.statement("sqlite", call.argument(1, "sql"))


def rows(call: Call, result: object, draft: SpanDraft) -> None:
    """The number of rows that a changing statement affected."""
    if draft.encoded is None:  # one that many spans share changes no rows
        database.affected(draft, getattr(result, "rowcount", None))


_STATEMENTS = tuple(Target(method, statement, observe=rows) for method in ("execute", "executemany", "executescript"))
_CURSOR = Factory("cursor", "_sqlite3:Cursor", position=1, targets=_STATEMENTS)
_MODULES = ("_sqlite3", "sqlite3.dbapi2", "sqlite3")
_NAMES = tuple(f"{module}:connect" for module in _MODULES)

INSTRUMENTATION = Instrumentation(
    library="sqlite3",
    versions="CPython 3.9 to 3.13",
    # Whichever can be waited for: where the C module is built in, its import is not seen.
    targets=tuple(
        Factory(
            f"{module}:connect",
            f"{module}:Connection",
            position=5,
            names=_NAMES,
            makes=(_CURSOR,),
            targets=_STATEMENTS,
        )
        for module in _MODULES
    ),
)
