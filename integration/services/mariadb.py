"""MariaDB, from Debian's package; its superuser ``root`` needs no password, and there is a database ``shop``."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import ClassVar

from integration.services import Service


class MariaDB(Service):
    """A server with an empty database."""

    commands: ClassVar = ("mariadbd", "mariadb-install-db")

    def prepare(self) -> None:
        """Make the data folder; started by root it becomes its own user."""
        (self.folder / "data").mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder / "data", "mysql")
        where = f"--datadir={self.folder / 'data'}"
        options = ("--auth-root-authentication-method=normal", "--skip-test-db")
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self._user(), where, *options], check=True, capture_output=True
        )
        (self.folder / "data" / "shop").mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder / "data" / "shop", "mysql")

    def _user(self) -> tuple[str, ...]:
        return ("--user=mysql",) if os.geteuid() == 0 else ()

    def command(self) -> list[str]:
        """In the foreground, small."""
        return [
            "mariadbd",
            "--no-defaults",
            *self._user(),
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 's.sock'}",
            f"--pid-file={self.folder / 'pid'}",
            "--innodb-buffer-pool-size=16M",
            "--performance-schema=OFF",
        ]
