"""Every HTTP client: what the program says of its trace stays as it is, and goes out once (spec 14, 15)."""

from __future__ import annotations

import asyncio
import http.client
import urllib.request
from collections.abc import Callable

import httpx
import pytest
import requests
import urllib3
from tests.instrumentations.peer import Peer
from tests.instrumentations.recorder import Recorder, instrumented

from apm_run.tracer import Transaction, current

Pairs = list[tuple[str, str]]


def by_http_client(url: str, headers: Pairs) -> None:
    connection = http.client.HTTPConnection(url.partition("//")[2])
    connection.request("GET", "/", headers=dict(headers))
    connection.getresponse().read()
    connection.close()


def by_put_header(url: str, headers: Pairs) -> None:
    connection = http.client.HTTPConnection(url.partition("//")[2])
    connection.putrequest("GET", "/")
    for name, value in headers:
        connection.putheader(name.encode(), value.encode())
    connection.endheaders()
    connection.getresponse().read()
    connection.close()


def by_urllib_request(url: str, headers: Pairs) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers))) as response:
        response.read()


def by_urllib3(url: str, headers: Pairs) -> None:
    with urllib3.PoolManager() as manager:
        manager.request("GET", url, headers=dict(headers))


def by_urllib3_defaults(url: str, headers: Pairs) -> None:
    with urllib3.PoolManager(headers=dict(headers)) as manager:
        manager.request("GET", url)


def by_requests(url: str, headers: Pairs) -> None:
    requests.get(url, headers=dict(headers))


def by_requests_session(url: str, headers: Pairs) -> None:
    with requests.Session() as session:
        session.headers.update(dict(headers))
        session.get(url)


def by_httpx(url: str, headers: Pairs) -> None:
    httpx.get(url, headers=headers)


def by_httpx_async(url: str, headers: Pairs) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(headers=headers) as client:
            await client.get(url)

    asyncio.run(main())


CLIENTS: list[Callable[[str, Pairs], None]] = [
    *(by_http_client, by_put_header, by_urllib_request, by_urllib3, by_urllib3_defaults),
    *(by_requests, by_requests_session, by_httpx, by_httpx_async),
]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest) -> Callable[[str, Pairs], None]:
    found: Callable[[str, Pairs], None] = request.param
    return found


@pytest.fixture
def recorder():
    with instrumented("http_client", "urllib_request", "urllib3", "requests", "httpx") as recorder:
        yield recorder


def sent(
    recorder: Recorder, transaction: Transaction, server: Peer, client: Callable[[str, Pairs], None], headers: Pairs
):
    """What goes over the wire from a request in a transaction: the values of the three headers."""
    current.set(transaction)
    try:
        client(server.url, headers)
    finally:
        current.set(None)
        recorder.tracer.end_transaction(transaction)
    return [server.sent(name)[-1] for name in ("traceparent", "tracestate", "baggage")]


def begin(recorder: Recorder) -> Transaction:
    return recorder.tracer.begin_transaction("test", "test", baggage={"a": "1", "b": "2"})


def ours(recorder: Recorder, transaction: Transaction) -> str:
    (span,) = recorder.spans
    return f"00-{transaction.trace_id}-{span['id']}-01"


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_14_a_traceparent_of_the_programs_own_stays_alone(recorder, server, client, name):
    found = sent(recorder, begin(recorder), server, client, [(name, "theirs")])
    assert found == [["theirs"], [], ["a=1,b=2"]]


@pytest.mark.parametrize("name", ["tracestate", "TraceState"])
def test_14_a_tracestate_of_the_programs_own_stays_alone(recorder, server, client, name):
    transaction = begin(recorder)
    found = sent(recorder, transaction, server, client, [(name, "theirs=1")])
    assert found == [[ours(recorder, transaction)], ["theirs=1"], ["a=1,b=2"]]


def test_14_both_of_them_stay(recorder, server, client):
    found = sent(recorder, begin(recorder), server, client, [("TraceParent", "theirs"), ("tracestate", "theirs=1")])
    assert found[:2] == [["theirs"], ["theirs=1"]]


@pytest.mark.parametrize(
    ("name", "value", "merged"),
    [("baggage", "x=9", "x=9,a=1,b=2"), ("Baggage", "a=9", "a=9,b=2"), ("BAGGAGE", "b=9;p,a=9", "b=9;p,a=9")],
)
def test_15_baggage_of_the_programs_own_is_merged_and_wins(recorder, server, client, name, value, merged):
    transaction = begin(recorder)
    found = sent(recorder, transaction, server, client, [(name, value)])
    assert found == [[ours(recorder, transaction)], ["es=s:1"], [merged]]


def test_14_nothing_is_doubled(recorder, server, client):
    transaction = begin(recorder)
    found = sent(recorder, transaction, server, client, [("X-Other", "1")])
    assert found == [[ours(recorder, transaction)], ["es=s:1"], ["a=1,b=2"]]


def test_14_unsampled_requests_carry_the_transaction(recorder, server, client):
    transaction = begin(recorder)
    transaction.sampled = False
    found = sent(recorder, transaction, server, client, [])
    assert found[0] == [f"00-{transaction.trace_id}-{transaction.id}-00"]
    assert found[2] == ["a=1,b=2"]
    assert recorder.spans == []


def test_14_so_do_those_whose_span_is_dropped(server, client):
    files = ("http_client", "urllib_request", "urllib3", "requests", "httpx")
    with instrumented(*files, transaction_max_spans="0") as recorder:
        transaction = begin(recorder)
        found = sent(recorder, transaction, server, client, [])
    assert found == [[f"00-{transaction.trace_id}-{transaction.id}-01"], ["es=s:1"], ["a=1,b=2"]]
    assert recorder.spans == []
