"""asyncpg: a span per statement, prepared or not, per cursor, COPY and connection."""

from __future__ import annotations

from apm_run.conventions import database, libpq
from apm_run.instrument.vocabulary import Call, Failure, Instrumentation, Quiet, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def place(connection: Any) -> database.Place:
    """Where a connection leads."""
    address, parameters = getattr(connection, "_addr", None), getattr(connection, "_params", None)
    host, port = address[:2] if type(address) is tuple else (None, None)
    return database.Place(getattr(parameters, "database", None), getattr(parameters, "user", None), host, port)


def statement(call: Call) -> SpanDraft | None:
    """The span of what a connection executes or copies."""
    query = call.args[1] if len(call.args) > 1 else call.kwargs.get("query", call.kwargs.get("command"))
    return database.executed("postgresql", database.text(query), place(call.instance))


def prepared(call: Call) -> SpanDraft | None:
    """The span of an execution of a prepared statement, or of a cursor's."""
    return database.executed("postgresql", database.text(call.instance._query), place(call.instance._connection))


def copy_records(call: Call) -> SpanDraft | None:
    """The span of a ``copy_records_to_table``."""
    table, schema = database.text(call.argument(1, "table_name")), call.kwargs.get("schema_name")
    name = f'"{schema}"."{table}"' if type(schema) is str else f'"{table}"'
    return database.executed("postgresql", table and f"COPY {name} FROM STDIN", place(call.instance))


def rows(call: Call, result: object, draft: SpanDraft) -> None:
    """The number of rows at the end of a status such as ``INSERT 0 5``."""
    last = result.rpartition(" ")[2] if type(result) is str else ""
    if last.isdecimal():
        database.affected(draft, int(last))


DRIVER = libpq.Driver("asyncpg", place, first=0)

INSTRUMENTATION = Instrumentation(
    library="asyncpg",
    versions="0.22 to 0.32",
    targets=(
        Target("asyncpg.connection:Connection.execute", statement, observe=rows),
        # What fetch, fetchval and fetchrow share; executemany and fetchmany.
        Target("asyncpg.connection:Connection._execute", statement),
        Target("asyncpg.connection:Connection._executemany", statement),
        # A bad statement of prepare() or cursor() gets no further than that.
        Failure("asyncpg.connection:Connection._get_statement", statement),
        Target("asyncpg.connection:Connection._copy_in", statement),
        Target("asyncpg.connection:Connection._copy_out", statement),
        Target("asyncpg.connection:Connection.copy_records_to_table", copy_records),
        Target("asyncpg.connection:connect", DRIVER.connect, observe=DRIVER.connected),
        Target("asyncpg.prepared_stmt:PreparedStatement._PreparedStatement__do_execute", prepared),
        Target("asyncpg.cursor:BaseCursor._bind_exec", prepared),
        Target("asyncpg.cursor:BaseCursor._bind", prepared),
        # What is sent for transaction(), a pool's reset or a codec is no statement of the program.
        Quiet("asyncpg.transaction:Transaction.start"),
        Quiet("asyncpg.transaction:Transaction._Transaction__commit"),
        Quiet("asyncpg.transaction:Transaction._Transaction__rollback"),
        Quiet("asyncpg.connection:Connection.reset"),
        Quiet("asyncpg.connection:Connection._introspect_type"),
    ),
)
