"""``apm-run flush``: what killed programs left is sent, once, and what is said of it is true."""

from __future__ import annotations

import os
import sys

import pytest
from tests.launch.support import environment, run
from tests.servers import Server, refused_port
from tests.traced import BOOTSTRAP

KILLED = """
import os, sqlite3, sys
sys.path.insert(0, sys.argv[1])
from tests.launch.ending import request
for number in range(3):
    request(number)
os.kill(os.getpid(), 9)
"""
ROOT = os.path.dirname(BOOTSTRAP)


@pytest.fixture
def env(tmp_path):
    env = environment(APM_RUN_STATE_DIR=str(tmp_path / "state"))
    del env["ELASTIC_APM_DISABLE_SEND"]
    return env


def killed(env, url, **more):
    env = {**env, "PYTHONPATH": str(BOOTSTRAP), "ELASTIC_APM_SERVER_URL": url, **more}
    assert run([sys.executable, "-c", KILLED, ROOT], env=env).returncode == -9


def flush(env, url, *words, **more):
    command = [sys.executable, "-m", "apm_run", "flush", "--server-url", url, *words]
    done = run(command, env={**env, **more})
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def test_what_a_killed_program_left_is_sent_once(env, sink):
    killed(env, sink.url)
    assert flush(env, sink.url) == (0, "6 events sent, 0 left\n")
    assert len({transaction["id"] for transaction in sink.transactions}) == 3
    assert flush(env, sink.url) == (0, "0 events sent, 0 left\n")
    assert len(sink.transactions) == 3


def test_nothing_at_all(env, sink):
    assert flush(env, sink.url) == (0, "0 events sent, 0 left\n")


def test_the_server_refuses_the_connection(env):
    url = f"http://127.0.0.1:{refused_port()}"
    killed(env, url)
    code, line = flush(env, url, "--timeout", "300ms")
    assert code == 1
    assert line.startswith("0 events sent, 6 left (")
    assert "refused" in line


def test_a_server_that_comes_back_within_the_time(env):
    with Server(answers=[503, 503, 202]) as server:
        killed(env, server.url)
        server.requests.clear()
        server.answers[:] = [503, 202]
        assert flush(env, server.url) == (0, "6 events sent, 0 left\n")


def test_wrong_credentials_are_not_tried_again(env):
    with Server(answers=[401]) as server:
        killed(env, server.url)
        before = len(server.requests)
        code, line = flush(env, server.url, "--timeout", "1m")
        assert (code, line[:22]) == (1, "0 events sent, 6 left ")
        assert len(server.requests) == before + 1


def test_what_is_for_other_servers_stays(env, sink):
    killed(env, f"http://127.0.0.1:{refused_port()}")
    killed(env, sink.url, ELASTIC_APM_SECRET_TOKEN="other")
    told = "0 events sent, 0 left, 12 for other servers or with other credentials\n"
    assert flush(env, sink.url) == (0, told)
    assert sink.events == []
    assert flush(env, sink.url, "--secret-token", "other")[1].startswith("6 events sent, 0 left, 6 for other")


def test_options_that_can_not_be_used(env):
    for word in ("10", "s", "0s", "1h"):
        done = run([sys.executable, "-m", "apm_run", "flush", "--timeout", word], env=env)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"is no duration" in done.stderr


def test_disable_send(env, sink):
    killed(env, sink.url)
    code, line = flush(env, sink.url, ELASTIC_APM_DISABLE_SEND="true")
    assert (code, line) == (1, "0 events sent, 6 left (disable_send is true)\n")
