"""psycopg 3: a span per statement, stream and COPY, and per connection; the same for its asynchronous classes."""

from __future__ import annotations

from apm_run.conventions import database, libpq
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def place(connection: Any) -> database.Place:
    """Where a connection leads; a closed one does not say."""
    server = getattr(connection, "pgconn", None)
    if server is None or server.status != 0:
        return database.NOWHERE
    port = server.port
    return database.Place(server.db, server.user, server.host, int(port) if port.isdigit() else None)


def statement(call: Call) -> SpanDraft | None:
    """The span of an ``execute``, ``executemany`` or ``stream``."""
    return database.executed("postgresql", libpq.text(call.argument(1, "query")), place(call.instance.connection))


def copy(call: Call) -> SpanDraft | None:
    """The span of a ``copy``."""
    return database.executed("postgresql", libpq.text(call.argument(1, "statement")), place(call.instance.connection))


def connect(call: Call) -> SpanDraft:
    """The span of a ``Connection.connect``."""
    return database.connect("psycopg", "postgresql", libpq.place(call.argument(1, "conninfo"), call.kwargs))


def connected(call: Call, result: object, draft: SpanDraft) -> None:
    """Where the connection leads."""
    if not isinstance(result, BaseException):
        database.connected(draft, place(result))


def _cursor(path: str) -> tuple[Target, ...]:
    return (
        Target(f"{path}.execute", statement, observe=database.rows),
        Target(f"{path}.executemany", statement, observe=database.rows),
        Target(f"{path}.stream", statement),
        Target(f"{path}.copy", copy),
    )


#: The cursors on the server, whose execute is their own: in the releases before 3.3, and since.
_SERVER = (
    "psycopg.server_cursor:ServerCursor",
    "psycopg.server_cursor:AsyncServerCursor",
    "psycopg._server_cursor:ServerCursor",
    "psycopg._server_cursor_async:AsyncServerCursor",
)

INSTRUMENTATION = Instrumentation(
    library="psycopg",
    versions="3.0 to 3.3",
    targets=(
        *_cursor("psycopg.cursor:Cursor"),
        *_cursor("psycopg.cursor_async:AsyncCursor"),
        *(Target(f"{path}.execute", statement) for path in _SERVER),
        Target("psycopg.connection:Connection.connect", connect, observe=connected),
        Target("psycopg.connection_async:AsyncConnection.connect", connect, observe=connected),
    ),
)
