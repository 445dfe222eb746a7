"""PostgreSQL, from Debian's package or any other on the path; its superuser ``postgres`` needs no password."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import ClassVar

from integration.services import Service


def _as_postgres(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *command]


class Postgres(Service):
    """A cluster with the database ``postgres``."""

    commands: ClassVar = ("postgres", "initdb", "pg_isready")
    stop = signal.SIGINT

    @property
    def dsn(self) -> str:
        """How libpq reaches it."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        """Make the cluster."""
        command = _as_postgres("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N")
        subprocess.run([*command, "-E", "UTF8", "--no-locale"], cwd="/", check=True, capture_output=True)

    def ready(self) -> bool:
        """Whether it answers: it accepts connections before it does."""
        command = ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "2"]
        return subprocess.run(command, check=False).returncode == 0

    def command(self) -> list[str]:
        """In the foreground; what it promises of a power failure takes time."""
        where = ("-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder))
        return _as_postgres("postgres", *where, "-c", "fsync=off", "-c", "wal_level=logical")
