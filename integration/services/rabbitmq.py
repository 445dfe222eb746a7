"""RabbitMQ, of Debian's packages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from integration.services import Service, free_port


class RabbitMQ(Service):
    """A broker with the default user; ``url`` is what a client is given."""

    commands = ("rabbitmq-server",)
    patience = 20.0

    def __init__(self) -> None:
        super().__init__()
        self._distribution, self._mapper = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]  # the wrapper on the path wants its own user

    def environment(self) -> dict[str, str]:
        (self.folder / "plugins").write_text("[].\n")
        return {
            "HOME": str(self.folder),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_NODENAME": f"apm{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def clean(self) -> None:
        """The port mapper that the broker has left behind, known by the port that is ours."""
        wanted = f"ERL_EPMD_PORT={self._mapper}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if b"epmd" in (process / "cmdline").read_bytes() and wanted in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue
