"""requests: a span per ``Session.send``, its redirects included; urllib3 below it adds the headers."""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target


def request(call: Call) -> SpanDraft | None:
    """The span of a ``send(request)``."""
    prepared = call.argument(1, "request")
    return http_client.request(getattr(prepared, "method", None), getattr(prepared, "url", None))


def response(call: Call, result: object, draft: SpanDraft) -> None:
    """The status."""
    http_client.response(draft, getattr(result, "status_code", None))


INSTRUMENTATION = Instrumentation(
    library="requests",
    versions="2.25 to 2.34",
    targets=(Target("requests.sessions:Session.send", request, observe=response),),
)
