"""urllib3: a span per request of a pool manager or a pool, its retries and redirects included.

http.client below it adds the headers; but for HTTP/2, which has a connection of its own.
"""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def managed(call: Call) -> SpanDraft | None:
    """The span of a ``PoolManager.urlopen(method, url)``."""
    return http_client.request(call.argument(1, "method"), call.argument(2, "url"))


def pooled(call: Call) -> SpanDraft | None:
    """The span of an ``HTTPConnectionPool.urlopen(method, url)``, whose URL is without a host."""
    pool = call.instance
    url = http_client.absolute(pool.scheme, pool.host, pool.port, call.argument(2, "url"))
    return http_client.request(call.argument(1, "method"), url)


def requested(call: Call) -> SpanDraft | None:
    """The span of a ``request(method, url)`` of a connection."""
    connection = call.instance
    url = http_client.absolute("https", connection.host, connection.port, call.argument(2, "url"))
    return http_client.request(call.argument(1, "method"), url)


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context beside its headers."""
    found = http_client.with_headers(call.argument(4, "headers"), add)
    return None if found is None else call.replaced(4, "headers", found)


def response(call: Call, result: object, draft: SpanDraft) -> None:
    """The status."""
    http_client.response(draft, getattr(result, "status", None))


INSTRUMENTATION = Instrumentation(
    library="urllib3",
    versions="1.26, 2.0 to 2.8",
    targets=(
        Target("urllib3.poolmanager:PoolManager.urlopen", managed, observe=response),
        Target("urllib3.connectionpool:HTTPConnectionPool.urlopen", pooled, observe=response),
        Target("urllib3.http2.connection:HTTP2Connection.request", requested, rewrite=headers),
    ),
)
