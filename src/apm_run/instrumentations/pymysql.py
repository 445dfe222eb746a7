"""PyMySQL: a span per statement of a cursor and per connection; MariaDB where the server says that it is."""

from __future__ import annotations

from apm_run.conventions import database
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def subtype(connection: Any) -> str:
    """What the server has said it is."""
    version = getattr(connection, "server_version", None)
    return "mariadb" if type(version) is str and "MariaDB" in version else "mysql"


def place(connection: Any) -> database.Place:
    """Where a connection leads; a closed cursor has none."""
    if connection is None:
        return database.NOWHERE
    host = None if connection.unix_socket else connection.host
    return database.Place(connection.db, connection.user, host, connection.port)


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute`` or ``executemany``."""
    connection = call.instance.connection
    return database.executed(subtype(connection), database.text(call.argument(1, "query")), place(connection))


def procedure(call: Call) -> SpanDraft | None:
    """The span of a ``callproc``."""
    connection = call.instance.connection
    return database.procedure(subtype(connection), call.argument(1, "procname"), place(connection))


def query(call: Call) -> SpanDraft | None:
    """The span of a connection's own ``query``."""
    return database.executed(subtype(call.instance), database.text(call.argument(1, "sql")), place(call.instance))


def connect(call: Call) -> SpanDraft:
    """The span of a ``connect``."""
    return database.connect("pymysql", "mysql", place(call.instance))


def connected(call: Call, result: object, draft: SpanDraft) -> None:
    """Which server it is."""
    draft.subtype = subtype(call.instance)


INSTRUMENTATION = Instrumentation(
    library="pymysql",
    versions="0.9 to 1.2",
    targets=(
        Target("pymysql.cursors:Cursor.execute", statement, observe=database.rows),
        Target("pymysql.cursors:Cursor.executemany", statement, observe=database.rows),
        Target("pymysql.cursors:Cursor.callproc", procedure),
        Target("pymysql.connections:Connection.query", query),
        Target("pymysql.connections:Connection.connect", connect, observe=connected),
    ),
)
