"""MongoDB, by an emulator: SecantusDB speaks its protocol; it is not the product."""

from __future__ import annotations

from integration.services import Service, packaged


class MongoDB(Service):
    """A replica set of one, as the emulator says."""

    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """As real-parts.md has it."""
        path = str(self.folder / "db")
        return [
            packaged("secantusd-py"),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--storage-path",
            path,
            *self.options,
        ]
