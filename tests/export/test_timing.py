"""When batches go out (design 5a, "When it is sent"), by the server's clock."""

from __future__ import annotations

import os
import time

import pytest
from tests.export.support import event, exporter, numbers
from tests.servers import Server

pytestmark = pytest.mark.timing


def test_the_first_batch_comes_within_a_quarter_second_and_holds_what_came_meanwhile():
    with Server() as server, exporter(server.url) as made:
        begin = time.monotonic()
        made.put(event(0), 1)
        time.sleep(0.1)
        made.put(event(1), 1)
        assert server.wait_for(lambda s: s.requests)
        assert 0.2 < server.requests[0].at - begin < 0.35
        assert numbers(server.events) == [0, 1]


def test_then_a_batch_comes_a_second_after_the_last_event():
    with Server() as server, exporter(server.url) as made:
        made.put(event(0), 1)
        assert made.flush(5)
        for number in range(1, 6):
            made.put(event(number), 1)
            time.sleep(0.1)
        last = time.monotonic() - 0.1
        assert server.wait_for(lambda s: len(s.requests) == 2)
        assert 0.9 < server.requests[1].at - last < 1.2
        assert numbers(server.requests[1].events) == [1, 2, 3, 4, 5]


def test_steady_traffic_goes_by_api_request_time():
    with Server() as server, exporter(server.url, api_request_time="2s") as made:
        made.put(event(0), 1)
        assert made.flush(5)
        begin = time.monotonic()
        number = 0
        while len(server.requests) < 2 and number < 40:
            number += 1
            made.put(event(number), 1)
            time.sleep(0.1)
        assert 1.7 < server.requests[1].at - begin < 2.5


def test_the_thread_sleeps_while_nothing_waits_and_is_not_woken_per_event():
    with Server() as server, exporter(server.url) as made:
        made.put(event(0), 1)
        assert made.flush(5)
        worker = made._workers[os.getpid()]
        deadline = time.monotonic() + 5
        while not worker.asleep and time.monotonic() < deadline:  # it asks the server for its version first
            time.sleep(0.01)
        turns = []
        turn = type(worker).turn
        try:
            type(worker).turn = lambda self: (turns.append(1), turn(self))[1]
            time.sleep(0.5)
            assert len(turns) <= 1
            for number in range(2000):
                made.put(event(number), 1)
            assert len(turns) <= 4
        finally:
            type(worker).turn = turn


def test_a_put_costs_little():
    with Server() as server, exporter(server.url) as made:
        payload = event(1, 1500)
        made.put(payload, 1)
        best = 1.0
        for _ in range(30):
            begin = time.perf_counter()
            for _ in range(100):
                made.put(payload, 1)
            best = min(best, (time.perf_counter() - begin) / 100)
        assert best < 15e-6, "aim: 5 us; here the machine may be busy"


def test_a_time_out_is_total_whatever_the_server_drips():
    with Server(answers=["drip"]) as server, exporter(server.url, server_timeout="500ms") as made:
        made.put(event(1), 1)
        assert server.wait_for(lambda s: len(s.requests) >= 2)
        assert server.requests[1].at - server.requests[0].at < 1.0
