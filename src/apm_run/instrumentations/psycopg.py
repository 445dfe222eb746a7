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


def rows(call: Call, result: object, draft: SpanDraft) -> None:
    """The rows that it has changed, which in a pipeline nobody knows yet."""
    if getattr(call.instance.connection, "_pipeline", None) is None:
        database.rows(call, result, draft)


DRIVER = libpq.Driver("psycopg", place, first=1)
_STATEMENT = DRIVER.statement("query")


def _cursor(path: str) -> tuple[Target, ...]:
    return (
        Target(f"{path}.execute", _STATEMENT, observe=rows),
        Target(f"{path}.executemany", _STATEMENT, observe=rows),
        Target(f"{path}.stream", _STATEMENT),
        Target(f"{path}.copy", DRIVER.statement("statement")),
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
    versions="3.1 to 3.3",
    targets=(
        *_cursor("psycopg.cursor:Cursor"),
        *_cursor("psycopg.cursor_async:AsyncCursor"),
        *(Target(f"{path}.execute", _STATEMENT) for path in _SERVER),
        Target("psycopg.connection:Connection.connect", DRIVER.connect, observe=DRIVER.connected),
        Target("psycopg.connection_async:AsyncConnection.connect", DRIVER.connect, observe=DRIVER.connected),
    ),
)
