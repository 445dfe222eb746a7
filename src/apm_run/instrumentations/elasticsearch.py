"""elasticsearch: a span per request of the transport, whatever nodes it takes to get an answer.

Releases 8 and 9 stand on elastic_transport; 7 has a transport and connections of its own.
"""

from __future__ import annotations

from apm_run.conventions import elasticsearch, http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target, Within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.config import Settings


def request(call: Call) -> SpanDraft | None:
    """The span of a ``perform_request(method, target)``."""
    target = call.argument(2, "target")
    return elasticsearch.request(call.argument(1, "method"), call.kwargs.get("url") if target is None else target)


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context beside its headers, whatever HTTP client the nodes have."""
    given = call.argument(3, "headers")
    found = http_client.with_headers(None if type(given).__name__ == "DefaultType" else given, add)
    return None if found is None else call.replaced(3, "headers", found)


def response(call: Call, result: Any, draft: SpanDraft) -> None:
    """The status and the node that has answered; 7 returns the body alone."""
    meta = getattr(result, "meta", None)
    if meta is not None:
        elasticsearch.located(draft, meta.node)
        elasticsearch.answered(draft, meta.status, meta.headers)


def attempt(call: Call, result: Any, draft: SpanDraft, settings: Settings) -> None:
    """One node's ``perform_request(method, target, body)``."""
    elasticsearch.sent(draft, call.instance.config, call.argument(2, "target"), call.argument(3, "body"), settings)


def attempt_7(call: Call, result: Any, draft: SpanDraft, settings: Settings) -> None:
    """One connection's ``perform_request(method, url, params, body)``; it raises what is no success."""
    if elasticsearch.sent(draft, call.instance, call.argument(2, "url"), call.argument(4, "body"), settings):
        if type(result) is tuple:
            elasticsearch.answered(draft, result[0], result[1])
        else:
            elasticsearch.answered(draft, getattr(result, "status_code", None), None)


_TRANSPORTS = (
    "elastic_transport._transport:Transport",
    "elastic_transport._async_transport:AsyncTransport",
    "elasticsearch.transport:Transport",
    "elasticsearch._async.transport:AsyncTransport",
)
_NODES = (
    "elastic_transport._node._http_urllib3:Urllib3HttpNode",
    "elastic_transport._node._http_requests:RequestsHttpNode",
    "elastic_transport._node._http_aiohttp:AiohttpHttpNode",
    "elastic_transport._node._http_httpx:HttpxAsyncHttpNode",
    "elastic_transport._node._http_httpx:HttpxHttpNode",
)
_CONNECTIONS = (
    "elasticsearch.connection.http_urllib3:Urllib3HttpConnection",
    "elasticsearch.connection.http_requests:RequestsHttpConnection",
    "elasticsearch._async.http_aiohttp:AIOHttpConnection",
)

INSTRUMENTATION = Instrumentation(
    library="elasticsearch",
    versions="7.13 to 9.5",
    targets=(
        *(Target(f"{name}.perform_request", request, rewrite=headers, observe=response) for name in _TRANSPORTS),
        *(Within(f"{name}.perform_request", elasticsearch.SUBTYPE, observe=attempt) for name in _NODES),
        *(Within(f"{name}.perform_request", elasticsearch.SUBTYPE, observe=attempt_7) for name in _CONNECTIONS),
    ),
)
