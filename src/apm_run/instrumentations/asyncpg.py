"""asyncpg: a span per statement, prepared or not, per cursor, COPY and connection."""

from __future__ import annotations

from apm_run.conventions import database, libpq
from apm_run.instrument.vocabulary import Call, Failure, Instrumentation, Quiet, SpanDraft, Target


def statement(call: Call) -> SpanDraft | None:
    """The span of what a connection executes or copies."""
    return database.executed("postgresql", database.query(call, "query", "command"), libpq.reached(call.instance))


def prepared(call: Call) -> SpanDraft | None:
    """The span of an execution of a prepared statement, or of a cursor's."""
    return database.executed(
        "postgresql", database.text(call.instance._query), libpq.reached(call.instance._connection)
    )


def copy_records(call: Call) -> SpanDraft | None:
    """The span of a ``copy_records_to_table``."""
    table, schema = database.text(call.argument(1, "table_name")), call.kwargs.get("schema_name")
    name = f'"{schema}"."{table}"' if type(schema) is str else f'"{table}"'
    return database.executed("postgresql", table and f"COPY {name} FROM STDIN", libpq.reached(call.instance))


DRIVER = libpq.Driver("asyncpg", libpq.reached, first=0)

INSTRUMENTATION = Instrumentation(
    library="asyncpg",
    versions="0.22 to 0.32",
    targets=(
        Target("asyncpg.connection:Connection.execute", statement, observe=libpq.status),
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
