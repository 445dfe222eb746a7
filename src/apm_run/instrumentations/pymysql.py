"""PyMySQL: a span per statement of a cursor and per connection; MariaDB where the server says that it is."""

from __future__ import annotations

from apm_run.conventions import database, mysql
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target


def facts(call: Call) -> tuple[str, database.Place]:
    """What the server of a cursor, or of a connection itself, is and where; a closed cursor has none."""
    return mysql.server(getattr(call.instance, "connection", call.instance))


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute``, an ``executemany`` or a connection's ``query``."""
    kind, place = facts(call)
    return database.executed(kind, database.query(call, "query", "sql"), place)


def executed(call: Call, result: object, draft: SpanDraft) -> None:
    """The rows that it has changed, or the database."""
    database.rows(call, result, draft)
    if draft.name == "USE" and not isinstance(result, BaseException):
        mysql.use(call.instance.connection, draft)


def procedure(call: Call) -> SpanDraft | None:
    """The span of a ``callproc``."""
    kind, place = facts(call)
    return database.procedure(kind, call.argument(1, "procname"), place)


def connect(call: Call) -> SpanDraft:
    """The span of a ``connect``."""
    return database.connect("pymysql", *facts(call))


def connected(call: Call, result: object, draft: SpanDraft) -> None:
    """Which server it is."""
    draft.subtype = facts(call)[0]


INSTRUMENTATION = Instrumentation(
    library="pymysql",
    versions="0.9 to 1.2",
    targets=(
        Target("pymysql.cursors:Cursor.execute", statement, observe=executed),
        Target("pymysql.cursors:Cursor.executemany", statement, observe=database.rows),
        Target("pymysql.cursors:Cursor.callproc", procedure),
        Target("pymysql.connections:Connection.query", statement),
        Target("pymysql.connections:Connection.connect", connect, observe=connected),
    ),
)
