"""What an application and its server see of each other when the call between them is traced."""

from __future__ import annotations

import gc
import inspect
import sys
import traceback
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from tests.unit.conventions.collecting import Collecting

from apm_run import guard
from apm_run.conventions import http_server, wsgi
from apm_run.model import SpanDraft
from apm_run.tracer import current


def environ(**more):
    found = {"HTTP_HOST": "shop.example:8080", "SCRIPT_NAME": "", "PATH_INFO": "/a", "REMOTE_ADDR": "192.0.2.1"}
    found["QUERY_STRING"] = ""
    found.update(more)
    setup_testing_defaults(found)
    return found


class Server:
    """It calls an application, and keeps what it was told."""

    def __init__(self, app, **more):
        self.environ = environ(**more)
        self.started = []
        self.written = []
        self.result = app(self.environ, self.start_response)

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.written:
            raise exc_info[1]
        self.started.append((status, headers, exc_info))
        return self.written.append

    def body(self):
        return b"".join(self.result)

    def close(self):
        if hasattr(self.result, "close"):
            self.result.close()


@pytest.fixture
def seen():
    found = Collecting()
    yield found
    assert current.get() is None


def ready(result):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return result

    return app


@pytest.mark.parametrize("result", [[b"a"], (b"a",), b"a", "a", []])
def test_what_is_ready_is_handed_on_and_ends_the_request(seen, result):
    server = Server(wsgi.application(seen.tracer, ready(result), None))
    assert server.result is result
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]


def test_the_servers_own_file_wrapper_is_handed_on(seen):
    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](sys.stdin)

    server = Server(wsgi.application(seen.tracer, app, None), **{"wsgi.file_wrapper": FileWrapper})
    assert type(server.result) is FileWrapper
    assert len(seen.transactions) == 1


def test_a_file_wrapper_that_is_a_function(seen):
    pieces = iter([b"1"])
    server = Server(wsgi.application(seen.tracer, ready(pieces), None), **{"wsgi.file_wrapper": lambda file: file})
    assert server.body() == b"1"


def test_the_application_gets_what_the_server_gives(seen):
    def app(given, start_response):
        nonlocal got
        got = given, dict(given)
        start_response("200 OK", [])
        return []

    got = None
    server = Server(wsgi.application(seen.tracer, app, None))
    assert got[0] is server.environ
    assert got[1] == environ() | {name: server.environ[name] for name in ("wsgi.input", "wsgi.errors")}
    assert server.started == [("200 OK", [], None)]


class Lazy:
    """A response with everything that servers ask for."""

    flavour = "sweet"

    def __init__(self, pieces, length=None):
        self._pieces = iter(pieces)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)

    def close(self):
        self.closed += 1


def test_a_body_is_like_the_response(seen):
    lazy = Lazy([b"1", b"2"])
    server = Server(wsgi.application(seen.tracer, ready(lazy), None))
    assert iter(server.result) is server.result
    assert server.result.flavour == "sweet"
    assert not hasattr(server.result, "__len__")
    with pytest.raises(AttributeError):
        server.result.bitter  # noqa: B018
    assert next(server.result) == b"1"
    assert not seen.transactions
    assert server.body() == b"2"
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]
    server.close()
    assert lazy.closed == 1
    assert len(seen.transactions) == 1


def test_a_body_knows_its_length(seen):
    class Sized(list):
        pass

    server = Server(wsgi.application(seen.tracer, ready(Sized([b"1", b"2"])), None))
    assert len(server.result) == 2
    assert next(server.result) == b"1"
    assert server.body() == b"12"  # a second iteration begins anew, as it does bare


def test_what_is_only_indexed(seen):
    class Indexed:
        def __getitem__(self, index):
            return [b"1", b"2"][index]

    assert Server(wsgi.application(seen.tracer, ready(Indexed()), None)).body() == b"12"
    assert len(seen.transactions) == 1


@pytest.mark.parametrize("result", [None, 7])
def test_what_is_no_response_is_left_to_the_server(seen, result):
    assert Server(wsgi.application(seen.tracer, ready(result), None)).result is result
    assert seen.lines() == ["GET unknown route | HTTP 5xx | failure | False"]


def test_closed_before_its_end(seen):
    server = Server(wsgi.application(seen.tracer, ready(Lazy([b"1", b"2"])), None))
    next(server.result)
    server.close()
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | False"]


def test_the_request_ends_before_the_client_has_all_of_it(seen):
    """By the length it was told of; what follows is still of this trace."""

    class Worked(Lazy):
        def close(self):
            seen.work("in close")

    server = Server(wsgi.application(seen.tracer, ready(Worked([b"", b"1", b"2"])), None))
    assert [next(server.result), next(server.result), len(seen.transactions)] == [b"", b"1", 0]
    assert [next(server.result), len(seen.transactions)] == [b"2", 1]
    server.close()
    assert seen.spans[0]["transaction_id"] == seen.transactions[0]["id"]
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]


@pytest.mark.parametrize(("pieces", "ended"), [([b"12"], 1), ([b"1", b"2"], 0)])
def test_the_length_of_a_single_piece_is_announced_by_the_server(seen, pieces, ended):
    class Sized(list):
        pass

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "many")])
        return Sized(pieces)

    server = Server(wsgi.application(seen.tracer, app, None))
    next(iter(server.result))
    assert len(seen.transactions) == ended


@pytest.mark.parametrize("headers", [[], [("Content-Length", "-1")], (("Content-Length", "1"),), None])
def test_no_length_or_none_that_counts(seen, headers):
    def app(environ, start_response):
        start_response("200 OK", headers)
        return Lazy([b"1", b"2"])

    server = Server(wsgi.application(seen.tracer, app, None))
    next(server.result)
    assert not seen.transactions
    assert server.body() == b"2"
    assert len(seen.transactions) == 1


def test_written_to_the_end(seen):
    def app(environ, start_response):
        write = start_response("200 OK", [("content-length", "2")])
        write(b"1")
        assert not seen.transactions
        write(b"2")
        assert len(seen.transactions) == 1
        write(b"")
        return []

    assert Server(wsgi.application(seen.tracer, app, None)).written == [b"1", b"2", b""]
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]


def test_abandoned(seen):
    server = Server(wsgi.application(seen.tracer, ready(iter([b"1"])), None))
    del server
    gc.collect()
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | False"]


def test_current_only_while_the_application_works(seen):
    states = []

    def app(environ, start_response):
        states.append(current.get() is not None)
        start_response("200 OK", [])

        def pieces():
            states.append(current.get() is not None)
            seen.work("in the stream")
            yield b"1"
            states.append(current.get() is not None)
            yield b"2"

        return Closing(pieces())

    class Closing(Lazy):
        def close(self):
            states.append(current.get() is not None)
            seen.work("at its end")

    server = Server(wsgi.application(seen.tracer, app, None))
    assert current.get() is None
    for _ in server.result:
        assert current.get() is None
    server.close()
    assert states == [True] * 4
    assert [span["name"] for span in seen.spans] == ["in the stream", "at its end"]
    assert {span["transaction_id"] for span in seen.spans} == {seen.transactions[0]["id"]}


def test_a_span_that_lasts_over_pieces(seen):
    """What the application made current between two pieces is current again with the next, and only then."""

    def app(environ, start_response):
        start_response("200 OK", [])

        def pieces():
            parent = current.get()
            span = seen.tracer.begin(SpanDraft("outer", "app", exit=False), parent)
            current.set(span)
            yield b"1"
            seen.work("inner")
            current.set(parent)
            seen.tracer.end(span)
            yield b"2"

        return pieces()

    server = Server(wsgi.application(seen.tracer, app, None))
    for _ in server.result:
        assert current.get() is None
    inner, outer = seen.spans
    assert (inner["name"], outer["name"]) == ("inner", "outer")
    assert inner["parent_id"] == outer["id"]


class Gone(OSError):
    pass


def test_write_of_the_server_that_fails(seen):
    """The client has gone: the exception is the server's, and no error of the application."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"1")
        return []

    class Deaf(Server):
        def start_response(self, *args):
            super().start_response(*args)
            return self.write

        def write(self, data):
            raise Gone

    with pytest.raises(Gone):
        Deaf(wsgi.application(seen.tracer, app, None))
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | False"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError, "GET unknown route | HTTP 5xx | failure | False | ValueError"),
        (SystemExit, "GET unknown route | HTTP 5xx | failure | False"),
        (KeyboardInterrupt, "GET unknown route | None | success | False"),
        (GeneratorExit, "GET unknown route | None | success | False"),
    ],
)
def test_what_the_application_raises_passes(seen, error, line):
    raised = error("x")

    def app(environ, start_response):
        start_response("200 OK", [])
        raise raised

    with pytest.raises(error) as caught:
        Server(wsgi.application(seen.tracer, app, None))
    assert caught.value is raised
    assert seen.lines() == [line]


def test_error_between_two_pieces(seen):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"1"
        raise ValueError

    server = Server(wsgi.application(seen.tracer, app, None))
    assert next(server.result) == b"1"
    with pytest.raises(ValueError):
        next(server.result)
    server.close()
    assert seen.lines() == ["GET unknown route | HTTP 2xx | failure | False | ValueError"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones keep the traceback apart from the exception")
def test_tracebacks_are_as_bare(seen):
    class Framework:
        def __call__(self, environ, start_response):
            raise ValueError

    class Traced(Framework):
        __call__ = wsgi.method(seen.tracer, Framework.__call__, "framework")

    def app(environ, start_response):
        start_response("200 OK", [])
        yield from Framework()(environ, start_response)

    def frames(app):
        with pytest.raises(ValueError) as caught:
            Server(app).body()
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert frames(wsgi.application(seen.tracer, app, None)) == frames(app)
    assert frames(Traced()) == frames(Framework())


def test_one_request_through_many_layers(seen):
    class Framework:
        def __call__(self, environ, start_response):
            seen.work("inside")
            start_response("200 OK", [])
            return [b"1"]

    original = Framework.__call__
    Framework.__call__ = wsgi.method(seen.tracer, original, "tests")
    middle = wsgi.application(seen.tracer, Framework(), None)
    assert Server(wsgi.application(seen.tracer, middle, None)).body() == b"1"
    assert len(seen.transactions) == len(seen.spans) == 1
    assert seen.transactions[0]["context"]["service"]["framework"]["name"] == "tests"


def test_an_error_that_a_layer_outside_the_framework_handles(seen):
    class Framework:
        def __call__(self, environ, start_response):
            raise ValueError

    traced = wsgi.method(seen.tracer, Framework.__call__, "tests")

    def catching(environ, start_response):
        try:
            return traced(Framework(), environ, start_response)
        except ValueError:
            start_response("500 Oh", [])
            return []

    Server(wsgi.application(seen.tracer, catching, None))
    assert seen.lines() == ["GET unknown route | HTTP 5xx | failure | True | ValueError"]


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_in_process_is_a_request_of_its_own(seen, sent):
    """A client's span is current while it calls an application, which then continues its trace."""
    inner = wsgi.application(seen.tracer, ready([b"1"]), None)

    def app(environ, start_response):
        parent = current.get()
        span = seen.tracer.begin(SpanDraft("GET inner", "external", "http"), parent)
        current.set(span)
        Server(inner, **({"HTTP_TRACEPARENT": seen.tracer.headers(span)["traceparent"]} if sent else {}))
        assert current.get() is span
        current.set(parent)
        seen.tracer.end(span)
        start_response("201 Created", [])
        return []

    Server(wsgi.application(seen.tracer, app, None))
    within, outside = seen.transactions
    assert (within["result"], outside["context"]["response"]["status_code"]) == ("HTTP 2xx", 201)
    assert within["parent_id"] == seen.spans[0]["id"]
    assert within["trace_id"] == outside["trace_id"]


def test_the_program_is_no_transaction_once_it_serves(seen):
    seen.tracer.begin_ambient("program", 0, 0, None)
    Server(wsgi.application(seen.tracer, ready([]), None))
    assert seen.tracer.ambient is None


def test_a_program_that_calls_an_application_is_one(seen):
    seen.tracer.begin_ambient("program", 0, 0, None)
    span = seen.tracer.begin(SpanDraft("GET x", "external", "http"), seen.tracer.ambient)
    current.set(span)
    Server(wsgi.application(seen.tracer, ready([]), None))
    current.set(None)
    assert seen.tracer.ambient is not None


def test_not_recording():
    seen = Collecting(recording="false")
    app = ready([b"1"])
    server = Server(wsgi.application(seen.tracer, app, None))
    assert server.body() == b"1"
    assert not seen.transactions


def test_ignored():
    seen = Collecting(transaction_ignore_urls="/a*")

    def app(environ, start_response):
        assert not current.get().transaction.sampled
        start_response("200 OK", [])
        raise ValueError

    framework = wsgi.application(seen.tracer, app, "tests")  # both layers see the error
    with pytest.raises(ValueError):
        Server(wsgi.application(seen.tracer, framework, None))
    assert not seen.transactions
    (error,) = seen.errors
    assert "trace_id" not in error


def test_headers_off():
    seen = Collecting(capture_headers="false")
    Server(wsgi.application(seen.tracer, ready([]), None), HTTP_X_A="1")
    context = seen.transactions[0]["context"]
    assert "headers" not in context["request"]
    assert "headers" not in context["response"]


@pytest.mark.parametrize("place", ["inner", "begin", "request", "answer", "die"])
def test_a_failure_of_ours_is_no_matter(monkeypatch, place):
    """Wherever ours fails, the application is called once, and the server sees what it would see."""

    def failing(*args, **kwargs):
        raise RuntimeError("ours")

    calls = []

    def app(environ, start_response):
        calls.append(1)
        start_response("200 OK", [])
        yield b"1"
        raise ValueError("theirs")

    seen = Collecting()
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(http_server, place, failing)
    server = Server(wsgi.application(seen.tracer, app, None))
    assert next(iter(server.result)) == b"1"
    with pytest.raises(ValueError, match="theirs"):
        next(server.result)
    server.close()
    assert calls == [1]
    assert current.get() is None
    assert guard.failures
    guard.failures.clear()


def test_arguments_are_refused_as_bare(seen):
    def app(environ, start_response):
        return []

    with pytest.raises(TypeError):
        wsgi.application(seen.tracer, app, None)()
    with pytest.raises(TypeError):
        wsgi.method(seen.tracer, app, None)(None, 1, 2, 3)


def test_an_application_keeps_its_attributes(seen):
    class App:
        name = "shop"

        def __call__(self, environ, start_response):
            return []

    app = App()
    traced = wsgi.application(seen.tracer, app, None)
    assert traced.name == "shop"
    assert traced.__wrapped__ is app
    assert callable(traced)
    assert not hasattr(traced, "__iter__")
    assert inspect.unwrap(traced) is app


@pytest.mark.filterwarnings("default")
def test_the_standard_library_has_nothing_against_it(seen):
    """wsgiref's validator between server and us, and between us and the application."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"1"

    server = Server(validator(wsgi.application(seen.tracer, validator(app), None)))
    assert [piece for piece in server.result] == [b"1"]  # noqa: C416 (the validator counts the steps)
    server.close()
    assert seen.lines() == ["GET unknown route | HTTP 2xx | success | True"]


def test_14_15_the_headers_of_a_trace(seen):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app = wsgi.application(seen.tracer, ready([b"x"]), None)
    Server(app, HTTP_ELASTIC_APM_TRACEPARENT=parent, HTTP_BAGGAGE="a=1,no,b=2", HTTP_TRACESTATE="")
    Server(app, HTTP_TRACEPARENT=f"{parent},{parent}", HTTP_BAGGAGE="")
    Server(app, HTTP_TRACEPARENT=None, HTTP_TRACESTATE="es=s:0.5")
    legacy, twice, none = seen.transactions
    assert (legacy["trace_id"], legacy["parent_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert legacy["otel"]["attributes"] == {"baggage.a": "1", "baggage.b": "2"}
    assert [one["sample_rate"] for one in (twice, none)] == [1.0, 1.0]
    assert not any("parent_id" in one or "otel" in one for one in (twice, none))
