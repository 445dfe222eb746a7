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


def copy(call: Call) -> SpanDraft | None:
    """The span of a ``copy_from(file, table)`` or ``copy_to(file, table)``."""
    table = database.text(call.argument(2, "table"))
    way = "FROM stdin" if call.function.__name__ == "copy_from" else "TO stdout"
    return database.executed("postgresql", table and f"COPY {table} {way}", place(call.instance.connection))


DRIVER = libpq.Driver("psycopg2", place, first=0)

_CURSOR = Factory(
    "cursor",
    "psycopg2._psycopg:cursor",
    position=2,
    keyword="cursor_factory",
    default="cursor_factory",
    targets=(
        Target("execute", DRIVER.statement("query"), observe=database.rows),
        Target("executemany", DRIVER.statement("query"), observe=database.rows),
        Target("callproc", DRIVER.procedure),
        Target("copy_expert", DRIVER.statement("sql")),
        Target("copy_from", copy),
        Target("copy_to", copy),
    ),
)
_CONNECT = Factory(
    "psycopg2._psycopg:_connect",
    "psycopg2._psycopg:connection",
    position=1,
    keyword="connection_factory",
    default="",
    names=("psycopg2:_connect",),
    makes=(_CURSOR,),
)

INSTRUMENTATION = Instrumentation(
    library="psycopg2",
    versions="2.8 to 2.9",
    targets=(_CONNECT, Target("psycopg2:connect", DRIVER.connect, observe=DRIVER.connected)),
)
