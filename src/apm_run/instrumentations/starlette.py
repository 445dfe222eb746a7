"""Starlette: a request is named by the routes and mounts that handle it."""

from __future__ import annotations

from apm_run.conventions import asgi, http_server
from apm_run.instrument.vocabulary import Annotate, Call, Instrumentation, Serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.model import CurrentTransaction


def route(call: Call, transaction: CurrentTransaction) -> None:
    """Name the request by the route that handles it, also where that refuses its method."""
    http_server.name(transaction, call.argument(1, "scope")["method"], call.instance.path_format)


def mount(call: Call, transaction: CurrentTransaction) -> None:
    """Put the mount's path before that of the route within; where nothing routes in there, it is the name."""
    scope = call.argument(1, "scope")
    if scope["type"] != "http":
        return
    path = call.instance.path_format
    if not call.instance.routes:
        http_server.name(transaction, scope["method"], path)
    transaction.route_prefix += path[: -len("/{path}")]


INSTRUMENTATION = Instrumentation(
    library="starlette",
    versions="0.27 to 1.10",
    targets=(
        Serve("starlette.applications:Starlette.__call__", asgi, framework="starlette"),
        Annotate("starlette.routing:Route.handle", route),
        Annotate("starlette.routing:Mount.handle", mount),
    ),
)
