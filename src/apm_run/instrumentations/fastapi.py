"""FastAPI: Starlette with routes of its own; those of included routers know their path only in the request."""

from __future__ import annotations

from apm_run.conventions import asgi, http_server
from apm_run.instrument.vocabulary import Annotate, Call, Instrumentation, Serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.model import CurrentTransaction


def route(call: Call, transaction: CurrentTransaction) -> None:
    """Name the request by its route, with the prefixes that its router was included under (0.137 and later)."""
    scope = call.argument(1, "scope")
    included = (scope.get("fastapi") or {}).get("effective_route_context")
    if included is None or included.original_route is not call.instance:
        included = call.instance
    http_server.name(transaction, scope["method"], included.path_format)


def selected(call: Call, transaction: CurrentTransaction) -> None:
    """The same for what is no ``APIRoute``, files of a front end say; mounts are Starlette's (0.145 and later)."""
    scope, path = call.argument(0, "scope"), call.argument(1, "path")
    if scope["type"] == "http" and path and not call.argument(2, "mount"):
        http_server.name(transaction, scope["method"], path)


INSTRUMENTATION = Instrumentation(
    library="fastapi",
    versions="0.100 to 0.165",
    targets=(
        Serve("fastapi.applications:FastAPI.__call__", asgi, framework="fastapi"),
        Annotate("fastapi.routing:APIRoute.handle", route),
        Annotate("fastapi.routing:_route_selected", selected),
    ),
)
