"""uvicorn, set up for the receiver."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from apm_run.local.api import Api
from apm_run.local.app import application
from apm_run.local.intake import Intake, Observer
from apm_run.local.store import Store
from apm_run.local.tally import Tally

if TYPE_CHECKING:
    import socket


class _Server(uvicorn.Server):
    """A server that tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def server(
    store: Store, tally: Tally, observer: Observer | None, port: int, ready: Callable[[], None]
) -> uvicorn.Server:
    """Return a server for ``store``; ``ready`` is called as soon as it answers."""
    # The launcher's stderr is the program's: what clients send wrong is answered, not printed.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        application(Intake(store, tally, observer), Api(store, tally), port),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=45,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=1024 * 1024,
    )
    return _Server(config, ready)
