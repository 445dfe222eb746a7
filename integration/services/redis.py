"""Redis: Debian's server, alone, watched by a sentinel, or as the one node of a cluster."""

from __future__ import annotations

import subprocess
import time

from integration.services import Service, free_port


class Redis(Service):
    """A server that keeps nothing."""

    commands = ("redis-server",)
    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """As real-parts.md has it; on a socket of Unix as well."""
        here = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--unixsocket", self.socket)
        return ["redis-server", *here, "--save", "", "--appendonly", "no", *self.options]

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return str(self.folder / "redis.sock")


class Cluster(Redis):
    """A cluster of one node, which has all slots."""

    def __init__(self) -> None:
        super().__init__()
        self.options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        self.options += ("--cluster-announce-ip", "127.0.0.1")

    def start(self) -> None:
        """It answers at once, and takes commands when it has found that nothing is missing."""
        super().start()
        self._say("cluster", "addslotsrange", "0", "16383")
        deadline = time.monotonic() + 30
        while "cluster_state:ok" not in self._say("cluster", "info"):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster does not come up")
            time.sleep(0.05)

    def _say(self, *words: str) -> str:
        command = ("redis-cli", "-p", str(self.port), *words)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


class Sentinel(Service):
    """A sentinel that watches a server under the name ``mymaster``."""

    commands = ("redis-server",)

    def __init__(self, watched: Redis) -> None:
        super().__init__()
        self.watched = watched

    def prepare(self) -> None:
        """It writes what it learns into its own configuration."""
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {self.watched.port} 1\n"
        )

    def command(self) -> list[str]:
        """Debian's server is the sentinel too."""
        return ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]
