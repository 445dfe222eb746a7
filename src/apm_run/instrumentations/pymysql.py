"""PyMySQL: a span per statement of a cursor and per connection; MariaDB where the server says that it is."""

from __future__ import annotations

from apm_run.conventions import database
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The attribute of a connection that holds what a ``USE`` has made the current database: PyMySQL itself forgets it.
_USED = "_apm_run_database"


def facts(call: Call) -> tuple[str, database.Place]:
    """What the server of a cursor, or of a connection itself, is and where; a closed cursor has none."""
    connection: Any = getattr(call.instance, "connection", call.instance)
    if connection is None:
        return "mysql", database.NOWHERE
    version = getattr(connection, "server_version", None)
    kind = "mariadb" if type(version) is str and "MariaDB" in version else "mysql"
    known = getattr(connection, "__dict__", {}).get
    host = None if known("unix_socket") else known("host")
    return kind, database.Place(known(_USED, known("db")), known("user"), host, known("port"))


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute``, an ``executemany`` or a connection's ``query``."""
    kind, place = facts(call)
    query = call.args[1] if len(call.args) > 1 else call.kwargs.get("query", call.kwargs.get("sql"))
    return database.executed(kind, database.text(query), place)


def executed(call: Call, result: object, draft: SpanDraft) -> None:
    """The rows that it has changed, or the database."""
    database.rows(call, result, draft)
    if draft.name == "USE" and not isinstance(result, BaseException) and draft.db:
        call.instance.connection.__dict__[_USED] = draft.db["statement"][3:].strip(" \n\t;`")


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
