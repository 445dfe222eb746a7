"""urllib.request: a span per ``urlopen`` or opener's ``open``, its redirects included; other schemes are none."""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target


def request(call: Call) -> SpanDraft | None:
    """The span of an ``OpenerDirector.open(fullurl, data)``."""
    asked = call.argument(1, "fullurl")
    if isinstance(asked, str):
        return http_client.request("GET" if call.argument(2, "data") is None else "POST", asked)
    url, method = getattr(asked, "full_url", None), getattr(asked, "get_method", None)
    if url is None or method is None:
        return None
    # The opener puts data that it is given on the request, which then is a POST by default.
    posted = call.argument(2, "data") is not None and getattr(asked, "method", None) is None
    return http_client.request("POST" if posted else method(), url)


def response(call: Call, result: object, draft: SpanDraft) -> None:
    """The status of the response, or of the ``HTTPError`` that was raised."""
    http_client.response(draft, getattr(result, "status", None))


INSTRUMENTATION = Instrumentation(
    library="urllib.request",
    versions="CPython 3.9 to 3.13",
    targets=(Target("urllib.request:OpenerDirector.open", request, observe=response),),
)
