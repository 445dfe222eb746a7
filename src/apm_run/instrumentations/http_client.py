"""http.client: a span from the request line to the response's headers, whoever uses the connection.

urllib.request, urllib3, requests and many others stand on it: below their span it only adds the headers.
"""

from __future__ import annotations

from apm_run.conventions import http_client
from apm_run.instrument.vocabulary import Call, Exchange, Instrumentation, SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def request(call: Call) -> SpanDraft | None:
    """The span of a ``putrequest``; through a tunnel the host behind it is asked."""
    connection = call.instance
    scheme = "https" if getattr(connection, "default_port", None) == 443 else "http"
    tunnel = getattr(connection, "_tunnel_host", None)
    host = tunnel or getattr(connection, "host", None)
    port = getattr(connection, "_tunnel_port" if tunnel else "port", None)
    target = call.argument(2, "url") or "/"
    return http_client.request(call.argument(1, "method"), http_client.absolute(scheme, host, port, target))


def headers(call: Call, add: Mapping[str, str]) -> None:
    """Put the trace context behind the headers that the connection has gathered."""
    connection = call.instance
    gathered = getattr(connection, "_buffer", None)
    started = getattr(connection, "_HTTPConnection__state", None) == "Request-started"
    if started and isinstance(gathered, list):
        http_client.add_lines(gathered, add)


def response(call: Call, result: object, draft: SpanDraft) -> None:
    """The status."""
    http_client.response(draft, getattr(result, "status", None))


INSTRUMENTATION = Instrumentation(
    library="http.client",
    versions="CPython 3.9 to 3.13",
    targets=(
        Exchange(
            "http.client:HTTPConnection.putrequest",
            request,
            inject="endheaders",
            finish="getresponse",
            abandon="close",
            rewrite=headers,
            observe=response,
        ),
    ),
)
