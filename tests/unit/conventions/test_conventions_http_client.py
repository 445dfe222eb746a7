"""Facts of outgoing requests, and headers beside the caller's (spec 14, 18.1, 19)."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from http import HTTPStatus
from types import MappingProxyType

import pytest

from apm_run.conventions.http_client import absolute, add_lines, request, response, with_headers

URLS = [
    # url, reported url, host in the name, address, port
    ("http://a.example/x?y=1#z", "http://a.example/x?y=1#z", "a.example", "a.example", 80),
    ("https://a.example", "https://a.example", "a.example", "a.example", 443),
    ("HTTPS://A.Example:8443/X", "HTTPS://A.Example:8443/X", "a.example", "a.example", 8443),
    ("http://a.example:/x", "http://a.example:/x", "a.example", "a.example", 80),
    ("http://a.example?q=http://b.example/", "http://a.example?q=http://b.example/", "a.example", "a.example", 80),
    ("http://user:secret@a.example/x", "http://a.example/x", "a.example", "a.example", 80),
    ("http://user@a.example:81/x@y", "http://a.example:81/x@y", "a.example", "a.example", 81),
    ("http://a@b:c@a.example/", "http://a.example/", "a.example", "a.example", 80),
    ("http://a.example/x@y", "http://a.example/x@y", "a.example", "a.example", 80),
    ("http://[::1]/x", "http://[::1]/x", "[::1]", "::1", 80),
    ("http://user:secret@[FE80::1%25eth0]:8080/x", "http://[FE80::1%25eth0]:8080/x", "[fe80::1%25eth0]",
     "fe80::1%25eth0", 8080),
    ("http://127.0.0.1:65535", "http://127.0.0.1:65535", "127.0.0.1", "127.0.0.1", 65535),
    ("http://b\u00fccher.example/", "http://b\u00fccher.example/", "b\u00fccher.example", "b\u00fccher.example", 80),
    ("http://my_service.namespace-1/", "http://my_service.namespace-1/", "my_service.namespace-1",
     "my_service.namespace-1", 80),
    ("http://a.example/\r\n\x00\ud800", "http://a.example/\r\n\x00\ud800", "a.example", "a.example", 80),
]  # fmt: skip


@pytest.mark.parametrize(("url", "reported", "host", "address", "port"), URLS)
def test_a_request(url, reported, host, address, port):
    draft = request("get", url)
    assert (draft.name, draft.type, draft.subtype, draft.exit) == (f"GET {host}", "external", "http", True)
    assert draft.http == {"url": reported, "method": "GET", "host": f"{host}:{port}"}
    assert (draft.address, draft.port) == (address, port)


NO_URLS = [
    None, 5, b"http://a.example/", ["http://a.example"], object(), "", " ", "a.example", "//a.example/x", "/x", "http:",
    "http:/a.example", "http://", "http:///x", "http://?x", "http://:80/", "http://user@/", "ftp://a.example/",
    "mailto:a@b.c", " http://a.example/", "http://a b/", "http://a\r\nb/", "http://a\tb", "http://a\x00b/",
    "http://a\\b/", "http://a.example:x/", "http://a.example:-1/", "http://a.example:65536/", "http://a.example:080080/",
    "http://a.example:\u0661/", "http://a.example:8_0/", "http://a:b:c/", "http://[::1/", "http://[]/", "http://[::1]x/",
    "http://[::1]80/", f"http://{'a' * 256}/", "http://<a>/",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_URLS)
def test_no_request_by_its_url(url):
    assert request("GET", url) is None


@pytest.mark.parametrize("method", [None, 5, b"GET", "", "GE T", "GET\r\n", "\x00", "X" * 41, ["GET"], object()])
def test_no_request_by_its_method(method):
    assert request(method, "http://a.example/") is None


@pytest.mark.parametrize("method", ["GET", "M-SEARCH", "version-control", "BASELINE1"])
def test_methods_of_any_name(method):
    assert request(method, "http://a.example/").http["method"] == method.upper()


def test_text_of_the_programs_own_type_is_read_as_text():
    class Text(str):
        __slots__ = ()

        def partition(self, separator):
            raise AssertionError("the agent called the program's method")

        upper = __str__ = partition

    draft = request(Text("get"), Text("http://a.example/"))
    assert draft.name == "GET a.example"
    assert type(draft.http["url"]) is str


def test_a_huge_url_is_cut():
    assert len(request("GET", f"http://a.example/{'x' * 100_000}").http["url"]) == 10_000


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (200, 200, "success"), (304, 304, "success"), (399, 399, "success"), (400, 400, "failure"),
        (599, 599, "failure"), (HTTPStatus.NOT_FOUND, 404, "failure"), (True, None, None), (0, None, None),
        (99, None, None), (1000, None, None), (None, None, None), ("200", None, None), (200.0, None, None),
    ],
)  # fmt: skip
def test_a_response(status, code, outcome):
    draft = request("GET", "http://a.example/")
    response(draft, status)
    assert (draft.http.get("status_code"), draft.outcome) == (code, outcome)
    assert code is None or type(draft.http["status_code"]) is int


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("http", "a.example", 80, "/x"), "http://a.example/x"),
        (("http", "a.example", None, "/x"), "http://a.example/x"),
        (("https", "a.example", 443, "/x"), "https://a.example/x"),
        (("https", "a.example", 80, "/x"), "https://a.example:80/x"),
        (("http", "a.example", 81, "x"), "http://a.example:81/x"),
        (("http", "a.example", 80, "?x"), "http://a.example?x"),
        (("http", "a.example", 80, ""), "http://a.example/"),
        (("http", "a.example", 80, "*"), "http://a.example"),
        (("http", "proxy.example", 80, "HTTP://a.example/x"), "HTTP://a.example/x"),
        (("http", "::1", 80, "/x"), "http://[::1]/x"),
        (("http", "[::1]", 8080, "/x"), "http://[::1]:8080/x"),
        (("http", None, 80, "/x"), None),
        (("http", "", 80, "/x"), None),
        (("http", b"a.example", 80, "/x"), None),
        (("http", "a.example", 80, b"/x"), None),
        (("http", "a.example", 80, None), None),
    ],
)
def test_absolute(arguments, expected):
    assert absolute(*arguments) == expected


ADD = {"traceparent": "ours", "tracestate": "es=s:1"}


class Odd(dict):
    pass


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"A": "b"},
        {b"A": b"b"},
        {"A": "b", b"C": b"d", 5: None},
        {"Referer": "as long as baggage", "Content-Type": "x"},
        [("A", "b"), ("A", "c")],
        (("A", "b"),),
        [["A", "b"]],
        [],
        OrderedDict(A="b"),
        defaultdict(str, A="b"),
        UserDict(A="b"),
    ],
)
def test_headers_are_added_to_a_copy_of_the_same_type(headers):
    before = repr(headers)
    found = with_headers(headers, ADD)
    assert type(found) is type(headers)
    assert repr(headers) == before
    pairs = list(found) if isinstance(found, (list, tuple)) else list(found.items())
    assert pairs == [*(headers if isinstance(headers, (list, tuple)) else headers.items()), *ADD.items()]


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "theirs"},
        {"TraceParent": "theirs"},
        {b"TRACEPARENT": b"theirs"},
        [("A", "b"), ("Traceparent", "theirs")],
        ((b"traceparent", b"theirs"),),
        OrderedDict(TRACEPARENT="theirs"),
    ],
)
def test_a_traceparent_stays_alone(headers):
    assert with_headers(headers, ADD) is None


def test_no_headers_are_a_new_dictionary():
    found = with_headers(None, ADD)
    assert found == ADD
    assert found is not ADD


@pytest.mark.parametrize(
    "headers", ["text", b"bytes", 5, object(), {"A"}, Odd(A="b"), MappingProxyType({"A": "b"}), iter([("A", "b")])]
)
def test_headers_of_an_unknown_type_are_left_alone(headers):
    assert with_headers(headers, ADD) is None


def test_collections_of_libraries_keep_their_type():
    urllib3 = pytest.importorskip("urllib3._collections")
    requests = pytest.importorskip("requests.structures")
    httpx = pytest.importorskip("httpx")
    several = urllib3.HTTPHeaderDict([("A", "b"), ("A", "c")])
    found = with_headers(several, ADD)
    assert type(found) is urllib3.HTTPHeaderDict
    assert found.getlist("a") == ["b", "c"]
    assert found["traceparent"] == "ours"
    assert "traceparent" not in several
    assert with_headers(requests.CaseInsensitiveDict(A="b"), ADD)["TRACESTATE"] == "es=s:1"
    raw = httpx.Headers([("A", "b"), ("A", "c")])
    assert with_headers(raw, ADD).raw[:2] == [(b"A", b"b"), (b"A", b"c")]
    assert "traceparent" not in raw
    assert with_headers(httpx.Headers({"TRACEPARENT": "x"}), ADD) is None


ADDED = [b"traceparent: ours", b"tracestate: es=s:1"]
ALL = {**ADD, "baggage": "a=1,b=2"}


@pytest.mark.parametrize("name", ["tracestate", "Tracestate", b"TRACESTATE"])
def test_14_a_tracestate_of_the_programs_own_stays_and_is_not_doubled(name):
    assert with_headers({name: "x=1"}, ADD) == {name: "x=1", "traceparent": "ours"}
    assert with_headers([(name, "x=1")], ADD) == [(name, "x=1"), ("traceparent", "ours")]


@pytest.mark.parametrize("name", ["traceparent", "TraceParent", b"Traceparent"])
def test_14_beside_a_traceparent_of_the_programs_own_only_baggage_goes_on(name):
    assert with_headers({name: "theirs"}, ALL) == {name: "theirs", "baggage": "a=1,b=2"}


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        ({"baggage": "x=9"}, {"baggage": "x=9,a=1,b=2"}),
        ({"Baggage": "a=9"}, {"Baggage": "a=9,b=2"}),
        ({b"BAGGAGE": b"a=9"}, {b"BAGGAGE": b"a=9,b=2"}),
        ({"baggage": ""}, {"baggage": "a=1,b=2"}),
        ({"baggage": b" "}, {"baggage": b" a=1,b=2"}),
        ({"baggage": "b=9, a=9;p"}, {"baggage": "b=9, a=9;p"}),
        ({"baggage": "no baggage at all"}, {"baggage": "no baggage at all,a=1,b=2"}),
        ({"baggage": "x=1", "Baggage": "a=2"}, {"baggage": "x=1", "Baggage": "a=2,b=2"}),
        ({"baggage": 5}, {"baggage": 5}),
        ({"baggage": None}, {"baggage": None}),
    ],
)
def test_15_baggage_of_the_programs_own_is_merged_and_wins(own, merged):
    before = dict(own)
    assert with_headers(own, ALL) == {**merged, **ADD}
    assert own == before
    pairs = list(own.items())
    assert with_headers(pairs, ALL) == [*merged.items(), *ADD.items()]
    assert with_headers(tuple(map(list, pairs)), ALL) == (*map(list, merged.items()), *ADD.items())
    with_theirs = {"traceparent": "theirs", **own}
    assert with_headers(with_theirs, ALL) == (None if merged == own else {"traceparent": "theirs", **merged})


def test_15_collections_that_ignore_case_get_one_baggage():
    urllib3 = pytest.importorskip("urllib3._collections")
    requests = pytest.importorskip("requests.structures")
    httpx = pytest.importorskip("httpx")
    several = urllib3.HTTPHeaderDict([("Baggage", "x=1"), ("baggage", "a=9")])
    assert with_headers(several, ALL).getlist("baggage") == ["x=1,a=9,b=2"]
    assert several.getlist("baggage") == ["x=1", "a=9"]
    assert with_headers(requests.CaseInsensitiveDict({"BAGGAGE": "a=9"}), ALL)["baggage"] == "a=9,b=2"
    raw = httpx.Headers([("Baggage", "x=1"), ("baggage", "a=9")])
    assert with_headers(raw, ALL).get_list("baggage") == ["x=1,a=9,b=2"]
    assert raw.get_list("baggage") == ["x=1", "a=9"]
    ordered = OrderedDict(baggage="x=1", Baggage="a=9")
    assert list(with_headers(ordered, ALL).items())[:2] == [("baggage", "x=1"), ("Baggage", "a=9,b=2")]


def test_lines_of_a_request():
    lines = [b"GET /traceparent: HTTP/1.1", b"Host: a", b"BAGGAGE: x=1", b"baggage:a=9"]
    add_lines(lines, ALL)
    whole = [b"GET /traceparent: HTTP/1.1", b"Host: a", b"BAGGAGE: x=1", b"baggage: a=9,b=2", *ADDED]
    assert lines == whole
    add_lines(lines, ALL)
    assert lines == whole
    lines = [b"GET / HTTP/1.1"]
    add_lines(lines, ALL)
    assert lines == [b"GET / HTTP/1.1", *ADDED, b"baggage: a=1,b=2"]
    lines = [b"GET / HTTP/1.1", b"TraceParent: 1", b"Baggage: a=9,b=8"]
    add_lines(lines, ALL)
    assert lines == [b"GET / HTTP/1.1", b"TraceParent: 1", b"Baggage: a=9,b=8"]
