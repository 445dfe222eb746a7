"""What an event shows of a request's body (spec 22, capture_body), and how the program reads it all the same."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import time
import tracemalloc
from wsgiref.validate import validator

import pytest
from tests.unit.conventions.collecting import Collecting
from tests.unit.conventions.test_wsgi_calls import Server

from apm_run import config, guard
from apm_run.conventions import asgi, body, body_text, wsgi
from apm_run.conventions.wsgi_input import Input

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def seen(content_type, data, encoding="", event="transaction", **options):
    """What a transaction shows of a body that was read."""
    options = {"capture_body": "all", "capture_body_content_types": "*", **options}
    settings, problems = config.load({f"ELASTIC_APM_{name.upper()}": value for name, value in options.items()})
    assert not problems
    found = body.of_request(content_type, encoding, settings)
    if isinstance(found, str):
        return found
    found.add(data)
    return found(event)


@pytest.mark.parametrize(
    ("option", "transaction", "error"),
    [
        ("off", "[REDACTED]", "[REDACTED]"),
        ("errors", "[REDACTED]", "a"),
        ("transactions", "a", "[REDACTED]"),
        ("all", "a", "a"),
    ],
)
def test_capture_body_selects_the_events(option, transaction, error):
    """Spec 22: off / errors / transactions / all select the event types."""
    assert seen("text/plain", b"a", capture_body=option) == transaction
    assert seen("text/plain", b"a", capture_body=option, event="error") == error


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        ("text/plain", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("application/json", True),
        ("application/xml", True),
        (FORM, True),
        ("application/octet-stream", False),
        ("multipart/form-data; boundary=x", False),
        ("", False),
    ],
)
def test_capture_body_content_types(content_type, shown):
    """Spec 4.2: the default list."""
    default = config.BY_NAME["capture_body_content_types"].default
    data = b"[1]" if "json" in content_type else b"1=2"
    assert (seen(content_type, data, capture_body_content_types=default) != "[REDACTED]") is shown


@pytest.mark.parametrize(
    ("content_type", "data", "shown"),
    [
        ("text/plain", "ä".encode(), "ä"),
        ("text/plain; charset=latin-1", b"\xe4", "ä"),
        ("text/plain; charset=odd", b"a", "[REDACTED]"),
        ("text/plain", b"\xff", "[REDACTED]"),
        ("text/plain", b"a\0b", "[REDACTED]"),
        ("text/plain", b'{"password": "s3cr3t"}', '{"password": "[REDACTED]"}'),
        ("text/plain", b"{not JSON", "{not JSON"),
        (JSON, b'{"a": {"password": "s3cr3t"}}', '{"a": {"password": "[REDACTED]"}}'),
        (JSON, b"[1]", "[1]"),
        (JSON, b"{'password': 's3cr3t'}", "[REDACTED]"),
        (JSON, b'{"pass\\word": "s3cr3t"}', "[REDACTED]"),
        ("application/vnd.api+json", b'{"token": ["s3cr3t"]}', '{"token": "[REDACTED]"}'),
        (JSON, '{"password": 1}'.encode("utf-16"), "[REDACTED]"),
        (FORM, b"a=1&a=2&a=3&b=%C3%A4+x&password=s3cr3t&c", {
         "a": ["1", "2", "3"], "b": "ä x", "password": "[REDACTED]", "c": ""}),
        (FORM, b'{"password": "s3cr3t"}', '{"password": "[REDACTED]"}'),
        (FORM, b"{password: s3cr3t}", "[REDACTED]"),
        ("multipart/mixed; boundary=x", b"--x\r\n\r\na", "[REDACTED]"),
        ("multipart/form-data", b"--x\r\n\r\na", "[REDACTED]"),
        ("image/png", b"\x89PNG\r\n", "[REDACTED]"),
    ],
)  # fmt: skip
def test_kinds_of_bodies(content_type, data, shown):
    assert seen(content_type, data) == shown


def test_what_is_compressed_is_not_shown():
    assert seen("text/plain", b"a", encoding="gzip") == "[REDACTED]"
    assert seen("text/plain", b"a", encoding="identity") == "a"


def part(name, content, file=None, kind=None):
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    return f"--b0\r\n{head}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "") + f"\r\n{content}\r\n"


def test_multipart_shows_fields_and_the_names_of_files():
    """Spec 22: files only as names under ``_files``."""
    data = "".join(
        [
            part("title", "one"),
            part("title", "two"),
            part("password", "s3cr3t"),
            part("user[token]", "s3cr3t"),
            part("photo", "s3cr3t content", "holiday.png", "image/png"),
            part("meta", '{"pwd": "s3cr3t", "a": 1}', kind="application/json"),
            part("broken", "{pwd: s3cr3t}", kind="application/json"),
            "--b0--\r\n",
        ]
    )
    assert seen('multipart/form-data; boundary="b0"', data.encode()) == {
        "title": ["one", "two"],
        "password": "[REDACTED]",
        "user[token]": "[REDACTED]",
        "meta": '{"pwd": "[REDACTED]", "a": 1}',
        "broken": "[REDACTED]",
        "_files": {"photo": "holiday.png"},
    }


@pytest.mark.parametrize("cut", range(0, 260, 7))
def test_a_multipart_body_that_was_read_in_part(cut):
    data = part("password", "s3cr3t") + part("a", "b") + part("photo", "s3cr3t", "x.png")
    found = seen("multipart/form-data; boundary=b0", data.encode()[:cut])
    assert "s3c" not in str(found)


@pytest.mark.parametrize("kind", ["text/plain", FORM, JSON])
def test_long_field_max_length(kind):
    """Spec 2, 4.2."""
    data = {"text/plain": b"x" * 50_000, FORM: b"a=" + b"x" * 50_000, JSON: b'["' + b"x" * 50_000}[kind]
    found = seen(kind, data)
    text = found["a"] if kind == FORM else found
    assert len(text) == (9_998 if kind == FORM else 10_000)
    assert text.endswith("\u2026")
    assert len(str(seen(kind, data, long_field_max_length="100"))) <= 110
    assert seen("text/plain", "\U0001f600".encode() * 50_000) == "\U0001f600" * 9_999 + "\u2026"


def test_nothing_read_nothing_shown():
    assert seen("text/plain", b"") is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":"\\"password\\": 1","password":"x"}', '{"a":"\\"password\\": 1","password":"[REDACTED]"}'),
        ('{"pass\\u0077ord": "x"}', '{"pass\\u0077ord": "[REDACTED]"}'),
        ('{"secret": {"a": [1, {"b": 2}]}, "c": 3}', '{"secret": "[REDACTED]", "c": 3}'),
        ('{"secret" : 1.5e3 , "c":null}', '{"secret" : "[REDACTED]" , "c":null}'),
        ('{"a":1}\n{"pwd":2}\n', '{"a":1}\n{"pwd":"[REDACTED]"}\n'),
        ('{"pwd": "cut of', '{"pwd": "[REDACTED]"'),
        ('{"pwd": {"a": [', '{"pwd": "[REDACTED]"'),
        ('{"pwd":', '{"pwd":"[REDACTED]"'),
        ('{"pwd', '{"pwd'),
        ('{"a": "cut o\\', '{"a": "cut o\\'),
        ("[]", "[]"),
        ("{}", "{}"),
        ('"text"', '"text"'),
        ("\ufeff{}", "\ufeff{}"),
        ("[1}", None),
        ("{1: 2}", None),
        ('{"a" 1}', None),
        ('{"a": :}', None),
        ("[1 2]", None),
        ("[1,]", None),
        ("]", None),
        ("<a>", None),
    ],
)
def test_json_text(text, shown):
    assert body_text.json(text, config.load({})[0] and SECRET) == shown


SECRET = body.sanitize.names(config.load({})[0].sanitize_field_names)


def test_ten_thousand_brackets_take_no_time_and_no_stack():
    assert body_text.json("[" * 10_000, SECRET) == "[" * 10_000
    assert body_text.json('{"a":' * 2_000, SECRET) == '{"a":' * 2_000


# wsgi.input


@pytest.fixture(params=[io.BytesIO, "file", "buffered"])
def pair(request, tmp_path):
    """The same input twice: as it is, and watched; and what was noted of it."""
    data = b"first\nsecond\nthird"

    def made():
        if request.param is io.BytesIO:
            return io.BytesIO(data)
        if request.param == "file":
            file = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
            file.write(data)
            file.seek(0)
            return file
        return io.BufferedReader(io.BytesIO(data))

    settings, _ = config.load({"ELASTIC_APM_CAPTURE_BODY": "all"})
    noted = body.of_request("text/plain", "", settings)
    plain, inner = made(), made()
    watched = Input(inner, noted)
    yield plain, watched, lambda: noted("transaction")
    plain.close()
    inner.close()


@pytest.mark.parametrize(
    ("read", "noted"),
    [
        (lambda f: f.read(), "first\nsecond\nthird"),
        (lambda f: f.read(3) + f.read(4), "first\ns"),
        (lambda f: f.readline() + f.readline(2), "first\nse"),
        (lambda f: f.readlines(), "first\nsecond\nthird"),
        (lambda f: f.readlines(2), "first\n"),
        (lambda f: list(f), "first\nsecond\nthird"),
        (lambda f: next(f), "first\n"),
        (lambda f: [line for line, _ in zip(f, range(1))], "first\nsecond\n"),
        (lambda f: (f.read(4), f.seek(0), f.read(8)), "first\nse"),
        (lambda f: (f.read(4), f.seek(2), f.read(1), f.read()), "first\nsecond\nthird"),
        (lambda f: (f.seek(4), f.read()), None),
        (lambda f: (f.read(4), f.tell(), f.seek(-2, 1), f.read(6)), "first\nse"),
        (lambda f: (f.readinto(buffer := bytearray(8)), buffer), "first\nse"),
        (lambda f: f.read1(4) + f.read(2), "first\n"),
        (lambda f: (f.seekable(), f.readable(), f.closed, isinstance(f, io.IOBase), bool(f)), None),
        (lambda f: f.__enter__().read(2), "fi"),
        (lambda f: f.read("x"), None),
        (lambda f: f.missing, None),
        (lambda f: f.seek("x"), None),
        (lambda f: hash(f) == hash(f), None),
        (lambda f: f == f, None),
        (lambda f: "readline" in dir(f), None),
        (lambda f: f.close() or f.read(), None),
        (lambda f: f.close() or next(f), None),
        (lambda f: f.close() or next(iter(f)), None),
        (lambda f: ((reader := io.BufferedReader(f)).readline(), bool(reader.detach())), "first\nsecond\nthird"),
    ],
)
def test_the_input_reads_as_the_servers_own(pair, read, noted):
    plain, watched, shown = pair

    def outcome(file):
        try:
            return read(file)
        except Exception as error:
            return type(error), str(error)

    assert outcome(watched) == outcome(plain)
    assert shown() == noted


class Odd:
    """An input of a server's, with what only it has."""

    marks = 0

    def __init__(self, lines):
        self._lines = lines

    def read(self, size=-1):
        return None if size == 0 else self._lines.pop(0)

    def __iter__(self):
        return iter(list(self._lines))

    def __eq__(self, other):
        return isinstance(other, Odd)

    __hash__ = None

    def __repr__(self):
        return "<odd>"


def test_an_input_of_a_type_of_its_own():
    settings, _ = config.load({"ELASTIC_APM_CAPTURE_BODY": "all"})
    noted = body.of_request("text/plain", "", settings)
    odd = Odd([b"a", bytearray(b"b"), memoryview(b"c"), 7])
    watched = Input(odd, noted)
    assert isinstance(watched, Odd)
    watched.marks = 3
    assert odd.marks == 3
    del watched.marks
    assert watched.marks == 0
    assert watched == Odd([])
    assert watched == Input(Odd([]), noted)
    assert repr(watched) == "<odd>"
    assert [watched.read(0), *map(bytes, (watched.read(), watched.read(), watched.read()))] == [None, b"a", b"b", b"c"]
    assert watched.read() == 7
    assert not hasattr(watched, "readline")
    odd._lines = [b"d", b"e"]
    assert list(watched) == [b"d", b"e"]
    assert noted("transaction") == "abcde"


def test_a_server_that_can_not_tell_where_it_is():
    class Blind(io.BytesIO):
        def tell(self):
            raise OSError

    settings, _ = config.load({"ELASTIC_APM_CAPTURE_BODY": "all"})
    noted = body.of_request("text/plain", "", settings)
    watched = Input(Blind(b"abc"), noted)
    watched.read(1)
    watched.seek(0)
    assert watched.read() == b"abc"
    assert noted("transaction") == "a"


# Requests


def post(seen, app, data, **more):
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))}
    return Server(wsgi.application(seen.tracer, app, None), **{**environ, **more})


def reading(environ, start_response):
    data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [data]


def failing(environ, start_response):
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    raise ZeroDivisionError


def request_of(event):
    return event["context"]["request"]


def test_off_leaves_the_servers_input_and_says_that_there_was_a_body():
    """Spec 22: off shows [REDACTED] for a request that has a body."""
    seen = Collecting()
    inputs = []

    def app(environ, start_response):
        inputs.append(environ["wsgi.input"])
        start_response("200 OK", [])
        return []

    server = post(seen, app, b"a", CONTENT_TYPE="text/plain")
    assert inputs == [server.environ["wsgi.input"]]
    assert type(inputs[0]) is io.BytesIO
    assert request_of(seen.transactions[0])["body"] == "[REDACTED]"


@pytest.mark.parametrize("more", [{"CONTENT_LENGTH": "0"}, {"CONTENT_LENGTH": ""}])
def test_no_body_no_word_of_one(more):
    seen = Collecting(capture_body="all")

    def app(environ, start_response):
        assert type(environ["wsgi.input"]) is io.BytesIO
        start_response("200 OK", [])
        return []

    post(seen, app, b"", **more)
    assert "body" not in request_of(seen.transactions[0])


def test_a_program_that_does_not_read_shows_none():
    seen = Collecting(capture_body="all")

    def app(environ, start_response):
        start_response("200 OK", [])
        return []

    post(seen, app, b"abc", CONTENT_TYPE="text/plain")
    assert "body" not in request_of(seen.transactions[0])


def test_a_chunked_body_has_no_length():
    seen = Collecting(capture_body="all")

    def app(environ, start_response):
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    environ = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert post(seen, app, b"abc", CONTENT_TYPE="text/plain", **environ).body() == b"abc"
    assert request_of(seen.transactions[0])["body"] == "abc"


@pytest.mark.parametrize("option", ["errors", "transactions", "all"])
def test_transactions_and_errors_show_it_as_asked(option):
    seen = Collecting(capture_body=option)
    with pytest.raises(ZeroDivisionError):
        post(seen, failing, b'{"password": "s3cr3t"}', CONTENT_TYPE=JSON)
    shown = '{"password": "[REDACTED]"}'
    (transaction,), (error,) = seen.transactions, seen.errors
    assert request_of(transaction)["body"] == ("[REDACTED]" if option == "errors" else shown)
    assert request_of(error)["body"] == ("[REDACTED]" if option == "transactions" else shown)
    assert request_of(error)["url"] == request_of(transaction)["url"]
    assert error["context"]["response"] == transaction["context"]["response"]


def test_an_unsampled_request_shows_nothing():
    seen = Collecting(capture_body="all", transaction_sample_rate="0")
    server = post(seen, reading, b"abc", CONTENT_TYPE="text/plain")
    assert type(server.environ["wsgi.input"]) is io.BytesIO
    assert "context" not in seen.transactions[0]


def test_the_protocol_is_kept():
    seen = Collecting(capture_body="all")
    app = validator(wsgi.application(seen.tracer, validator(reading), None))
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(b"abc"), "CONTENT_LENGTH": "3"}
    server = Server(app, **environ, CONTENT_TYPE="text/plain", SCRIPT_NAME="")
    assert server.body() == b"abc"
    server.close()
    assert request_of(seen.transactions[0])["body"] == "abc"


def test_a_huge_upload_is_not_kept():
    class Endless(io.RawIOBase):
        left = 100_000_000

        def read(self, size=-1):
            size = min(size, self.left)
            self.left -= size
            return b"x" * size

    seen = Collecting(capture_body="all")

    def app(environ, start_response):
        while environ["wsgi.input"].read(65_536):
            pass
        start_response("200 OK", [])
        return []

    tracemalloc.start()
    try:
        post(seen, app, b"", CONTENT_TYPE="text/plain", CONTENT_LENGTH="100000000", **{"wsgi.input": Endless()})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(request_of(seen.transactions[0])["body"]) == 10_000
    assert peak < 1_000_000


def test_json_stays_json():
    text = json.dumps({"password": "s3cr3t", "a": ["\u20ac", {"b": None}]})
    shown = json.loads(seen(JSON, text.encode()))
    assert shown == {"password": "[REDACTED]", "a": ["\u20ac", {"b": None}]}


def asked(seen, messages, app, headers=((b"content-type", b"text/plain"), (b"content-length", b"6")), **scope):
    """A request by way of ASGI, whose server gives these messages."""
    given = iter(messages)

    async def receive():
        message = next(given)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers), **scope}
    return asyncio.run(asgi.application(seen.tracer, app, None)(scope, receive, send))


def reader(times):
    async def app(scope, receive, send):
        for _ in range(times):
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return app


PIECES = [
    {"type": "http.request", "body": b"abc", "more_body": True},
    {"type": "http.request"},
    {"type": "http.disconnect"},
]


@pytest.mark.parametrize(("times", "shown"), [(0, None), (1, "abc"), (3, "abc")])
def test_asgi_messages_are_noted_as_they_are_received(times, shown):
    seen = Collecting(capture_body="all")
    asked(seen, PIECES, reader(times))
    assert request_of(seen.transactions[0]).get("body") == shown


def test_what_receive_raises_is_the_servers_and_bare():
    seen = Collecting(capture_body="all")
    with pytest.raises(KeyError, match="server") as caught:
        asked(seen, [PIECES[0], KeyError("server")], reader(2))
    assert all("receiver" not in str(entry) for entry in caught.traceback if sys.version_info >= (3, 11))
    assert request_of(seen.errors[0])["body"] == "abc"


@pytest.mark.parametrize("message", [None, {"type": "http.request", "body": "text"}, {}])
def test_a_message_of_no_use_reaches_the_program(message, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    seen = Collecting(capture_body="all")
    asked(seen, [message], reader(1))
    assert request_of(seen.transactions[0]).get("body") is None


def test_off_leaves_the_servers_receive():
    seen = Collecting()
    received = []

    async def app(scope, receive, send):
        received.append(receive.__qualname__)

    asked(seen, PIECES, app)
    assert received == ["asked.<locals>.receive"]
    assert request_of(seen.transactions[0])["body"] == "[REDACTED]"


@pytest.mark.parametrize(
    ("version", "headers", "has"),
    [
        ("1.1", [(b"content-type", b"text/plain")], False),
        ("1.1", [(b"transfer-encoding", b"chunked")], True),
        ("2", [(b"content-type", b"text/plain")], True),
        ("2", [(b"content-type", b"text/plain"), (b"content-length", b"0")], False),
        ("2", [], False),
        ("3", [(b"content-length", b"7")], True),
    ],
)
def test_which_requests_have_a_body(version, headers, has):
    seen = Collecting()
    asked(seen, PIECES, reader(0), headers=headers, http_version=version)
    assert ("body" in request_of(seen.transactions[0])) is has


def test_a_failure_of_ours_hides_the_body(monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(body_text, "json", None)
    assert seen(JSON, b"{}") == "[REDACTED]"


def test_a_failure_of_ours_leaves_the_input(monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    watched = Input(io.BytesIO(b"ab\ncd"), None)
    assert watched.readline() == b"ab\n"
    assert watched.readinto(bytearray(2)) == 2
    assert watched.read() == b""


def test_hostile_texts_take_no_time():
    started = time.perf_counter()
    for kind in (JSON, FORM, "text/plain", "multipart/form-data; boundary=x"):
        for data in (b" ", b"\\", b'"', b"[", b"[]", b"{", b";", b"&", b"a=&", b"%", b'{"a":', b"--x\r\n"):
            seen(kind, data * 20_000)
            seen(kind, b"--x\r\nContent-Disposition: " + data * 20_000)
    assert time.perf_counter() - started < 5
