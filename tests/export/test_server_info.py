"""The server's version: how it is asked for, and which servers get unsampled transactions (spec 1.3, 6, 13)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.export.support import METADATA, event, exporter, left, numbers, settings
from tests.receiver import objections
from tests.servers import Server

from apm_run.export import Exporter
from apm_run.export.batch import Packed
from apm_run.export.server_info import ServerInfo, is_unsampled
from apm_run.export.transport import _version
from apm_run.pipeline import Pipeline
from apm_run.tracer import Tracer

UNKNOWN = [(200, ""), (200, "no JSON"), (200, {"version": "main"}), (401, {"error": "x"}), 404, 500, "close", "reset"]
OLD = ["7.17.9", "6.5.0", "7.99.0-SNAPSHOT"]
NEW = ["8.0.0", "8.0.0-SNAPSHOT", "8.17.0", "9.1", "10.0.0"]


@contextmanager
def traced(url: str, **options: object) -> Iterator[tuple[Tracer, Exporter]]:
    with exporter(url, **options) as made:
        found = settings(url, transaction_sample_rate="0", **options)
        yield Tracer(found, Pipeline(found, made)), made


def end(tracer: Tracer, *, sampled: bool = False, error: bool = False) -> str:
    """Begin and end a transaction; its id."""
    transaction = tracer.begin_transaction("GET /", "request")
    transaction.sampled = sampled
    if error:
        transaction.capture(ValueError("x"), handled=True)
    tracer.end_transaction(transaction)
    return transaction.id


def arrived(server: Server) -> list[str]:
    for line in server.events:
        ((kind, found),) = line.items()
        assert not objections(kind, found)
    return [found.get("transaction_id") or found["id"] for line in server.events for found in line.values()]


@pytest.mark.parametrize("version", NEW)
def test_13_a_server_from_8_0_on_gets_no_unsampled_transaction(version):
    with Server(info=(200, {"version": version})) as server, traced(server.url) as (tracer, made):
        end(tracer)  # before anybody could know
        first = end(tracer, sampled=True)
        assert server.wait_for(lambda server: server.requests)
        second = end(tracer, sampled=True)
        end(tracer)
        assert made.flush(5)
        assert arrived(server) == [first, second]
        assert [request.line for request in server.questions] == ["GET / HTTP/1.1"]
        assert server.connections == 1
        assert not made.stats.rejected
        assert not made.stats.waiting


@pytest.mark.parametrize("version", OLD)
def test_13_an_older_server_gets_them(version):
    with Server(info=(200, {"version": version})) as server, traced(server.url) as (tracer, made):
        expected = [end(tracer), end(tracer, sampled=True)]
        assert server.wait_for(lambda server: server.requests)
        expected.append(end(tracer))
        assert made.flush(5)
        assert arrived(server) == expected


@pytest.mark.parametrize("info", UNKNOWN, ids=str)
def test_1_3_an_unknown_version_is_an_old_one(info):
    with Server(info=info) as server, traced(server.url) as (tracer, made):
        expected = [end(tracer)]
        assert server.wait_for(lambda server: server.requests)
        expected.append(end(tracer))
        assert made.flush(5)
        assert arrived(server) == expected
        # Before and after the first request, over a new connection where the one there was is dead.
        assert 1 <= len(server.questions) <= 4


def test_13_errors_of_unsampled_transactions_are_sent_whatever_the_version():
    with Server() as server, traced(server.url) as (tracer, made):
        before = end(tracer, error=True)
        assert server.wait_for(lambda server: server.requests)
        after = end(tracer, error=True)
        assert made.flush(5)
        assert arrived(server) == [before, after]
        assert [list(line) for line in server.events] == [["error"], ["error"]]
        assert {line["error"]["transaction"]["sampled"] for line in server.events} == {False}


def test_13_where_nothing_but_unsampled_ones_wait_nothing_is_sent():
    with Server() as server, traced(server.url) as (tracer, made):
        for _ in range(5):
            end(tracer)
        assert server.wait_for(lambda server: server.questions)
        while made._info.version is None:
            time.sleep(0.01)
        for _ in range(5):
            end(tracer)
        assert made.flush(5)
        made.close()
        assert not server.requests
        assert not made.stats.waiting
        assert made._workers[os.getpid()].outbox.events == 5


@pytest.mark.timing
@pytest.mark.parametrize("info", ["hang", "drip"])
def test_1_3_the_question_does_not_hold_up_the_first_flush(info):
    with Server(info=info) as server, traced(server.url) as (tracer, made):
        began = time.monotonic()
        expected = end(tracer)
        assert server.wait_for(lambda server: server.requests)
        assert server.requests[0].at - began < 0.4
        assert arrived(server) == [expected]
        end(tracer)
        assert made.flush(5)
        assert len(arrived(server)) == 2


@pytest.mark.timing
def test_1_3_nor_does_it_hold_up_the_exit():
    with Server(info="hang") as server, traced(server.url) as (tracer, made):
        end(tracer)
        assert server.wait_for(lambda server: server.questions)
        began = time.monotonic()
        made.close()
        assert time.monotonic() - began < 0.6
        assert len(arrived(server)) == 1


def test_1_3_without_unsampled_ones_it_is_asked_after_the_first_request():
    with Server() as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda server: server.questions)
        assert len(server.requests) == 1
        made.put(event(2), 1)
        assert made.flush(5)
        assert len(server.questions) == 1
        assert numbers(server.events) == [1, 2]


def test_1_3_it_is_asked_with_our_credentials_below_the_path_of_the_server():
    with Server() as server, exporter(f"{server.url}/apm/", secret_token="s3cr3t") as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda server: len(server.requests) == 2)
        assert [request.line for request in server.requests] == [
            "POST /apm/intake/v2/events HTTP/1.1",
            "GET /apm/ HTTP/1.1",
        ]
        assert server.requests[1].headers["authorization"] == "Bearer s3cr3t"
        assert server.requests[1].headers["user-agent"].startswith("apm-agent-python/")
        assert not {"content-length", "content-type", "content-encoding"} & server.requests[1].headers.keys()


def test_4_2_skip_server_info():
    with Server() as server, traced(server.url, skip_server_info="true") as (tracer, made):
        expected = [end(tracer)]
        assert made.flush(5)
        expected.append(end(tracer))
        assert made.flush(5)
        assert arrived(server) == expected
        assert not server.questions


def test_a_forked_child_knows_what_its_parent_knew():
    with Server() as server, traced(server.url) as (tracer, made):
        end(tracer, sampled=True)
        assert server.wait_for(lambda server: server.questions)
        assert made.flush(5)
        deadline = time.monotonic() + 5
        while made._info.version is None and time.monotonic() < deadline:
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            end(tracer)
            expected = end(tracer, sampled=True)
            made.close()
            os._exit(0 if expected else 1)
        os.waitpid(pid, 0)
        assert server.wait_for(lambda server: len(server.events) == 2)
        assert {line["transaction"]["sampled"] for line in server.events} == {True}
        assert len(server.questions) == 1


def test_1_3_8_7_0_gets_no_activation_method():
    agent = b'{"name":"python","version":"0","activation_method":"wrapper"}'
    line = b'{"metadata":{"service":{"name":"shop","agent":%s}}}\n' % agent
    with Server(info=(200, {"version": "8.7.0"})) as server, exporter(server.url) as made:
        made._metadata_line = lambda: line
        made.put(event(1), 1)
        assert server.wait_for(lambda server: server.questions)
        assert made.flush(5)
        made.put(event(2), 1)
        assert made.flush(5)
        agents = [request.lines[0]["metadata"]["service"]["agent"] for request in server.requests]
        assert agents == [
            {"name": "python", "version": "0", "activation_method": "wrapper"},
            {"name": "python", "version": "0"},
        ]


def test_what_is_left_out_moves_the_place_of_what_was_accepted(tmp_path):
    """A server that breaks off in the middle of a batch: the rest is sent again, nothing twice, nothing lost."""
    broken = (503, {"accepted": 2, "errors": [{"message": "queue is full"}]})
    with Server(answers=[broken, 202]) as server, traced(server.url) as (tracer, made):
        ids = [end(tracer, sampled=sampled) for sampled in (False, True, False, True, False, True, True)]
        assert server.wait_for(lambda server: len(server.requests) == 2)
        sampled = [ids[1], ids[3], ids[5], ids[6]]
        found = [[line["transaction"]["id"] for line in request.events] for request in server.requests]
        assert found == [sampled, sampled[2:]]
        assert made.flush(5)
        assert made.stats.accepted == 4
        made.close()
        assert left(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("sent", "left_out", "place"),
    [(0, [], 0), (2, [], 2), (0, [0], 1), (1, [0], 2), (1, [1], 2), (1, [2], 1), (2, [0, 1, 4], 5), (2, [0, 1, 5], 4)],
)
def test_behind(sent, left_out, place):
    assert Packed([], 0, 0, left_out).behind(sent) == place


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b'{"version":"8.12.2-SNAPSHOT"}', (8, 12, 2)),
        (b'{"build_date":"x","version":"8.17.0","publish_ready":true}', (8, 17, 0)),
        (b'{"ok":{"version":"6.8.23"}}', (6, 8, 23)),
        (b"", ()),
        (b"{}", ()),
        (b"[]", ()),
        (b'{"version":8}', ()),
        (b'{"version":"eight"}', ()),
        (b'{"version":""}', ()),
        (b'{"version":"8..1"}', ()),
        (b'{"version":"\xd9\xa8.1"}', ()),
        (b'{"version":"99999999999.1"}', ()),
        (b"\xff\xfe", ()),
    ],
)
def test_1_3_the_version_in_the_answer(body, version):
    assert _version(body) == version
    info = ServerInfo()
    info.version = version
    assert info.sampled_only is (version > (8,))
    assert info.metadata(METADATA) == METADATA


def test_the_line_of_an_unsampled_transaction_is_known():
    assert is_unsampled(b'{"transaction":{"id":"0123456789abcdef","sampled":false,"name":"x"}}\n')
    assert not is_unsampled(b'{"transaction":{"id":"0123456789abcdef","sampled":true,"name":"x"}}\n')
    assert not is_unsampled(b'{"error":{"id":"0123456789abcdef0123456789abcdef","sampled":false}}\n')
    assert not is_unsampled(b"")
