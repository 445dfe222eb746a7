"""How the receiver answers on the wire: as APM Server does (spec.md section 1), and only to this machine."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import zlib

import pytest
from tests.local.traffic import NDJSON, ask, body, metadata, send, span, transaction

from apm_run.local.store import Store

INTAKE = "/intake/v2/events"


def test_events_are_accepted_silently(receiver):
    answer = ask(receiver.port, "POST", INTAKE, body(metadata(), transaction()), NDJSON)
    assert (answer.status, answer.body) == (202, b"")
    assert "connection" not in answer.headers


def test_verbose_names_the_number(receiver):
    answer = send(receiver.port, metadata(), transaction(), transaction())
    assert (answer.status, answer.json) == (202, {"accepted": 2})


def test_an_empty_body_is_legal(receiver):
    answer = ask(receiver.port, "POST", INTAKE + "?flushed=true", b"", NDJSON)
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", None])
def test_content_encodings(receiver, encoding):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)
    headers = dict(NDJSON, **({"Content-Encoding": encoding} if encoding else {}))
    answer = ask(receiver.port, "POST", INTAKE + "?verbose", pack(body(metadata(), transaction())), headers)
    assert (answer.status, answer.json) == (202, {"accepted": 1})


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compression_is_found_without_its_header(receiver, pack):
    answer = ask(receiver.port, "POST", INTAKE + "?verbose", pack(body(metadata(), transaction())), NDJSON)
    assert (answer.status, answer.json) == (202, {"accepted": 1})


def test_a_chunked_request_is_stored_while_it_comes(receiver):
    first = transaction()
    packer = zlib.compressobj(wbits=31)
    connection = socket.create_connection(("127.0.0.1", receiver.port), timeout=30)

    def chunk(data):
        connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    with connection:
        connection.sendall(
            f"POST {INTAKE}?verbose HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nContent-Type: application/x-ndjson"
            "\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk(packer.compress(body(metadata(), first)) + packer.flush(zlib.Z_SYNC_FLUSH))
        # Another request is answered while this one is open.
        assert ask(receiver.port, "GET", "/").status == 200
        chunk(packer.compress(body(transaction())) + packer.flush())
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert answer.endswith(b'{"accepted":2}')


def test_expect_continue_is_answered(receiver):
    payload = body(metadata(), transaction())
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as connection:
        connection.sendall(
            f"POST {INTAKE} HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nContent-Length: {len(payload)}\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(payload)
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")


def test_a_client_that_goes_away_keeps_what_it_sent_whole(receiver):
    payload = body(metadata(), transaction("kept"), *[transaction("filler " + "x" * 1000) for _ in range(300)])
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as connection:
        connection.sendall(
            f"POST {INTAKE} HTTP/1.1\r\nHost: localhost:{receiver.port}\r\nContent-Length: 9999999\r\n\r\n".encode()
        )
        connection.sendall(payload)
    assert receiver.wait_ready()
    # The end of the connection is seen by and by.
    for _ in range(200):
        if receiver.summary()["rejected"]:
            break
        receiver.wait_idle(0.05, 1)
    summary = receiver.summary()
    assert summary["services"]["shop"]["transactions"] > 100
    assert list(summary["reasons"]) == ["the connection was closed before the end of the request"]


def test_a_bad_event_does_not_cost_the_others(receiver):
    bad = transaction(id=5)
    answer = send(receiver.port, metadata(), transaction(), bad, transaction())
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.json["accepted"] == 2
    (error,) = answer.json["errors"]
    assert error["message"] == "validation error: transaction: 'id': expects a string, found an integer"
    assert json.loads(error["document"]) == bad


def test_a_too_long_event_does_not_cost_the_others(receiver):
    parent = transaction()
    huge = span(parent, context={"db": {"statement": "x" * 400_000}})
    answer = send(receiver.port, metadata(), huge, parent)
    assert (answer.status, answer.json["accepted"]) == (400, 1)
    assert answer.json["errors"][0]["message"] == "event exceeded the permitted size"


def test_a_store_that_cannot_be_written(receiver, monkeypatch):
    def full(_store, _events):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "add", full)
    answer = send(receiver.port, metadata(), transaction())
    assert (answer.status, answer.json["accepted"]) == (503, 0)
    assert answer.json["errors"][0]["message"] == "the store cannot be written: database or disk is full"
    monkeypatch.undo()
    assert send(receiver.port, metadata(), transaction()).status == 202


def test_what_went_wrong_inside_is_not_shown(receiver, monkeypatch):
    monkeypatch.setattr(Store, "query", lambda *_: 1 / 0)
    answer = ask(receiver.port, "GET", "/api/services")
    assert (answer.status, answer.json) == (500, {"error": "internal error"})


def test_five_errors_are_listed(receiver):
    answer = send(receiver.port, metadata(), *[transaction(id=number) for number in range(9)])
    assert (answer.status, answer.json["accepted"], len(answer.json["errors"])) == (400, 0, 5)
    assert receiver.summary()["rejected"] == 9


def test_errors_without_accept_are_plain_text(receiver):
    answer = ask(receiver.port, "POST", INTAKE, b"x\n", {"Accept": "text/plain"})
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert json.loads(answer.body)["accepted"] == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_intake_wants_post(receiver, method):
    answer = ask(receiver.port, method, INTAKE, headers=NDJSON)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.json == {"accepted": 0, "errors": [{"message": "only POST requests are supported"}]}


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 400), ("application/x-ndjson; a=b", 202)])
def test_the_content_type_is_checked(receiver, content_type, status):
    headers = {"Content-Type": content_type}
    assert ask(receiver.port, "POST", INTAKE, body(metadata(), transaction()), headers).status == status


def test_without_content_type(receiver):
    assert ask(receiver.port, "POST", INTAKE, body(metadata(), transaction())).status == 202


def test_server_info(receiver):
    answer = ask(receiver.port, "GET", "/", headers={"Accept": "application/json"})
    assert answer.status == 200
    assert set(answer.json) == {"build_date", "build_sha", "version", "publish_ready"}
    assert answer.json["publish_ready"] is True
    # Agents compare it as numbers; from 8.0 on they leave unsampled transactions out.
    assert tuple(map(int, answer.json["version"].split("."))) >= (8, 7, 1)
    head = ask(receiver.port, "HEAD", "/")
    assert (head.status, head.body) == (200, b"")


def test_a_browser_gets_the_page(receiver):
    answer = ask(receiver.port, "GET", "/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    again = ask(receiver.port, "GET", "/", headers={"Accept": "text/html", "If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


CONFIG = "/config/v1/agents"


@pytest.mark.parametrize(
    ("method", "path", "payload"),
    [
        ("GET", CONFIG + "?service.name=shop&service.environment=prod", None),
        ("POST", CONFIG, json.dumps({"service": {"name": "shop", "environment": "prod"}})),
    ],
)
def test_central_configuration_is_empty(receiver, method, path, payload):
    answer = ask(receiver.port, method, path, payload)
    assert (answer.status, answer.json, answer.headers["etag"]) == (200, {}, '"-"')
    assert "max-age=30" in answer.headers["cache-control"]
    for tag in ('"-"', "-"):
        unchanged = ask(receiver.port, method, path, payload, {"If-None-Match": tag})
        assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", '"-"')
        assert "max-age=30" in unchanged.headers["cache-control"]


@pytest.mark.parametrize(
    ("method", "payload"),
    [
        ("GET", None),
        ("POST", "{}"),
        ("POST", "[]"),
        ("POST", '{"service": null}'),
        ("POST", "no json"),
        ("POST", "[" * 50_000),
        ("POST", "x" * 100_000),
    ],
)
def test_central_configuration_wants_a_service(receiver, method, payload):
    answer = ask(receiver.port, method, CONFIG, payload)
    assert (answer.status, answer.json) == (400, {"error": "service.name is required"})


@pytest.mark.parametrize(
    "path",
    ["/assets/v1/sourcemaps", "/intake/v2/rum/events", "/api/unknown", "/static/unknown.js", "/static/..%2fapp.py"],
)
def test_unknown_paths(receiver, path):
    answer = ask(receiver.port, "GET", path)
    assert (answer.status, answer.json) == (404, {"error": "404 page not found"})


def test_wrong_methods(receiver):
    assert ask(receiver.port, "DELETE", CONFIG).status == 405
    assert ask(receiver.port, "GET", "/api/clear").status == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("127.1.2.3:{port}", 200),
        ("evil.example:{port}", 403),
        ("localhost.evil.example:{port}", 403),
        ("127.0.0.1", 403),
        ("127.0.0.1:1", 403),
        ("user@127.0.0.1:{port}", 403),
        ("192.168.0.1:{port}", 403),
        ("127.0.0.1:{port}x", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/services", "/static/app.js", CONFIG + "?service.name=a"])
def test_the_host_must_be_this_machine(receiver, host, status, path):
    answer = ask(receiver.port, "GET", path, headers={"Host": host.format(port=receiver.port)})
    assert answer.status == status
    if status == 403:
        assert set(answer.json) == {"error"}


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:{port}", True),
        ("https://127.0.0.1:{port}", False),
        ("http://127.0.0.1:1", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_the_origin_must_be_ours(receiver, origin, welcome):
    headers = dict(NDJSON, Origin=origin.format(port=receiver.port))
    payload = body(metadata(), transaction())
    assert ask(receiver.port, "POST", INTAKE, payload, headers).status == (202 if welcome else 403)
    assert ask(receiver.port, "POST", "/api/clear", b"", headers).status == (204 if welcome else 403)
    assert ask(receiver.port, "GET", "/api/services", headers=headers).status == (200 if welcome else 403)


def test_pages_of_other_sites_may_link_here_but_not_read(receiver):
    for mode, status in (("navigate", 200), ("no-cors", 403)):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Accept": "text/html"}
        assert ask(receiver.port, "GET", "/", headers=headers).status == status


def test_every_answer_has_the_security_headers(receiver):
    for path in ("/", "/static/app.js", "/api/services", "/nothing"):
        headers = ask(receiver.port, "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_no_other_address_is_listened_on(receiver):
    # The same port can be had on another address: so it is not taken on all of them.
    socket.create_server(("127.0.0.2", receiver.port)).close()
