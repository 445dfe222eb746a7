"""httpx: a span per ``send`` of a client, its redirects included; the transport below it sends the headers."""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def request(call: Call) -> SpanDraft | None:
    """The span of a ``send(request)``."""
    asked = call.argument(1, "request")
    url = getattr(asked, "url", None)
    return None if url is None else http_client.request(getattr(asked, "method", None), str(url))


def transported(call: Call) -> SpanDraft | None:
    """A transport's call is no span of its own."""
    return None


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with a copy of its request that has the trace context; the program's request stays as it is."""
    from httpx import Request

    asked = call.argument(1, "request")
    found = http_client.with_headers(asked.headers, add) if isinstance(asked, Request) else None
    if found is None:
        return None
    # Not copy.copy(): a request leaves its stream and its extensions out of its copies.
    copied = object.__new__(type(asked))
    copied.__dict__.update(asked.__dict__)
    copied.headers = found
    return call.replaced(1, "request", copied)


def response(call: Call, result: object, draft: SpanDraft) -> None:
    """The status."""
    http_client.response(draft, getattr(result, "status_code", None))


INSTRUMENTATION = Instrumentation(
    library="httpx",
    versions="0.23 to 0.28",
    targets=(
        Target("httpx._client:Client.send", request, observe=response),
        Target("httpx._client:AsyncClient.send", request, observe=response),
        Target("httpx._transports.default:HTTPTransport.handle_request", transported, rewrite=headers),
        Target("httpx._transports.default:AsyncHTTPTransport.handle_async_request", transported, rewrite=headers),
    ),
)
