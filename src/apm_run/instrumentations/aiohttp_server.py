"""aiohttp's server: a transaction per request, named by its resource; a WebSocket is none."""

from __future__ import annotations

import sys

from apm_run.conventions import http_server, native
from apm_run.instrument.vocabulary import Annotate, Call, Claim, Instrumentation, Serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import CurrentTransaction


def request(call: Call) -> native.Incoming | None:
    """The request; what could not be parsed is a stand-in for one."""
    from aiohttp.streams import EmptyStreamReader
    from aiohttp.web_protocol import ERROR

    asked, transport = call.argument(1, "request"), call.instance.transport
    message, source = asked._message, asked._payload
    if message is ERROR:
        return None
    return native.Incoming(
        message.method,
        asked.rel_url.path,
        message.path,
        message.raw_headers,
        scheme=asked.scheme,
        version=f"{message.version.major}.{message.version.minor}",
        peer=transport and transport.get_extra_info("peername"),
        server=transport and transport.get_extra_info("sockname"),
        source=None if isinstance(source, EmptyStreamReader) else source,
    )


def response(answered: Any) -> native.Outgoing:
    """The response, and whether the client has gone meanwhile."""
    found, reset = answered
    return native.Outgoing(found.status, found.headers.items(), finished=not reset)


def route(call: Call, transaction: CurrentTransaction, match: Any) -> None:
    """Name the request by the resource that was found, with the prefixes of the applications around it."""
    resource = match.route.resource
    if resource is not None:
        http_server.name(transaction, call.argument(1, "request").method, resource.canonical)


def head(call: Call, transaction: CurrentTransaction) -> None:
    """Status and headers are final now."""
    native.head(transaction, native.Outgoing(call.instance.status, call.instance.headers.items()))


def unhandled(call: Call, transaction: CurrentTransaction) -> None:
    """A handler has raised; of a time-out only its context tells."""
    transport = call.instance.transport
    connected = transport is not None and not transport.is_closing()
    native.unhandled(transaction, call.argument(3, "exc") or sys.exc_info()[1], connected)


def read(call: Call, transaction: CurrentTransaction, data: bytes) -> None:
    """A piece of a body, which may be that of the request."""
    native.read(transaction, call.instance, data, call.instance._cursor)


INSTRUMENTATION = Instrumentation(
    library="aiohttp",
    versions="3.8 to 3.14",
    targets=(
        Claim("aiohttp.web:run_app"),
        Claim("aiohttp.web_runner:BaseSite.start"),
        Serve(
            "aiohttp.web_protocol:RequestHandler._handle_request",
            native.Server(request, response),
            framework="aiohttp",
        ),
        Annotate("aiohttp.web_protocol:RequestHandler.handle_error", unhandled),
        Annotate("aiohttp.web_urldispatcher:UrlDispatcher.resolve", route, after=True),
        Annotate("aiohttp.web_response:StreamResponse._write_headers", head),
        Annotate("aiohttp.streams:StreamReader._read_nowait_chunk", read, after=True),
    ),
)
