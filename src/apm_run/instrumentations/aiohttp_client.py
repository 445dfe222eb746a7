"""aiohttp's client: a span per request of a session, its redirects included; each of their messages has the headers."""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def request(call: Call) -> SpanDraft | None:
    """The span of a request."""
    from yarl import URL

    url, base = call.argument(2, "str_or_url"), getattr(call.instance, "_base_url", None)
    asked = str(url) if type(url) is URL else url
    if type(base) is URL:
        asked = http_client.joined(str(base), asked)
    return http_client.request(call.argument(1, "method"), asked)


def response(call: Call, result: Any, draft: SpanDraft) -> None:
    """The status of the last response, and the URL of the first one: with its parameters."""
    http_client.response(draft, getattr(result, "status", None))
    if not isinstance(result, BaseException):
        http_client.located(draft, str((result.history or (result,))[0].url))


def message(call: Call) -> SpanDraft | None:
    """The headers of a message are no span of their own."""
    return None


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The message's headers and the trace context."""
    found = http_client.with_headers(call.argument(1, "headers"), add)
    return None if found is None else call.replaced(1, "headers", found)


INSTRUMENTATION = Instrumentation(
    library="aiohttp",
    versions="3.8 to 3.14",
    targets=(
        Target("aiohttp.client:ClientSession._request", request, observe=response),
        Target("aiohttp.client_reqrep:ClientRequest.update_headers", message, rewrite=headers),
    ),
)
