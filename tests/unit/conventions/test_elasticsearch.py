"""What a request to Elasticsearch shows (spec 18.2)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from apm_run import config
from apm_run.conventions import elasticsearch

NODE = SimpleNamespace(scheme="https", host="es.example.org", port=9243, path_prefix="/es")
SETTINGS, _ = config.load({})


def test_the_path_is_the_name_and_the_query_is_not():
    draft = elasticsearch.request("POST", "/shop/_search?scroll=5m&size=1")
    assert (draft.name, draft.type, draft.subtype) == ("Elasticsearch: POST /shop/_search", "db", "elasticsearch")
    assert (draft.action, draft.target(), draft.sealed) == ("request", ("elasticsearch", ""), False)


@pytest.mark.parametrize(("method", "target"), [(None, "/"), ("GET", None), (5, "/"), ("GET", b"/")])
def test_what_is_no_text_is_no_span(method, target):
    assert elasticsearch.request(method, target) is None


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/_search", True),
        ("/shop/_search?q=1", True),
        ("/shop/_search/template", True),
        ("/_msearch", True),
        ("/_msearch/template", True),
        ("/shop/_async_search", True),
        ("/shop/_count", True),
        ("/_sql?format=json", True),
        ("/shop/_eql/search", True),
        ("/_search/scroll", False),
        ("/_bulk", False),
        ("/shop/_doc/_search_it", False),
        ("/shop/_doc/1?x=/_search", False),
    ],
)
def test_whose_body_is_a_statement(target, shown):
    draft = elasticsearch.request("POST", target)
    assert elasticsearch.sent(draft, NODE, target, b'{"a":"\xc3\xa4"}', SETTINGS)
    assert draft.db.get("statement") == ('{"a":"ä"}' if shown else None)
    assert draft.http["url"] == f"https://es.example.org:9243/es{target}"
    assert (draft.address, draft.port) == ("es.example.org", 9243)


@pytest.mark.parametrize(("body", "statement"), [("text", "text"), ({"a": 1}, None), (b"\xff", "\ufffd"), (b"", None)])
def test_bodies(body, statement):
    draft = elasticsearch.request("POST", "/_search")
    elasticsearch.sent(draft, NODE, "/_search", body, SETTINGS)
    assert draft.db.get("statement") == statement


def test_a_long_body_is_not_kept():
    for body in (b"x" * 1_000_000, "x" * 1_000_000):
        draft = elasticsearch.request("POST", "/_search")
        elasticsearch.sent(draft, NODE, "/_search", body, SETTINGS)
        assert 10_000 < len(draft.db["statement"]) <= 40_000


def test_another_request_of_the_client_tells_nothing():
    draft = elasticsearch.request("GET", "/shop/_doc/1")
    assert not elasticsearch.sent(draft, NODE, "/_nodes/_all/http", None, SETTINGS)
    assert (draft.address, draft.http) == (None, {"method": "GET", "target": "/shop/_doc/1"})


def test_the_last_attempt_stays():
    draft = elasticsearch.request("GET", "/shop")
    elasticsearch.sent(draft, NODE, "/shop", None, SETTINGS)
    elasticsearch.answered(draft, 503, {})
    assert (draft.http["status_code"], draft.outcome) == (503, "failure")
    connection = SimpleNamespace(scheme="http", host="http://[::1]:9200", hostname="::1", port=9200, url_prefix="")
    elasticsearch.sent(draft, connection, "/shop", None, SETTINGS)
    assert draft.http == {"method": "GET", "target": "/shop", "url": "http://[::1]:9200/shop"}
    assert (draft.address, draft.port, draft.outcome) == ("::1", 9200, None)


@pytest.mark.parametrize(
    ("method", "status", "outcome"),
    [
        ("GET", 200, "success"),
        ("GET", 404, "failure"),
        ("HEAD", 404, "success"),
        ("HEAD", 500, "failure"),
        ("GET", "N/A", None),
    ],
)
def test_outcomes(method, status, outcome):
    draft = elasticsearch.request(method, "/shop")
    elasticsearch.answered(draft, status, None)
    assert draft.outcome == outcome


def test_the_cluster_of_a_cloud_is_the_target():
    draft = elasticsearch.request("GET", "/")
    elasticsearch.answered(draft, 200, {"x-found-handling-cluster": "cluster-1"})
    assert draft.target() == ("elasticsearch", "cluster-1")
