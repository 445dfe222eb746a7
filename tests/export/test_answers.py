"""What each answer of the server means for the events (design 5a, "Answers")."""

from __future__ import annotations

import time

import pytest
from tests.export.support import METADATA, event, exporter, left, numbers
from tests.servers import Server, refused_port

from apm_run.export.worker import JUST


def test_accepted_events_leave_nothing_behind(state):
    with Server() as server, exporter(server.url) as made:
        made.put(event(1) + event(2), 2)
        assert made.stats.waiting == 2
        assert len(left(state)) == 1
        made.close()
        assert numbers(server.events) == [1, 2]
        assert (made.stats.accepted, made.stats.waiting, made.stats.requests) == (2, 0, 1)
        assert left(state) == []


def test_metadata_comes_first_and_once():
    with Server() as server, exporter(server.url) as made:
        made.put(event(1), 1)
        made.put(event(2), 1)
        made.close()
        (request,) = server.requests
        assert [next(iter(line)) for line in request.lines] == ["metadata", "transaction", "transaction"]
        assert request.raw.startswith(METADATA)


def test_400_is_never_sent_again_and_its_reasons_are_kept(state):
    answer = (400, {"accepted": 1, "errors": [{"message": "bad id", "document": "SECRET"}]})
    with Server(answers=[answer, 202]) as server, exporter(server.url) as made:
        made.put(event(1) + event(2), 2)
        made.close()
        made.put(event(3), 1)
        made.close()
        assert [numbers(request.events) for request in server.requests] == [[1, 2], [3]]
        assert (made.stats.accepted, made.stats.rejected) == (2, 1)
        assert made.stats.reasons == ["bad id"]
        assert left(state) == []


@pytest.mark.parametrize("status", [429, 503, 500, 502, 408])
def test_what_a_busy_server_did_not_accept_is_sent_again(status):
    busy = (status, {"accepted": 2, "errors": [{"message": "queue is full"}]})
    with Server(answers=[busy, 202]) as server, exporter(server.url) as made:
        made.put(event(1) + event(2) + event(3), 3)
        made.put(event(4), 1)
        assert made.flush(5)
        assert [numbers(request.events) for request in server.requests] == [[1, 2, 3, 4], [3, 4]]
        assert made.stats.accepted == 4
        assert made.stats.resent == 0


def test_a_web_page_has_taken_nothing(state):
    """The good answer of a portal, a load balancer or another server on that port."""
    with Server(answers=[(200, "\n<!doctype html><title>Welcome</title>"), 202]) as server:
        with exporter(server.url) as made:
            made.put(event(1), 1)
            made.close()
            assert (made.stats.accepted, made.stats.waiting) == (0, 1)
            assert "no APM Server" in made.stats.last_error
            assert len(left(state)) == 1
            assert made.flush(5)
        assert [numbers(request.events) for request in server.requests] == [[1], [1]]


@pytest.mark.parametrize("status", [401, 403, 404, 301, 405])
def test_a_server_that_will_not_have_us_is_asked_at_the_slowest_pace(status):
    with Server(answers=[(status, {"error": "go away"})]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda s: s.requests)
        assert not made.flush(0.3)
        worker = next(iter(made._workers.values()))
        assert 30 < worker._pace.held_until - time.monotonic() < 40
        assert made.stats.waiting == 1
        assert "go away" in made.stats.last_error
        assert len(server.requests) == 2, "one by itself, one for the flush"


def test_a_refusal_of_long_ago_is_not_the_last_word():
    with Server(answers=[401]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        worker = next(iter(made._workers.values()))
        assert server.wait_for(lambda s: s.requests)
        while not worker.hopeless:
            time.sleep(0.001)
        made.close()
        assert len(server.requests) == 1, "it has just said so"
        server.answers[:] = [202]
        worker._failed_at -= JUST
        made.close()
        assert numbers(server.events) == [1, 1]
        assert made.stats.waiting == 0


def test_a_redirect_is_not_followed_and_said_so():
    with (
        Server(answers=[b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]) as server,
        exporter(server.url) as made,
    ):
        made.put(event(1), 1)
        made.close()
        assert "redirect" in made.stats.last_error


@pytest.mark.parametrize("answer", [413, "early"])
def test_a_batch_that_is_too_large_is_divided_and_a_single_event_dropped(answer, state):
    with Server(answers=[answer, answer, answer, 202]) as server, exporter(server.url) as made:
        made.put(b"".join(event(n, 70_000) for n in range(4)), 4)
        made.close()
        assert (made.stats.accepted, made.stats.rejected, made.stats.waiting) == (3, 1, 0)
        assert numbers(server.events)[-3:] == [1, 2, 3]
        assert left(state) == []


def test_a_server_that_finds_everything_too_large_costs_no_event(state):
    with Server(answers=[413]) as server, exporter(server.url) as made:
        made.put(b"".join(event(n) for n in range(8)), 8)
        made.close()
        worker = next(iter(made._workers.values()))
        assert 30 < worker._pace.held_until - time.monotonic() < 40
        assert (made.stats.rejected, made.stats.waiting) == (0, 8)
        server.answers[:] = [202]
        server.requests.clear()
        assert made.flush(5)
        made.close()
        assert numbers(server.events) == list(range(8))
        assert left(state) == []


@pytest.mark.parametrize("misdeed", ["reset", b"not HTTP at all\r\n\r\n"])
def test_a_batch_without_an_answer_is_sent_again(misdeed):
    with Server(answers=[misdeed, 202]) as server, exporter(server.url) as made:
        made.put(event(1) + event(2), 2)
        assert made.flush(5)
        assert [numbers(request.events) for request in server.requests] == [[1, 2], [1, 2]]
        assert made.stats.accepted == 2


def test_a_time_out_is_counted_as_a_possible_duplicate():
    with Server(answers=["hang", 202]) as server, exporter(server.url, server_timeout="300ms") as made:
        made.put(event(1) + event(2), 2)
        assert made.flush(5)
        assert made.stats.resent == 2
        assert numbers(server.events) == [1, 2, 1, 2]


def test_a_dripping_server_is_left_after_the_time_out():
    with Server(answers=["drip", 202]) as server, exporter(server.url, server_timeout="300ms") as made:
        made.put(event(1), 1)
        begin = time.monotonic()
        assert made.flush(5)
        assert time.monotonic() - begin < 2


def test_a_pooled_connection_the_server_closed_is_no_failure():
    with Server(answers=["close", 202]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert made.flush(5)
        made.put(event(2), 1)
        assert made.flush(5)
        assert server.connections == 2
        assert (made.stats.accepted, made.stats.resent, made.stats.last_error) == (2, 0, "")


def test_what_a_reset_of_the_pooled_connection_repeats_is_counted():
    with Server(answers=[202, "reset", 202]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert made.flush(5)
        made.put(event(2) + event(3), 2)
        assert made.flush(5)
        assert numbers(server.events) == [1, 2, 3, 2, 3]
        assert (made.stats.accepted, made.stats.resent, made.stats.last_error) == (3, 2, "")


def test_one_connection_serves_many_requests():
    with Server() as server, exporter(server.url) as made:
        for number in range(5):
            made.put(event(number), 1)
            assert made.flush(5)
        assert (len(server.requests), server.connections) == (5, 1)


def test_chunked_and_endless_answers_are_understood():
    parts = [b'{"accepted":1,"e', b'rrors":[{"message":"worse"}]}']
    chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
    with Server(answers=[chunked, 202]) as server, exporter(server.url) as made:
        made.put(event(1) + event(2), 2)
        assert made.flush(5)
        assert (made.stats.accepted, made.stats.rejected, made.stats.reasons) == (1, 1, ["worse"])
        made.put(event(3), 1)
        assert made.flush(5)
        assert server.connections == 1


@pytest.mark.parametrize("body", ["<html>", "[1]", '{"accepted":"x"}', '{"errors":[3,{"message":1}]}', '{"a', ""])
def test_an_error_body_that_is_not_the_servers_is_no_trouble(body):
    with Server(answers=[(503, body), 202]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert made.flush(5)
        assert numbers(server.events) == [1, 1]


def test_a_refusing_port_and_an_unknown_host_are_named(said):
    with exporter(f"http://user:pw@127.0.0.1:{refused_port()}") as made:
        made.put(event(1), 1)
        made.close()
        assert "refused" in made.stats.last_error.lower()
        assert "pw" not in "".join(said)
        assert said == [said[0]]
        assert said[0].startswith("nothing was delivered to http://127.0.0.1:")
    with exporter("http://nowhere.invalid:8200") as made:
        made.put(event(1), 1)
        made.flush(5)
        assert made.stats.last_error.startswith("nowhere.invalid: ")


def test_nothing_is_said_where_something_arrived_or_no_server_was_named(said):
    with Server(answers=[202, 503]) as server, exporter(server.url) as made:
        made.put(event(1), 1)
        assert made.flush(5)
        made.put(event(2), 1)
        made.close()
        assert said == []


def test_disable_send_sends_nothing_and_keeps_nothing(state, said):
    with Server() as server, exporter(server.url, disable_send="true") as made:
        made.put(event(1), 1)
        assert made.flush(0)
        made.close()
        assert server.requests == []
        assert left(state) == []
        assert said == []


def test_load_is_sent_by_size():
    with Server() as server, exporter(server.url, api_request_size="20kb") as made:
        for number in range(100):
            made.put(event(number, 1000), 1)
        assert server.wait_for(lambda s: len(s.events) >= 80, 0.2 + 2)
        made.close()
        assert numbers(server.events) == list(range(100))
        assert 4 <= len(server.requests) <= 8
        assert all(len(request.raw) < 25_000 for request in server.requests)


def test_many_errors_cost_a_handful_of_requests():
    with Server() as server, exporter(server.url) as made:
        for number in range(300):
            made.put(event(number), 1)
            time.sleep(0.005)
        made.close()
        assert numbers(server.events) == list(range(300))
        assert len(server.requests) <= 4
