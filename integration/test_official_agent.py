"""The official Elastic agent for Python, unmodified and in its own environment, uses the receiver as its server."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

from apm_run.local.app import SERVER_VERSION
from apm_run.local.server import Receiver

PROGRAM = """
import sqlite3, time
import elasticapm

client = elasticapm.Client(service_name="official", environment="test", metrics_interval="1s",
                           span_compression_enabled="false")
elasticapm.instrument()
for number in range(3):
    client.begin_transaction("request")
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (id)")
    connection.execute("SELECT * FROM items WHERE id = 7").fetchall()
    with elasticapm.capture_span("own work", labels={"number": number}):
        pass
    if number == 2:
        try:
            raise ValueError("on purpose")
        except ValueError:
            client.capture_exception()
    elasticapm.set_transaction_outcome("failure" if number == 2 else "success")
    client.end_transaction("GET /items", "HTTP 2xx")
# The agent asks on a thread of its own; it leaves unsampled transactions out from 8.0 on.
end = time.monotonic() + 20
while not client.server_version and time.monotonic() < end:
    time.sleep(0.05)
print(".".join(map(str, client.server_version or ())))
client.close()
"""


@pytest.fixture(scope="session")
def official(tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the newest official agent."""
    folder = tmp_path_factory.mktemp("official")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "elastic-apm"]
    subprocess.run(command, check=True, timeout=300)
    return python


def test_the_official_agent_reports_to_the_receiver(official, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    events = []
    with Receiver(port=0, observer=events.append) as receiver:
        environment = {
            "PATH": "/usr/bin:/bin",
            "ELASTIC_APM_SERVER_URL": receiver.url,
            "ELASTIC_APM_SECRET_TOKEN": "any",
            "ELASTIC_APM_LOG_LEVEL": "warning",
        }
        done = subprocess.run(
            [official, str(program)], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        summary = receiver.summary()
    assert done.stdout.strip() == SERVER_VERSION
    assert summary["rejected"] == 0, summary
    counts = summary["services"]["official"]
    assert (counts["transactions"], counts["errors"], counts["failures"]) == (3, 1, 1)
    by_kind = {
        kind: [event.body for event in events if event.kind == kind] for kind in ("transaction", "span", "error")
    }
    names = [span["name"] for span in by_kind["span"]]
    assert names.count("SELECT FROM items") == 3
    assert names.count("own work") == 3
    assert {event["name"] for event in by_kind["transaction"]} == {"GET /items"}
    assert by_kind["error"][0]["exception"]["message"].endswith("on purpose")
    assert by_kind["error"][0]["exception"]["stacktrace"][-1]["function"] == "<module>"
