"""A process that dies in the middle of a long transaction: the transaction is seen, as a failure (design 5a)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.launch.endings import HEAD
from tests.traced import ROOT, environment, traced

PROGRAM = (
    HEAD.format(root=str(ROOT), each=1)
    + """
import sqlite3, threading
from wsgiref.handlers import SimpleHandler
from tests.launch.ending import Nowhere

def query():
    connection = sqlite3.connect(":memory:")
    connection.execute("select 1")
    connection.close()

def serve(path, application):
    nowhere = Nowhere()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "localhost", "SERVER_PORT": "80",
               "SERVER_PROTOCOL": "HTTP/1.0"}
    SimpleHandler(nowhere, nowhere, nowhere, environ, multithread=True).run(application)

def slow(end):
    def application(environ, start_response):
        query()
        time.sleep(1.1)
        query()
        time.sleep(0.05)
        query()
        end()
        start_response("200 OK", [])
        return [b"done"]
    return application

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""
)


def run(sink, tmp_path, source, code, **env):
    """What arrived, by name, of a program that ended with that code; the rest by ``apm-run flush``."""
    env = {"APM_RUN_STATE_DIR": str(tmp_path / "state"), **env}
    done = traced("python", "-c", PROGRAM + source, url=sink.url, env=env)
    assert (done.returncode, done.stderr) == (code, "")
    said = subprocess.run(
        [sys.executable, "-m", "apm_run", "flush", "--server-url", sink.url],
        env=environment(**env), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stdout[-8:]) == (0, " 0 left\n")
    sink.wait_idle()
    ids = [event["id"] for _, event in sink.metadata]
    assert len(ids) == len(set(ids))
    assert os.listdir(tmp_path / "state" / "outbox") == []
    return {transaction["name"]: transaction for transaction in sink.transactions}


def spans_within(sink, transaction):
    """How many spans of it arrived; all lie within its time."""
    spans = [span for span in sink.spans if span["transaction_id"] == transaction["id"]]
    end = transaction["timestamp"] + transaction["duration"] * 1000
    assert all(transaction["timestamp"] <= span["timestamp"] for span in spans)
    assert all(span["timestamp"] + span["duration"] * 1000 <= end + 1 for span in spans)
    assert transaction["span_count"] == {"started": len(spans), "dropped": 0}
    return len(spans)


def test_killed_in_a_request(sink, tmp_path):
    found = run(sink, tmp_path, "serve('/slow', slow(kill))\n", -9)
    transaction = found["GET unknown route"]
    assert (transaction["outcome"], transaction.get("result")) == ("failure", None)
    assert transaction["context"]["request"]["url"]["pathname"] == "/slow"
    assert 1150 <= transaction["duration"] < 2000
    assert spans_within(sink, transaction) == 3


def test_killed_where_nothing_has_ended_for_long(sink, tmp_path):
    """The agent's thread has seen that the request takes long."""
    hang = "def hang():\n    time.sleep(1.4)\n    kill()\nwork()\n"
    source = f"{hang}serve('/hang', lambda environ, start_response: hang())\n"
    run(sink, tmp_path, source, -9)
    assert len(sink.transactions) == 2
    (hung,) = [one for one in sink.transactions if one["context"]["request"]["url"]["pathname"] == "/hang"]
    assert hung["outcome"] == "failure"
    assert 1000 <= hung["duration"] <= 1400


@pytest.mark.parametrize("code", [0, 3])
def test_the_program_ends_while_a_thread_is_in_a_request(sink, tmp_path, code):
    source = (
        "stays = threading.Event()\n"
        "def wait():\n    reached.set()\n    stays.wait()\n"
        "reached = threading.Event()\n"
        "threading.Thread(target=serve, args=('/slow', slow(wait)), daemon=True).start()\n"
        f"reached.wait()\nsys.exit({code})\n"
    )
    found = run(sink, tmp_path, source, code)
    transaction = found["GET unknown route"]
    assert transaction["outcome"] == "failure"
    assert spans_within(sink, transaction) == 3


BECOME = "os.execv(sys.executable, [sys.executable, '-c', 'import sys; sys.exit(4)'])"


@pytest.mark.parametrize("end", ["os._exit(4)", BECOME])
def test_it_ends_itself_in_a_request(sink, tmp_path, end):
    """What becomes another program leaves the record to whoever adopts it."""
    found = run(sink, tmp_path, f"serve('/slow', slow(lambda: {end}))\n", 4)
    transaction = found["GET unknown route"]
    assert transaction["outcome"] == "failure"
    assert spans_within(sink, transaction) == 3


def test_a_killed_script(sink, tmp_path):
    source = "query()\ntime.sleep(1.1)\nquery()\ntime.sleep(0.05)\nquery()\nkill()\n"
    transaction = run(sink, tmp_path, source, -9)["python -c"]
    assert (transaction["type"], transaction["outcome"]) == ("script", "failure")
    assert spans_within(sink, transaction) == 3


@pytest.mark.parametrize(("end", "code"), [("", 0), ("kill()\n", -9)])
def test_what_has_ended_is_not_open(sink, tmp_path, end, code):
    run(sink, tmp_path, f"serve('/slow', slow(query))\nwork()\n{end}", code)
    slow, quick = sorted(sink.transactions, key=lambda one: -one["duration"])
    assert (slow["outcome"], slow["result"], quick["outcome"]) == ("success", "HTTP 2xx", "success")
    assert spans_within(sink, slow) == 4


def test_killed_among_spans_that_are_one(sink, tmp_path):
    """The last of them wait to become part of a longer one."""
    run(sink, tmp_path, "serve('/slow', slow(kill))\n", -9, ELASTIC_APM_SPAN_COMPRESSION_ENABLED="true")
    (transaction,), (span,) = sink.transactions, sink.spans
    assert transaction["outcome"] == "failure"
    assert span["composite"]["count"] == 3
    assert spans_within(sink, transaction) == 1
