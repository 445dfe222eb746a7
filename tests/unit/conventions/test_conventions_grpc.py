"""gRPC: where a target leads, what a status means, and what of the trace context goes into metadata."""

from __future__ import annotations

import enum

import pytest

from apm_run.conventions import grpc
from apm_run.model import SpanDraft, TransactionDraft

ADD = {"traceparent": "00-1-2-01", "tracestate": "es=s:1", "baggage": "a=1,b=2"}
SENT = [*ADD.items(), ("elastic-apm-traceparent", "00-1-2-01")]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("host.example:50051", ("host.example:50051", "host.example", 50051)),
        ("host.example", ("host.example:443", "host.example", 443)),
        (b"host:1", ("host:1", "host", 1)),
        ("dns:///host:1", ("host:1", "host", 1)),
        ("dns:host:1", ("host:1", "host", 1)),
        ("dns://8.8.8.8/host:1", ("host:1", "host", 1)),
        ("dns:///host", ("host:443", "host", 443)),
        ("127.0.0.1:1", ("127.0.0.1:1", "127.0.0.1", 1)),
        ("[::1]:1", ("[::1]:1", "::1", 1)),
        ("[::1]", ("[::1]:443", "::1", 443)),
        ("::1", ("[::1]:443", "::1", 443)),
        ("ipv6:[::1]:1", ("[::1]:1", "::1", 1)),
        ("ipv6:%5B::1%5D:1", ("[::1]:1", "::1", 1)),
        ("dns:///[2001:db8::1]:8080", ("[2001:db8::1]:8080", "2001:db8::1", 8080)),
        ("ipv4:10.0.0.1:1", ("10.0.0.1:1", "10.0.0.1", 1)),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ("10.0.0.1:1,10.0.0.2:2", None, None)),
        ("ipv6:[::1]:1,[::2]:2", ("[::1]:1,[::2]:2", None, None)),
        ("unix:/run/my.sock", ("unix:/run/my.sock", None, None)),
        ("unix:relative", ("unix:relative", None, None)),
        ("unix:///run/my.sock", ("unix:///run/my.sock", None, None)),
        ("unix-abstract:name", ("unix-abstract:name", None, None)),
        ("vsock:2:1", ("vsock:2:1", None, None)),
        ("xds:///my-service", ("xds:///my-service", None, None)),
        ("consul://agent/my-service:1", ("consul://agent/my-service:1", None, None)),
        ("host:http", ("host:http", "host", None)),
        ("host:123456", ("host:123456", "host", None)),
        ("[::1]:http", ("[::1]:http", "::1", None)),
        (":1", (":1", None, None)),
        ("", (None, None, None)),
        (None, (None, None, None)),
        (7, (None, None, None)),
    ],
)
def test_endpoint(target, expected):
    assert grpc.endpoint(target) == expected


def test_span_of_a_call():
    draft = grpc.call(b"/p.Service/Method", ("[::1]:1", "::1", 1))
    assert (draft.name, draft.type, draft.subtype, draft.action) == ("/p.Service/Method", "external", "grpc", None)
    assert (draft.address, draft.port, draft.target()) == ("::1", 1, ("grpc", "[::1]:1"))
    assert grpc.call("/p.Service/Method", None).target() == ("grpc", "")


def test_transaction_of_a_call():
    metadata = [("user-agent", "x"), ("traceparent", "t"), ("baggage", "a=1"), ("baggage", b"b=2"), ("x-bin", b"\xff")]
    draft = grpc.request(b"/p.Service/Method", metadata)
    assert isinstance(draft, TransactionDraft)
    assert (draft.name, draft.type) == ("/p.Service/Method", "request")
    assert draft.carrier == {"traceparent": ["t"], "baggage": ["a=1", "b=2"]}


class Status(enum.Enum):
    NOT_FOUND = (5, "not found")
    MINE = (99, "mine")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (None, "OK"),
        (0, "OK"),
        (1, "CANCELLED"),
        (16, "UNAUTHENTICATED"),
        (17, "UNKNOWN"),
        (-1, "UNKNOWN"),
        (Status.NOT_FOUND, "NOT_FOUND"),
        (Status.MINE, "UNKNOWN"),
        (object(), "UNKNOWN"),
    ],
)
def test_status(code, name):
    assert grpc.status(code) == name


#: Spec 12.
FAILED = {
    "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS",
}  # fmt: skip


@pytest.mark.parametrize("name", grpc.CODES)
def test_answer(name):
    draft = TransactionDraft("call", "request")
    grpc.answer(draft, name)
    assert (draft.result, draft.outcome) == (name, "failure" if name in FAILED else "success")


def test_there_are_seventeen_codes():
    assert len(set(grpc.CODES)) == 17


class Metadata:
    """As the one of grpc.aio."""

    __module__ = "grpc.aio._metadata"

    def __init__(self, *pairs):
        self.pairs = pairs

    def __iter__(self):
        return iter(self.pairs)


@pytest.mark.parametrize("own", [None, (), [], (("a", "1"),), [("a", "1"), ("a", b"2")], Metadata(("a", "1"))])
def test_metadata_of_every_legal_type(own):
    found = grpc.with_metadata(own, ADD)
    assert type(found) is (tuple if own is None else type(own))
    assert list(found) == [*(own or ()), *SENT]
    assert found is not own


@pytest.mark.parametrize(
    "own", [iter(()), {"a": 1}, "text", 5, (("traceparent", "t"), ("baggage", "a=3,b=4"))], ids=lambda own: str(own)[:9]
)
def test_metadata_that_stays_as_it_is(own):
    """What is no metadata is the library's to refuse; and where all is there, nothing is added."""
    assert grpc.with_metadata(own, ADD) is None


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ([("traceparent", "mine")], ["baggage"]),
        ([("elastic-apm-traceparent", "mine")], ["baggage"]),
        ([("tracestate", "mine")], ["traceparent", "baggage", "elastic-apm-traceparent"]),
        ([("baggage", "z=1")], ["traceparent", "tracestate", "baggage", "elastic-apm-traceparent"]),
        ([("odd",), "pair", ("a", "b", "c")], [name for name, _ in SENT]),
    ],
)
def test_what_the_program_has_put_there_itself_stays(own, names):
    before = list(own)
    found = grpc.with_metadata(own, ADD)
    assert own == before
    assert found[: len(own)] == own
    assert [name for name, _ in found[len(own) :]] == names


def test_baggage_of_the_program_wins():
    found = grpc.with_metadata([("baggage", b"a=mine")], ADD)
    assert [value for name, value in found if name == "baggage"] == [b"a=mine", "b=2"]


def test_without_state_and_baggage():
    add = {"traceparent": "t"}
    assert grpc.with_metadata(None, add) == (("traceparent", "t"), ("elastic-apm-traceparent", "t"))
    assert isinstance(grpc.call("m", None), SpanDraft)
