"""MySQL and MariaDB, which speak the same protocol: what a connection says of its server."""

from __future__ import annotations

from apm_run.conventions import database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import SpanDraft

#: The attribute of a connection that holds what a ``USE`` has made the current database: PyMySQL itself forgets it.
_USED = "_apm_run_database"


def server(connection: Any) -> tuple[str, database.Place]:
    """What the server of a connection is, by its greeting, and where."""
    if connection is None:
        return "mysql", database.NOWHERE
    version = getattr(connection, "server_version", None)
    kind = "mariadb" if type(version) is str and "MariaDB" in version else "mysql"
    known = getattr(connection, "__dict__", {}).get
    host = None if known("unix_socket") else known("host")
    return kind, database.Place(known(_USED, known("db")), known("user"), host, known("port"))


def use(connection: Any, draft: SpanDraft) -> None:
    """Remember which database a ``USE`` has made the current one."""
    if draft.db:
        connection.__dict__[_USED] = draft.db["statement"][3:].strip(" \n\t;`")
