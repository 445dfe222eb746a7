"""System calls of a request: a busy program takes the interpreter at each during which Python lets go of it."""

from __future__ import annotations

import signal
import socket
import sys
import time

import pytest
from tests.export.support import METADATA, event, numbers, settings
from tests.servers import Server

from apm_run.export.connection import Limit
from apm_run.export.transport import Transport

#: Functions that let go of the interpreter.
LETTING_GO = {"accept", "connect", "fstat", "open", "poll", "read", "recv", "select", "send", "settimeout", "urandom"}


def test_a_request_over_a_kept_connection_takes_four_system_calls():
    with Server() as server:
        transport, called = Transport(settings(server.url), {}), []
        transport.undisturbed = True
        assert transport.post([METADATA + event(0)], Limit(5)).status == 202

        def profile(frame, kind, function):
            if kind == "c_call" and function.__name__ in LETTING_GO:
                called.append(function.__name__)

        sys.setprofile(profile)
        try:
            answer = transport.post([METADATA + event(1)], Limit(5))
        finally:
            sys.setprofile(None)
        transport.close()
        assert answer.status == 202
        assert called == ["recv", "send", "send", "recv"]  # whether it is still there; head and body; the answer
        assert numbers(server.events) == [0, 1]


@pytest.mark.parametrize("undisturbed", [False, True])
@pytest.mark.parametrize("size", [100, 1 << 25], ids=["it says nothing", "it does not read"])
def test_a_silent_server_is_left_when_the_time_is_over(size, undisturbed):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = Transport(settings(f"http://127.0.0.1:{silent.getsockname()[1]}"), {})
        transport.undisturbed = undisturbed
        begin = time.monotonic()
        assert transport.post([bytes(size)], Limit(0.3)).kind == "timeout"
        assert 0.25 < time.monotonic() - begin < 3
        transport.close()


def test_signals_do_not_prolong_the_time():
    """In the main thread, where a program that never got its agent thread sends at its end."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        transport = Transport(settings(f"http://127.0.0.1:{mute.getsockname()[1]}"), {})
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            begin = time.monotonic()
            assert transport.post([event(0)], Limit(0.3)).kind == "timeout"
            assert time.monotonic() - begin < 3
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            transport.close()
