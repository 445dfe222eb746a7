"""psycopg2: a span per statement and per connection; connections and cursors are C types, made through subclasses."""

from __future__ import annotations

from apm_run.conventions import database, libpq
from apm_run.instrument.vocabulary import Call, Factory, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def place(connection: Any) -> database.Place:
    """Where a connection leads; a closed one does not say."""
    info = getattr(connection, "info", None)
    return database.NOWHERE if info is None else database.Place(info.dbname, info.user, info.host, info.port)


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute`` or ``executemany``."""
    return database.executed("postgresql", libpq.text(call.argument(1, "query")), place(call.instance.connection))


def procedure(call: Call) -> SpanDraft | None:
    """The span of a ``callproc``."""
    return database.procedure("postgresql", call.argument(1, "procname"), place(call.instance.connection))


def copy_expert(call: Call) -> SpanDraft | None:
    """The span of a ``copy_expert``."""
    return database.executed("postgresql", libpq.text(call.argument(1, "sql")), place(call.instance.connection))


def copy_from(call: Call) -> SpanDraft | None:
    """The span of a ``copy_from(file, table)``."""
    table = database.text(call.argument(2, "table"))
    return database.executed("postgresql", table and f"COPY {table} FROM stdin", place(call.instance.connection))


def copy_to(call: Call) -> SpanDraft | None:
    """The span of a ``copy_to(file, table)``."""
    table = database.text(call.argument(2, "table"))
    return database.executed("postgresql", table and f"COPY {table} TO stdout", place(call.instance.connection))


def connect(call: Call) -> SpanDraft:
    """The span of a ``connect``."""
    return database.connect("psycopg2", "postgresql", libpq.place(call.argument(0, "dsn"), call.kwargs))


def connected(call: Call, result: object, draft: SpanDraft) -> None:
    """Where the connection leads."""
    if not isinstance(result, BaseException):
        database.connected(draft, place(result))


_CURSOR = Factory(
    "cursor",
    "psycopg2._psycopg:cursor",
    position=2,
    keyword="cursor_factory",
    default="cursor_factory",
    targets=(
        Target("execute", statement, observe=database.rows),
        Target("executemany", statement, observe=database.rows),
        Target("callproc", procedure),
        Target("copy_expert", copy_expert),
        Target("copy_from", copy_from),
        Target("copy_to", copy_to),
    ),
)

INSTRUMENTATION = Instrumentation(
    library="psycopg2",
    versions="2.8 to 2.9",
    targets=(
        Factory(
            "psycopg2._psycopg:_connect",
            "psycopg2._psycopg:connection",
            position=1,
            keyword="connection_factory",
            default="",
            names=("psycopg2:_connect",),
            makes=(_CURSOR,),
        ),
        Target("psycopg2:connect", connect, observe=connected),
    ),
)
