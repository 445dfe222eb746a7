"""Bad option values: one warning that names option, value, origin and default; the program runs and is traced."""

from __future__ import annotations

from tests.traced import traced

QUERY = "import sqlite3; sqlite3.connect(':memory:').execute('select 1'); print('done')"


def run(sink, tmp_path, **env):
    return traced("python", "-c", QUERY, url=sink.url, env={"APM_RUN_STATE_DIR": str(tmp_path), **env})


def test_one_line_and_traced(sink, tmp_path):
    found = run(sink, tmp_path, ELASTIC_APM_TRANSACTION_SAMPLE_RATE="2.5")
    assert (found.returncode, found.stdout) == (0, "done\n")
    (line,) = found.stderr.splitlines()
    for part in ("transaction_sample_rate", "2.5", "environment ELASTIC_APM_TRANSACTION_SAMPLE_RATE", "1.0", "default"):
        assert part in line
    sink.wait(lambda events: events.spans)


def test_several_are_still_one_line(sink, tmp_path):
    env = {"ELASTIC_APM_TRANSACTION_SAMPLE_RATE": "x", "ELASTIC_APM_STACK_TRACE_LIMIT": "y"}
    found = run(sink, tmp_path, **env)
    assert len(found.stderr.splitlines()) == 1
    sink.wait(lambda events: events.spans)


def test_a_launched_tree_says_it_once(tmp_path, sink):
    script = tmp_path / "tree.py"
    script.write_text("import subprocess, sys\nfor _ in range(2): subprocess.run([sys.executable, '-c', 'print(1)'])\n")
    env = {"APM_RUN_STATE_DIR": str(tmp_path), "ELASTIC_APM_STACK_TRACE_LIMIT": "many", "TMPDIR": str(tmp_path)}
    found = traced("python", script, url=sink.url, env={**env, "APM_RUN_LAUNCHED": "4711"})
    assert len(found.stderr.splitlines()) == 1
    siblings = traced("python", script, url=sink.url, env={**env, "APM_RUN_LAUNCHED": "4711"})
    assert siblings.stderr == ""


def test_switched_off(sink, tmp_path):
    for option in ("ENABLED", "INSTRUMENT", "RECORDING"):
        assert run(sink, tmp_path, **{f"ELASTIC_APM_{option}": "false"}).stderr == ""
    assert run(sink, tmp_path, ELASTIC_APM_DISABLE_SEND="true").stderr == ""
    sink.wait_idle()
    assert sink.events == []


def test_the_log_is_asked_for(sink, tmp_path):
    log = tmp_path / "log"
    env = {"ELASTIC_APM_LOG_FILE": str(log), "ELASTIC_APM_SECRET_TOKEN": "hush"}
    assert run(sink, tmp_path, **env).stderr == ""
    text = log.read_text()
    assert "agent.start apm-run" in text
    assert "server_url" in text
    assert "hush" not in text
    assert "warning" in run(sink, tmp_path, ELASTIC_APM_LOG_LEVEL="debug", ELASTIC_APM_STACK_TRACE_LIMIT="x").stderr
