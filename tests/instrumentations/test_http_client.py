"""http.client: one span per exchange, headers in whatever uses it, connections as bare."""

from __future__ import annotations

import gc
import http.client
import socket
import weakref
import xmlrpc.client

import pytest
from tests.instrumentations.peer import refusing
from tests.instrumentations.recorder import instrumented, outcome

from apm_run.tracer import current


@pytest.fixture
def recorder():
    with instrumented("http_client") as recorder:
        yield recorder


def get(server, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_whole_span(recorder, server):
    with recorder.running():
        assert get(server, "/items?id=1") == 200
    assert recorder.snapshot(server.port) == [
        {
            "name": "GET 127.0.0.1",
            "type": "external",
            "subtype": "http",
            "outcome": "success",
            "sync": True,
            "sample_rate": 1.0,
            "context": {
                "http": {
                    "url": "http://127.0.0.1:9999/items?id=1",
                    "method": "GET",
                    "status_code": 200,
                    "response": {"status_code": 200},
                },
                "destination": {
                    "address": "127.0.0.1",
                    "port": 9999,
                    "service": {"resource": "127.0.0.1:9999", "name": "", "type": ""},
                },
                "service": {"target": {"type": "http", "name": "127.0.0.1:9999"}},
            },
        }
    ]
    span = recorder.spans[0]
    assert server.sent("traceparent") == [[f"00-{span['trace_id']}-{span['id']}-01"]]
    assert server.sent("tracestate") == [["es=s:1"]]


@pytest.mark.parametrize(
    ("status", "expected"), [(204, "success"), (304, "success"), (404, "failure"), (503, "failure")]
)
def test_outcome_follows_the_status(recorder, server, status, expected):
    with recorder.running():
        assert get(server, f"/status/{status}") == status
    assert [(span["outcome"], span["context"]["http"]["status_code"]) for span in recorder.spans] == [
        (expected, status)
    ]


def test_nothing_outside_of_a_transaction(recorder, server):
    assert get(server) == 200
    assert recorder.spans == []
    assert server.sent("traceparent") == [[]]


def test_unsampled_sends_the_transaction_as_parent(recorder, server):
    with recorder.running(sampled=False) as transaction:
        assert get(server) == 200
    assert recorder.spans == []
    assert server.sent("traceparent") == [[f"00-{transaction.trace_id}-{transaction.id}-00"]]


def test_a_traceparent_of_the_programs_own_stays_alone(recorder, server):
    with recorder.running():
        get(server, TraceParent="00-theirs-01")
    assert server.sent("traceparent") == [["00-theirs-01"]]
    assert server.sent("tracestate") == [[]]


def test_a_connection_in_use_again(recorder, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with recorder.running():
        for path in ("/a", "/continue", "/close", "/b"):
            connection.request("POST", path, body=b"x" * 10)
            connection.getresponse().read()
    connection.close()
    assert recorder.tree() == (
        "test [test] success\n"
        "  POST 127.0.0.1 [external/http] success\n"
        "  POST 127.0.0.1 [external/http] success\n"
        "  POST 127.0.0.1 [external/http] success\n"
        "  POST 127.0.0.1 [external/http] success"
    )
    assert [len(values) for values in server.sent("traceparent")] == [1, 1, 1, 1]
    assert [body for *_, body in server.requests] == [b"x" * 10] * 4
    assert not any("apm" in name for name in vars(connection))


def test_a_tunnel_names_what_is_behind_it(recorder, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.set_tunnel("behind.example", 80)
    with recorder.running():
        connection.request("GET", "/x")
        connection.getresponse().read()
    connection.close()
    assert [method for method, *_ in server.requests] == ["CONNECT", "GET"]
    assert [len(values) for values in server.sent("traceparent")] == [0, 1]
    assert recorder.spans[0]["context"]["http"]["url"] == "http://behind.example/x"
    assert recorder.spans[0]["context"]["destination"]["address"] == "behind.example"


def test_a_request_through_a_proxy_names_its_url(recorder, server):
    with recorder.running():
        get(server, "http://user:secret@elsewhere.example:81/x")
    assert recorder.spans[0]["context"]["http"]["url"] == "http://elsewhere.example:81/x"
    assert recorder.spans[0]["name"] == "GET elsewhere.example"


def test_an_ipv6_address(recorder):
    connection = http.client.HTTPConnection("::1", refusing())
    with recorder.running(), pytest.raises(OSError):
        connection.request("GET", "/x")
    context = recorder.spans[0]["context"]
    assert context["http"]["url"] == f"http://[::1]:{connection.port}/x"
    assert context["destination"]["address"] == "::1"
    assert recorder.spans[0]["name"] == "GET [::1]"


def test_errors_close_the_span_and_pass_as_they_are(recorder, server):
    port = refusing()

    def refused():
        http.client.HTTPConnection("127.0.0.1", port).request("GET", "/")

    def reset():
        get(server, "/reset")

    def garbage():
        get(server, "/garbage")

    def invalid():
        get(server, "/a b")

    def timeout():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=0.05)
        connection.request("GET", "/slow")
        try:
            connection.getresponse()
        finally:
            connection.close()

    cases = {refused: ConnectionError, reset: ConnectionError, garbage: http.client.BadStatusLine,
             invalid: http.client.InvalidURL, timeout: socket.timeout}  # fmt: skip
    for call, kind in cases.items():
        recorder.spans.clear()
        with recorder.running(), pytest.raises(kind) as caught:
            call()
        assert [span["outcome"] for span in recorder.spans] == ["failure"], call.__name__
        assert not any("apm_run" in str(entry.path) for entry in caught.traceback) or not hasattr(
            caught.value, "add_note"
        )


def test_a_response_nobody_asks_for(recorder, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with recorder.running():
        connection.request("GET", "/")
        connection.close()
    assert [span["outcome"] for span in recorder.spans] == ["unknown"]


def test_a_request_too_early_leaves_the_first_one_alone(recorder, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with recorder.running():
        connection.request("GET", "/first")
        with pytest.raises(http.client.CannotSendRequest):
            connection.request("GET", "/second")
        assert connection.getresponse().read()
    connection.close()
    assert [(span["context"]["http"]["url"][-6:], span["outcome"]) for span in recorder.spans] == [
        ("second", "failure"),
        ("/first", "success"),
    ]


def test_a_forgotten_connection_is_freed_at_once(recorder, server):
    with recorder.running():
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.putrequest("GET", "/")
        gone = weakref.ref(connection)
        gc.disable()
        try:
            del connection
            assert gone() is None
        finally:
            gc.enable()


def test_subclasses_and_what_stands_on_them(recorder, server):
    class Connection(http.client.HTTPConnection):
        def putrequest(self, method, url, **kwargs):
            super().putrequest(method, f"/prefix{url}", **kwargs)

        def getresponse(self):
            return super().getresponse()

    with recorder.running():
        connection = Connection("127.0.0.1", server.port)
        connection.request("PUT", "/x", body="text")
        connection.getresponse().read()
        connection.close()
        proxy = xmlrpc.client.ServerProxy(f"{server.url}/rpc")
        with pytest.raises(Exception, match=r"syntax error|not well-formed"):
            proxy.method(1)
        proxy("close")()
    assert recorder.tree() == (
        "test [test] success\n  PUT 127.0.0.1 [external/http] success\n  POST 127.0.0.1 [external/http] success"
    )
    assert [len(values) for values in server.sent("traceparent")] == [1, 1]


def test_current_stays_what_it_was(recorder, server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with recorder.running() as transaction:
        connection.request("GET", "/")
        assert current.get() is transaction
        connection.getresponse().read()
        assert current.get() is transaction
    connection.close()


HOSTILE = [
    ((None, "/"), {}),
    ((b"GET", "/"), {}),
    (("GET", b"/"), {}),
    (("GET", None), {}),
    (("GET", 5), {}),
    (("", "/"), {}),
    (("GE T", "/"), {}),
    (("GET\r\nX: y", "/"), {}),
    (("GET", "/\r\nX: y"), {}),
    (("GET", "/\u00e9"), {}),
    (("GET", "/"), {"headers": {"a\nb": "c"}}),
    (("GET", "/"), {"headers": {b"traceparent": b"x"}}),
    (("GET", "/"), {"headers": [("a", "b")]}),
    (("GET", "/"), {"headers": {"a": None}}),
    (("GET", "/"), {"headers": {"a": 5}}),
    (("POST", "/"), {"body": 5}),
    (("POST", "/"), {"body": [b"a", "b"]}),
    (("GET",), {}),
    ((), {"method": "GET", "url": "/"}),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_arguments(number, server):
    args, kwargs = HOSTILE[number]

    def call():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        try:
            connection.request(*args, **kwargs)
            return connection.getresponse().status
        finally:
            connection.close()

    before = repr((args, kwargs))
    bare = outcome(call)
    with instrumented("http_client") as recorder, recorder.running():
        assert outcome(call) == bare
    assert repr((args, kwargs)) == before


def test_methods_on_what_is_no_connection(recorder):
    class Slotted:
        __slots__ = ()

    with recorder.running():
        for instance in (Slotted(), Slotted, None, 5):
            with pytest.raises((AttributeError, TypeError), match=r"attribute|object"):
                http.client.HTTPConnection.endheaders(instance)
            with pytest.raises((AttributeError, TypeError), match=r"attribute|object"):
                http.client.HTTPConnection.putrequest(instance, "GET", "/")
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            http.client.HTTPConnection.close()
