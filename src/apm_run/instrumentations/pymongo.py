"""PyMongo and its asyncio API: a span per command, which its own command monitoring tells of.

A command for which there is no server or no free connection is never sent, and no listener hears of it.
"""

from __future__ import annotations

from apm_run.conventions import mongodb
from apm_run.instrument.vocabulary import Abandon, Call, Callbacks, Failure, Instrumentation, SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.config import Settings

_LISTEN = "pymongo.monitoring:register"
#: Before 4.9, and for both APIs since.
_POOLS = ("pymongo.pool", "pymongo.synchronous.pool", "pymongo.asynchronous.pool")
_TOPOLOGIES = ("pymongo.topology", "pymongo.synchronous.topology", "pymongo.asynchronous.topology")
_KINDS = ("SocketInfo", "Connection", "Connection", "AsyncConnection")
_GIVEN_UP = [f"{pool}:{kind}._raise_connection_failure" for pool, kind in zip((_POOLS[0], *_POOLS), _KINDS)]


def listener(begin: Callable[[Any], None], end: Callable[[Any], None]) -> Any:
    """A listener for commands."""
    from pymongo.monitoring import CommandListener

    hears = {"started": staticmethod(begin), "succeeded": staticmethod(end), "failed": staticmethod(end)}
    return type("Listener", (CommandListener,), {"__module__": __name__, **hears})()


def command(call: Call, settings: Settings) -> SpanDraft | None:
    """The span of a command that has started."""
    (event,) = call.args
    return mongodb.command(event.command_name, event.command, event.database_name, event.connection_id, settings)


def ended(call: Call, result: Any, draft: SpanDraft) -> None:
    """How it went."""
    if hasattr(result, "failure"):
        mongodb.failed(draft, result.failure)
    else:
        mongodb.answered(draft, result.reply)


def selection(call: Call) -> SpanDraft:
    """The span of a search for a server that has found none."""
    seeds = call.instance._settings.seeds
    return mongodb.unreachable(next(iter(seeds)) if len(seeds) == 1 else None)


def connection(call: Call) -> SpanDraft | None:
    """The span of a connection that could not be had; those that watch the servers are no work of the program's."""
    pool = call.instance
    watching = getattr(pool, "is_sdam", False) or not getattr(pool, "handshake", True)
    return None if watching else mongodb.unreachable(pool.address)


INSTRUMENTATION = Instrumentation(
    library="pymongo",
    versions="3.12 to 4.20",
    targets=(
        Callbacks(_LISTEN, listener, command, key=lambda event: event.request_id, observe=ended),
        *(
            # A connection is given up for what no event tells of: a task was cancelled, a thread interrupted.
            Abandon(path, _LISTEN, lambda call: not isinstance(call.argument(1, "error"), Exception))
            for path in _GIVEN_UP
        ),
        *(Failure(f"{module}:Topology._select_servers_loop", selection) for module in _TOPOLOGIES),
        Failure("pymongo.pool:Pool._get_socket", connection),
        *(Failure(f"{module}:Pool._get_conn", connection) for module in _POOLS),
    ),
)
