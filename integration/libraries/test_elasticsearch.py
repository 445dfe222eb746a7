"""Elasticsearch's clients, sync and async, against osmem behind a shim (an emulator: integration/services)."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
import socket
import sys
from contextlib import closing
from importlib.util import find_spec

import elasticsearch
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch, helpers
from integration.services import free_port
from tests.instrumentations.recorder import instrumented, outcome
from tests.traced import bare, traced

from apm_run.tracer import current

VERSION = elasticsearch.__version__[:2]
#: The parameters of the client's constructor that have had other names.
RENAMED = {"timeout": "timeout" if VERSION < (8,) else "request_timeout"}
#: What its nodes may stand on.
BELOW = [name for name in ("urllib3", "requests", "httpx") if find_spec(name)]

#: Parameters that releases give other names; sessions that release 7 leaves open where a node is dead.
IGNORED = [
    "ignore::DeprecationWarning",
    *(["ignore::pytest.PytestUnraisableExceptionWarning"] if VERSION < (8,) else []),
]
pytestmark = pytest.mark.filterwarnings(*IGNORED)


@pytest.fixture
def recorder():
    with instrumented("elasticsearch", "http_client", *BELOW) as recorder:
        yield recorder


def options(given):
    return {RENAMED.get(name, name): value for name, value in given.items()}


class Sync:
    sync = True

    @staticmethod
    def use(hosts, *calls, **given):
        """What each call returns."""
        with closing(Elasticsearch(hosts, **options(given))) as client:
            return [call(client) for call in calls]


class Async:
    sync = False

    @staticmethod
    def use(hosts, *calls, **given):
        async def main():
            client = AsyncElasticsearch(hosts, **options(given))
            try:
                return [await call(client) for call in calls]
            finally:
                await client.close()

        return asyncio.run(main())


both = pytest.mark.parametrize("kind", [Sync, Async], ids=["sync", "async"])


@pytest.fixture
def url(elasticsearch_server):
    return f"http://127.0.0.1:{elasticsearch_server.port}"


@pytest.fixture
def products(url):
    """An index with five documents."""
    lines = []
    for number in range(5):
        lines += [{"index": {"_index": "products", "_id": str(number)}}, {"price": number}]
    Sync.use(url, lambda client: client.bulk(body=lines, refresh=True))
    return "products"


def echo(client):
    """Ask the shim for the trace context that it was asked with."""
    return perform(client, "GET", "/echo")


def perform(client, method, path, **rest):
    if VERSION < (8,):
        return client.transport.perform_request(method, path, **rest)
    return client.perform_request(method, path, **{"headers": {"accept": "application/json"}, **rest})


@both
def test_whole_span(recorder, elasticsearch_server, url, products, kind):
    with recorder.running():
        (found,) = kind.use(url, lambda client: client.search(index=products, body={"size": 1}))
    assert found["hits"]["total"]["value"] == 5
    assert recorder.snapshot(elasticsearch_server.port) == [
        {
            "name": "Elasticsearch: POST /products/_search",
            "type": "db",
            "subtype": "elasticsearch",
            "action": "request",
            "outcome": "success",
            "sync": kind.sync,
            "sample_rate": 1.0,
            "context": {
                "db": {"type": "elasticsearch", "statement": '{"size":1}'},
                "http": {
                    "url": "http://127.0.0.1:9999/products/_search",
                    "method": "POST",
                    "status_code": 200,
                    "response": {"status_code": 200},
                },
                "service": {"target": {"type": "elasticsearch", "name": "cluster-1"}},
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": "elasticsearch/cluster-1", "name": "", "type": ""},
                },
            },
        }
    ]


@both
def test_names_and_outcomes(recorder, url, products, kind):
    def missing(client):
        return client.get(index=products, id="none")

    with recorder.running():
        kind.use(
            url,
            lambda client: client.get(index=products, id="1"),
            lambda client: client.exists(index=products, id="none"),
            lambda client: client.index(index="others", id="a/b c", body={"price": 7}),
            lambda client: client.count(index=products, body={"query": {"match_all": {}}}),
        )
        with pytest.raises(elasticsearch.NotFoundError):
            kind.use(url, missing)
    assert recorder.tree().splitlines()[1:] == [
        "  Elasticsearch: GET /products/_doc/1 [db/elasticsearch/request] success",
        "  Elasticsearch: HEAD /products/_doc/none [db/elasticsearch/request] success",
        "  Elasticsearch: PUT /others/_doc/a%2Fb%20c [db/elasticsearch/request] success",
        "  Elasticsearch: POST /products/_count [db/elasticsearch/request] success",
        "  Elasticsearch: GET /products/_doc/none [db/elasticsearch/request] failure",
    ]
    statuses = [span["context"]["http"]["status_code"] for span in recorder.spans]
    assert statuses == [200, 404, statuses[2], 200, 404]
    statements = [span["context"]["db"].get("statement") for span in recorder.spans]
    assert statements == [None, None, None, '{"query":{"match_all":{}}}', None]


def test_bulk_and_scan(recorder, url):
    def use(client):
        actions = ({"_index": "many", "_id": str(number), "_source": {"number": number}} for number in range(6))
        assert helpers.bulk(client, actions, chunk_size=3, refresh=True) == (6, [])
        return sorted(hit["_id"] for hit in helpers.scan(client, index="many", size=4))

    with recorder.running():
        (ids,) = Sync.use(url, use)
    assert ids == list("012345")
    names = [line.partition(" [")[0].strip() for line in recorder.tree().splitlines()[1:]]
    assert [name.rpartition("/")[2] for name in names[:3]] == ["_bulk", "_bulk", "_search"]
    assert names[3:] == [*["Elasticsearch: POST /_search/scroll"] * (len(names) - 4), names[-1]]
    assert names[-1] == "Elasticsearch: DELETE /_search/scroll"


def test_async_helpers(recorder, url):
    async def use(client):
        await helpers.async_bulk(client, [{"_index": "some", "_id": "1", "a": 1}], refresh=True)
        return [hit["_id"] async for hit in helpers.async_scan(client, index="some")]

    with recorder.running():
        assert Async.use(url, use) == [["1"]]
    names = [line.partition(" [")[0].strip() for line in recorder.tree().splitlines()[1:]]
    assert [name.rpartition("/")[2] for name in (names[0], names[1], names[-1])] == ["_bulk", "_search", "scroll"]


@both
def test_trace_context_goes_along(recorder, url, kind):
    with recorder.running():
        (heard,) = kind.use(url, echo)
    (span,) = recorder.spans
    assert heard["traceparent"] == f"00-{span['trace_id']}-{span['id']}-01"
    assert heard["tracestate"] == "es=s:1"


@both
def test_trace_context_where_nothing_is_sampled(recorder, url, kind):
    with recorder.running(sampled=False) as transaction:
        (heard,) = kind.use(url, echo)
    assert heard["traceparent"] == f"00-{transaction.trace_id}-{transaction.id}-00"
    assert recorder.spans == []


@both
def test_nothing_without_a_transaction(recorder, url, kind):
    (heard,) = kind.use(url, echo)
    assert heard["traceparent"] == ""
    assert recorder.spans == []


@both
def test_the_programs_own_trace_context_wins(recorder, url, kind):
    own = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {"accept": "application/json", "traceparent": own}
    with recorder.running():
        (heard,) = kind.use(url, lambda client: perform(client, "GET", "/echo", headers=headers))
    assert heard == {"traceparent": own, "tracestate": ""}
    with recorder.running():
        headers = {"accept": "application/json"}
        kind.use(url, lambda client: perform(client, "GET", "/echo", headers=headers))
    assert set(headers) <= {"accept", "x-elastic-client-meta"}  # which release 7 adds itself


@both
def test_retries_over_nodes_are_one_span(recorder, elasticsearch_server, url, products, kind):
    dead = free_port()
    hosts = [f"http://127.0.0.1:{dead}", url]
    with recorder.running():
        for _ in range(3):  # wherever it begins
            kind.use(hosts, lambda client: client.get(index=products, id="1"), max_retries=3)
    assert [(span["name"], span["outcome"]) for span in recorder.spans] == [
        ("Elasticsearch: GET /products/_doc/1", "success")
    ] * 3
    assert {span["context"]["destination"]["port"] for span in recorder.spans} == {elasticsearch_server.port}
    assert {span["context"]["http"]["url"] for span in recorder.spans} == {f"{url}/products/_doc/1"}


@both
def test_a_server_that_is_down(recorder, kind):
    port = free_port()
    where = f"http://127.0.0.1:{port}"

    def use():
        return kind.use(where, lambda client: perform(client, "GET", "/x/_search"), max_retries=2)

    with recorder.running():
        told = outcome(use)
    assert "ConnectionError" in told
    (span,) = recorder.spans
    assert (span["name"], span["outcome"]) == ("Elasticsearch: GET /x/_search", "failure")
    if VERSION >= (8,):  # release 7 asks first what it talks to, in the same call
        assert span["context"]["http"] == {"url": f"{where}/x/_search", "method": "GET"}
        assert span["context"]["destination"]["port"] == port
    assert told == outcome_bare(use)


def outcome_bare(use):
    """What comes of it outside of a transaction."""
    assert current.get() is None
    return outcome(use)


@both
def test_a_server_that_does_not_answer(recorder, kind):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        where = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def use():
            return kind.use(where, lambda client: perform(client, "GET", "/x"), timeout=0.2, max_retries=0)

        with recorder.running():
            told = outcome(use)
    assert "raised" in told
    assert "Timeout" in told or "timed out" in told
    (span,) = recorder.spans
    assert (span["outcome"], span["duration"] > 150) == ("failure", True)


def test_cancelled(recorder):
    """A task that is cancelled half-way says nothing of the server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        where = f"http://127.0.0.1:{listener.getsockname()[1]}"

        async def main():
            client = AsyncElasticsearch(where)
            task = asyncio.ensure_future(perform(client, "GET", "/x"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.close()

        with recorder.running():
            asyncio.run(main())
    (span,) = recorder.spans
    assert (span["name"], span["outcome"]) == ("Elasticsearch: GET /x", "unknown")


@both
def test_a_server_that_is_overloaded(recorder, url, kind):
    def use():
        return kind.use(url, lambda client: perform(client, "GET", "/unavailable"), max_retries=1)

    with recorder.running():
        told = outcome(use)
    assert "503" in told
    (span,) = recorder.spans
    assert (span["outcome"], span["context"]["http"]["status_code"]) == ("failure", 503)
    assert told == outcome_bare(use)


@both
def test_an_answer_that_makes_no_sense(recorder, url, kind):
    def use():
        return kind.use(url, lambda client: perform(client, "GET", "/garbage"))

    with recorder.running():
        told = outcome(use)
    assert "SerializationError" in told
    (span,) = recorder.spans
    assert span["outcome"] == ("failure" if VERSION >= (8,) else "success")  # of release 7 the answer counts
    assert told == outcome_bare(use)


@both
@pytest.mark.parametrize(
    ("args", "rest"),
    [((), {}), (("GET",), {}), (("GET", 5), {}), ((5, "/x"), {}), (("GET", "/x"), {"headers": 5}), (("G",) * 9, {})],
)
def test_wrong_arguments(recorder, url, kind, args, rest):
    def use():
        return kind.use(url, lambda client: client.transport.perform_request(*args, **rest))

    with recorder.running():
        told = outcome(use)
    assert "raised" in told
    assert told == outcome_bare(use)


@both
def test_which_bodies_are_statements(url, products, kind):
    with instrumented("elasticsearch", elasticsearch_capture_body_urls="*/_count") as recorder, recorder.running():
        kind.use(
            url,
            lambda client: client.search(index=products, body={"size": 1}),
            lambda client: client.count(index=products, body={"query": {"match_all": {}}}),
        )
    statements = [span["context"]["db"].get("statement") for span in recorder.spans]
    assert statements == [None, '{"query":{"match_all":{}}}']


def test_a_long_statement_is_cut(recorder, url, products):
    body = {"query": {"terms": {"price": list(range(9000))}}}
    with recorder.running():
        Sync.use(url, lambda client: client.search(index=products, body=body), http_compress=True)
    statement = recorder.spans[0]["context"]["db"]["statement"]
    assert (len(statement), statement[:30], statement[-1]) == (10_000, '{"query":{"terms":{"price":[0,', "…")


def test_other_http_clients_below(recorder, url, products):
    names = ["requests"] if VERSION < (8,) else ["requests", "urllib3"]
    for name in names:
        given = {"node_class": name} if VERSION >= (8,) else {"connection_class": elasticsearch.RequestsHttpConnection}
        with recorder.running():
            (heard,) = Sync.use(url, echo, **given)
        span = recorder.spans[-1]
        assert heard["traceparent"].split("-")[2] == span["id"]
        assert span["context"]["destination"]["address"] == "127.0.0.1"
    assert len(recorder.spans) == len(names)


@pytest.mark.skipif(VERSION < (8, 9), reason="its transport has no httpx")
def test_httpx_below(recorder, url):
    with recorder.running():
        (heard,) = Async.use(url, echo, node_class="httpxasync")
    (span,) = recorder.spans
    assert heard["traceparent"].split("-")[2] == span["id"]
    assert span["context"]["http"]["url"] == f"{url}/echo"


def test_many_at_once_do_not_mix(recorder, url):
    """Requests of fifty tasks, each in a transaction of its own."""

    async def main():
        client = AsyncElasticsearch(url)

        async def one(number):
            transaction = recorder.begin(f"request {number}")
            current.set(transaction)
            heard = await echo(client)
            await asyncio.sleep(0)
            again = await echo(client)
            recorder.tracer.end_transaction(transaction)
            return transaction, [answer["traceparent"].split("-") for answer in (heard, again)]

        found = await asyncio.gather(*(one(number) for number in range(50)))
        await client.close()
        return found

    found = asyncio.run(main())
    spans = {span["id"]: span for span in recorder.spans}
    assert len(spans) == 100
    for transaction, heard in found:
        for _, trace_id, id, _ in heard:
            assert trace_id == transaction.trace_id
            assert spans[id]["transaction_id"] == spans[id]["parent_id"] == transaction.id


def test_the_transport_looks_as_it_is(recorder):
    if VERSION < (8,):
        from elasticsearch._async.transport import AsyncTransport
        from elasticsearch.transport import Transport
    else:
        from elastic_transport import AsyncTransport, Transport
    for transport, awaits in ((Transport, False), (AsyncTransport, True)):
        function = transport.perform_request
        assert inspect.iscoroutinefunction(function) is awaits
        assert list(inspect.signature(function).parameters)[1] == "method"
        assert pickle.loads(pickle.dumps(function)) is function


PROGRAM = """
import asyncio
import warnings
warnings.simplefilter("ignore")
from elasticsearch import AsyncElasticsearch, Elasticsearch, NotFoundError

client = Elasticsearch("{url}")
print(client.index(index="shop", id="1", body={{"a": 1}}, refresh=True)["result"] in ("created", "updated"))
try:
    client.get(index="shop", id="none")
except NotFoundError as error:
    print(type(error), error)
client.close()

async def main():
    client = AsyncElasticsearch("{url}")
    found = await client.search(index="shop", body={{"size": 0}})
    await client.close()
    return found["hits"]["total"]["value"]

print(asyncio.run(main()))
client = Elasticsearch("http://127.0.0.1:{dead}", max_retries=0)
client.get(index="shop", id="1")
"""


def test_a_whole_program(url, sink, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(url=url, dead=free_port()))
    plain, done = bare("python", program), traced("python", program, url=sink.url)
    assert plain.returncode == done.returncode == 1
    assert done.stdout == plain.stdout
    told = [re.sub("0x[0-9a-f]+", "...", each.stderr) for each in (plain, done)]
    assert told[0].splitlines()[-1] == told[1].splitlines()[-1]
    if sys.version_info >= (3, 11):
        assert told[0] == told[1]
    sink.wait(lambda sink: sink.transactions and len(sink.spans) >= 4)
    assert [line.partition(" [")[0].strip() for line in sink.tree().splitlines()] == [
        "program.py",
        "Elasticsearch: PUT /shop/_doc/1",
        "Elasticsearch: GET /shop/_doc/none",
        "Elasticsearch: POST /shop/_search",
        "Elasticsearch: GET /shop/_doc/1",
    ]
