"""``APM_RUN_REPORT``: what a process says of its own tracing, at any time and at its end."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import urllib.request

import pytest
from tests.traced import BOOTSTRAP, environment, traced

WORK = "import sqlite3; sqlite3.connect(':memory:').execute('select 1'); "
KEYS = [
    "agents", "aside", "cost", "export", "failures", "instrumentations", "options", "parent", "pid", "problems",
    "python", "recording", "schema", "started", "state", "transactions", "version", "written",
]  # fmt: skip


@pytest.fixture
def sink(sink):
    """A receiver that has answered before: what is measured here is not its own start."""
    line = b'{"metadata":{"service":{"name":"x","agent":{"name":"x","version":"1"}}}}\n'
    request = urllib.request.Request(f"{sink.url}/intake/v2/events", line, {"Content-Type": "application/x-ndjson"})
    urllib.request.urlopen(request).close()
    return sink


def read(path):
    return json.loads(path.read_text())


def wait_for(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)
    return value


def run(program, report, url, tmp_path, **env):
    env = {"APM_RUN_REPORT": str(report), "APM_RUN_STATE_DIR": str(tmp_path / "state"), **env}
    done = traced("python", "-c", program, url=url, env=env)
    assert done.stderr == ""
    return done


def test_a_file_at_exit(sink, tmp_path):
    path = tmp_path / "report"
    run(WORK, path, sink.url, tmp_path)
    report = read(path)
    assert sorted(report) == KEYS
    assert (report["schema"], report["state"], report["transactions"]) == (1, "ended", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {name: report["export"][name] for name in ("accepted", "rejected", "waiting", "dropped", "last_error")} == {
        "accepted": 2, "rejected": 0, "waiting": 0, "dropped": {}, "last_error": "",
    }  # fmt: skip
    assert report["export"]["server"] == sink.url
    cost = report["cost"]
    assert 0 < cost["startup_ms"] < 5000
    assert cost["first_transaction_us"] > 0
    assert 20 < cost["modules"] < 120
    assert 100_000 < cost["bytes"] < 5_000_000


def test_the_cost_of_a_transaction(sink, tmp_path):
    program = (
        "from wsgiref.handlers import SimpleHandler\nimport io\n"
        "app = lambda env, start: (start('200 OK', []), [b'x'])[1]\n"
        "for _ in range(50):\n"
        "    SimpleHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/',\n"
        "        'SERVER_NAME': 'x', 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1'}).run(app)\n"
    )
    run(program, tmp_path / "report", sink.url, tmp_path)
    report = read(tmp_path / "report")
    assert report["transactions"] == 50
    assert 0 < report["cost"]["transaction_us"] < report["cost"]["first_transaction_us"]


def test_a_file_per_process(sink, tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    program = f"import os, sys\n{WORK}\nif os.fork() == 0: os._exit(0)\nos.wait()\nprint(os.getpid())"
    pid = int(run(program, folder, sink.url, tmp_path).stdout)
    names = sorted(path.name for path in folder.iterdir())
    assert f"{pid}.json" in names
    (child,) = [read(folder / name) for name in names if name != f"{pid}.json"]
    assert (child["parent"], child["transactions"]) == (pid, 0)
    run(WORK, tmp_path / "report-%p", sink.url, tmp_path)
    assert len(list(tmp_path.glob("report-*"))) == 1
    assert not list(tmp_path.glob("report-%p*"))


def test_no_secrets_and_nothing_captured(sink, tmp_path):
    secret = "p4ss-never-shown"
    program = WORK + f"connection = sqlite3.connect(':memory:'); connection.execute('select 1, \"{secret}\"')"
    url = sink.url.replace("http://", f"http://user:{secret}@")
    env = {"ELASTIC_APM_API_KEY": secret, "ELASTIC_APM_SECRET_TOKEN": secret, "ELASTIC_APM_STACK_TRACE_LIMIT": "many"}
    env |= {"APM_RUN_REPORT": str(tmp_path / "report"), "APM_RUN_STATE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    traced("python", "-c", program, secret, url=url, env=env)
    text = (tmp_path / "report").read_text()
    assert secret not in text
    report = json.loads(text)
    shown = {option["name"]: option["value"] for option in report["options"]}
    assert (shown["api_key"], shown["secret_token"]) == ("[REDACTED]", "[REDACTED]")
    assert len(report["problems"]) == 1


@pytest.mark.parametrize("place", ["/nonexistent/folder/report", "/proc/report", "link"])
def test_a_place_that_can_not_be_written_disturbs_nobody(sink, tmp_path, place):
    if place == "link":
        (tmp_path / "target").write_text("precious")
        (tmp_path / "report").symlink_to(tmp_path / "target")
        place = str(tmp_path / "report")
    done = run(WORK + "print('done')", place, sink.url, tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n")
    if (tmp_path / "target").exists():
        assert (tmp_path / "target").read_text() == "precious"


def test_nothing_of_it_is_loaded_unasked(sink, tmp_path):
    program = WORK + "import sys; print('apm_run.report' in sys.modules)"
    done = traced("python", "-c", program, url=sink.url, env={"APM_RUN_STATE_DIR": str(tmp_path)})
    assert done.stdout == "False\n"


def test_an_idle_program_says_what_it_waits_for(tmp_path):
    path = tmp_path / "report"
    env = environment(PYTHONPATH=str(BOOTSTRAP), APM_RUN_REPORT=str(path), APM_RUN_STRICT="1")
    process = subprocess.Popen([sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE)
    try:
        report = wait_for(lambda: path.exists() and read(path))
        assert (report["state"], report["transactions"]) == ("running", 0)
        assert {one["state"] for one in report["instrumentations"]} == {"waiting"}
        assert len(os.listdir(f"/proc/{process.pid}/task")) == 1
    finally:
        process.communicate(b"\n", timeout=20)


def test_on_demand_from_a_running_gunicorn(sink, tmp_path):
    pytest.importorskip("gunicorn")
    (tmp_path / "shop.py").write_text("def app(env, start):\n    start('200 OK', [])\n    return [b'x']\n")
    folder = tmp_path / "reports"
    folder.mkdir()
    env = environment(
        PYTHONPATH=str(BOOTSTRAP),
        APM_RUN_REPORT=str(folder),
        APM_RUN_STRICT="1",
        APM_RUN_STATE_DIR=str(tmp_path / "state"),
        ELASTIC_APM_SERVER_URL=sink.url,
    )
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "--workers", "2", "shop:app"]
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if "Listening at" in line)
        address = line.partition("http://")[2].split()[0]
        for _ in range(5):
            urllib.request.urlopen(f"http://{address}/").read()
        reports = wait_for(lambda: _all(folder, 5))
        by_pid = {report["pid"]: report for report in reports}
        workers = [report for report in reports if report["parent"] == process.pid]
        assert len(workers) == 2
        assert sum(report["export"]["accepted"] for report in workers) == 5
        assert by_pid[process.pid]["transactions"] == 0
        assert {report["state"] for report in reports} <= {"running", "forked"}
        states = {one["library"]: one["state"] for one in workers[0]["instrumentations"]}
        assert states["gunicorn"] == "wrapped"
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(20)
    wait_for(lambda: all(report["state"] == "ended" for report in _all(folder, 5)))


def _all(folder, accepted):
    """The reports, once so many events were accepted."""
    reports = [read(path) for path in folder.glob("*.json")]
    return reports if sum(report["export"]["accepted"] for report in reports) >= accepted else []
