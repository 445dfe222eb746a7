"""Server absent, failing or hanging: output and exit code as bare, at most one line, and the exit is not held up."""

from __future__ import annotations

import time

import pytest
from tests.servers import Server, refused_port
from tests.traced import bare, traced

PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(":memory:")
for number in range(20):
    connection.execute("select ?", (number,))
print("done")
sys.exit(3)
"""

#: Behaviour -> seconds that it may add to the exit, the outbox on disk (design 5a), and the start of the agent.
LIMITS = {"hang": 0.35, "deaf": 0.35, "reset": 0.3, 503: 0.3, 401: 0.3, 202: 0.2}
START = 0.15


def run(url, tmp_path, **env):
    begin = time.perf_counter()
    state = str(tmp_path / "state")
    env = {"APM_RUN_STATE_DIR": state, "TMPDIR": str(tmp_path), "ELASTIC_APM_EXIT_TIMEOUT": "", **env}
    found = traced("python", "-c", PROGRAM, url=url, env=env)
    return found, time.perf_counter() - begin


@pytest.mark.timing
@pytest.mark.parametrize("behaviour", LIMITS)
def test_the_program_does_not_notice(behaviour, tmp_path):
    begin = time.perf_counter()
    assert bare("python", "-c", PROGRAM).returncode == 3
    expected = time.perf_counter() - begin
    with Server(answers=[behaviour]) as server:
        run(server.url, tmp_path / "warm")
        found, seconds = run(server.url, tmp_path)
        assert (found.returncode, found.stdout) == (3, "done\n")
        assert seconds - expected < LIMITS[behaviour] + START
        if behaviour == 202:
            assert found.stderr == ""
        else:
            (line,) = found.stderr.splitlines()
            assert line.startswith("apm-run: nothing was delivered to ")


def test_nobody_listens_where_a_server_was_named(tmp_path):
    found, _ = run(f"http://127.0.0.1:{refused_port()}", tmp_path)
    assert (found.returncode, found.stdout) == (3, "done\n")
    assert found.stderr.startswith("apm-run: nothing was delivered to http://127.0.0.1:")
    assert len(found.stderr.splitlines()) == 1


def test_nobody_listens_where_none_was_named(tmp_path):
    env = {"APM_RUN_STATE_DIR": str(tmp_path), "ELASTIC_APM_SERVER_URL": ""}
    found = traced("python", "-c", PROGRAM, env=env)
    assert (found.returncode, found.stdout, found.stderr) == (3, "done\n", "")


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_address_that_is_none(url, tmp_path):
    found, _ = run(url, tmp_path)
    assert (found.returncode, found.stdout) == (3, "done\n")
    (line,) = found.stderr.splitlines()
    assert "server_url" in line
    assert "environment ELASTIC_APM_SERVER_URL" in line


def test_a_name_that_nobody_knows(tmp_path):
    found, _ = run("http://apm.invalid:8200", tmp_path)
    assert (found.returncode, found.stdout) == (3, "done\n")
    assert len(found.stderr.splitlines()) == 1


def test_the_log_tells_what_the_server_said(tmp_path):
    log = tmp_path / "log"
    rejection = {"accepted": 0, "errors": [{"message": "no such field"}]}
    for answer, slug, reason in ((503, "send.failed", "503"), ((400, rejection), "send.rejected", "no such field")):
        with Server(answers=[answer]) as server:
            run(server.url, tmp_path / slug, ELASTIC_APM_LOG_FILE=str(log))
        (line,) = [line for line in log.read_text().splitlines() if f" warning {slug} " in line][:1]
        assert reason in line
