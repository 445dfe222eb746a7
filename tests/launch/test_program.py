"""The program's own transaction (design 5): when it is sent, and what it says."""

from __future__ import annotations

import os
import sys

import pytest
from tests.launch.support import INTERPRETERS
from tests.launch.support import traced as is_traced
from tests.traced import bare, traced

QUERY = "import sqlite3; sqlite3.connect(':memory:').execute('select 1')\n"


@pytest.fixture
def state(tmp_path):
    return {"APM_RUN_STATE_DIR": str(tmp_path / "state")}


def both(tmp_path, source, sink, state, *args, **env):
    """Run it bare and traced; below 3.11 a traceback through a wrapped function shows the wrapper."""
    script = tmp_path / "prog.py"
    script.write_text(source)
    expected = bare("python", script, *args, env=env)
    found = traced("python", script, *args, url=sink.url, env={**state, **env})
    if sys.version_info < (3, 11) and "/patch.py" in found.stderr:
        assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
        return found
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
    return found


def test_a_query_makes_the_program_a_transaction(tmp_path, sink, state):
    both(tmp_path, QUERY + "print('done')", sink, state)
    sink.wait(lambda events: events.spans)
    (transaction,) = sink.transactions
    assert transaction["name"] == "prog.py"
    assert (transaction["type"], transaction["outcome"], transaction["result"]) == ("script", "success", "success")
    assert sink.tree() == "prog.py [script] success\n  SELECT [db/sqlite/query] success"
    assert sink.metadata[0][0]["service"]["name"] == "prog"


def test_a_short_program_that_says_nothing_is_not_reported(tmp_path, sink, state):
    both(tmp_path, "print(1)", sink, state)
    sink.wait_idle()
    assert sink.events == []


def test_a_long_program_is(tmp_path, sink, state):
    both(tmp_path, "import time; time.sleep(0.15)", sink, state)
    sink.wait(lambda events: events.transactions)
    assert sink.transactions[0]["duration"] >= 150


def test_the_limit_is_an_option(tmp_path, sink, state):
    env = {"ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION": "0ms"}
    both(tmp_path, "print(1)", sink, state, **env)
    sink.wait(lambda events: events.transactions)


def test_an_uncaught_exception(tmp_path, sink, state):
    source = "def fall():\n    raise KeyError('gone') from ValueError('first')\nfall()\n"
    assert both(tmp_path, source, sink, state).returncode == 1
    sink.wait(lambda events: events.errors)
    (error,) = sink.errors
    assert sink.transactions[0]["outcome"] == "failure"
    assert error["exception"]["type"] == "KeyError"
    assert error["exception"]["handled"] is False
    assert error["exception"]["cause"][0]["message"] == "first"
    assert error["culprit"] == "__main__.fall"
    frame = error["exception"]["stacktrace"][0]
    assert (frame["function"], frame["context_line"].strip()) == (
        "fall",
        "raise KeyError('gone') from ValueError('first')",
    )
    assert error["parent_id"] == error["transaction_id"] == sink.transactions[0]["id"]


@pytest.mark.parametrize(
    ("call", "outcome"),
    [("sys.exit()", "success"), ("sys.exit(0)", "success"), ("sys.exit(3)", "failure"), ("sys.exit('why')", "failure")],
)
def test_sys_exit(tmp_path, sink, state, call, outcome):
    both(tmp_path, f"{QUERY}import sys; {call}", sink, state)
    sink.wait(lambda events: events.spans)
    assert sink.transactions[0]["outcome"] == outcome
    assert sink.errors == []


@pytest.mark.parametrize("version", [version for version in INTERPRETERS if is_traced(version)])
@pytest.mark.parametrize(
    ("then", "outcome"),
    [("print('went on')", "success"), ("sys.exit(0)", "success"), ("sys.exit(4)", "failure"), ("1 / 0", "failure")],
)
def test_a_sys_exit_that_the_program_catches(tmp_path, sink, state, version, then, outcome):
    """Only where the program is a script file, or read from standard input."""
    script = tmp_path / "prog.py"
    script.write_text(f"{QUERY}import sys\ntry:\n    sys.exit(3)\nexcept SystemExit:\n    pass\n{then}\n")
    traced(INTERPRETERS[version], script, url=sink.url, env=state)
    sink.wait(lambda events: events.spans)
    assert sink.transactions[0]["outcome"] == outcome


def test_a_failing_statement_is_a_failed_span_and_the_programs_own_exception(tmp_path, sink, state):
    source = (
        "import sqlite3\n"
        "connection = sqlite3.connect(':memory:')\n"
        "try:\n    connection.execute('select * from nowhere')\n"
        "except sqlite3.OperationalError as error:\n    print(error)\n"
    )
    both(tmp_path, source, sink, state)
    sink.wait(lambda events: events.spans)
    assert sink.tree() == "prog.py [script] success\n  SELECT FROM nowhere [db/sqlite/query] failure"


def test_an_uncaught_exception_of_a_traced_call_is_printed_as_bare(tmp_path, sink, state):
    if sys.version_info < (3, 11):
        pytest.skip("before 3.11 the wrapper's frame can not be taken out of a traceback")
    source = "import sqlite3\nsqlite3.connect(':memory:').execute('select * from nowhere')\n"
    found = both(tmp_path, source, sink, state)
    assert "apm_run" not in found.stderr
    sink.wait(lambda events: events.errors)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_death_by_a_signal_is_as_bare(tmp_path, sink, state, number):
    found = both(tmp_path, f"{QUERY}import os, signal; os.kill(os.getpid(), signal.{number})", sink, state)
    assert found.returncode < 0


def test_a_forked_child_sends_its_own_and_nothing_of_its_parents(tmp_path, sink, state):
    source = QUERY + (
        "import os, sys\n"
        "child = os.fork()\n"
        "if not child:\n    sqlite3.connect(':memory:').execute('select 2')\n    sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    both(tmp_path, source, sink, state)
    sink.wait(lambda events: len(events.transactions) == 2 and len(events.spans) == 2)
    sink.wait_idle()
    assert len(sink.spans) == 2
    assert len({metadata["process"]["pid"] for metadata, _ in sink.metadata}) == 2
    assert len({event["id"] for _, event in sink.metadata}) == 4


def test_nothing_is_left_behind(tmp_path, sink, state):
    both(tmp_path, QUERY, sink, state)
    sink.wait(lambda events: events.spans)
    left = [name for _, _, files in os.walk(state["APM_RUN_STATE_DIR"]) for name in files if name != "key"]
    assert left == []


def test_a_sub_interpreter_runs_untouched(tmp_path, sink, state):
    pytest.importorskip("_testcapi", reason="this interpreter has no _testcapi")
    query = 'import sqlite3; sqlite3.connect(":memory:").execute("select 1")'
    source = f"import _testcapi\nprint(_testcapi.run_in_subinterp({query!r}))\n" + QUERY
    both(tmp_path, source, sink, state)
    sink.wait(lambda events: events.spans)
    sink.wait_idle()
    assert len(sink.transactions) == len(sink.spans) == 1


def test_the_exit_of_another_thread_is_no_failure_of_the_program(tmp_path, sink, state):
    source = QUERY + (
        "import sys, threading\nthread = threading.Thread(target=sys.exit, args=(3,))\nthread.start()\nthread.join()\n"
    )
    both(tmp_path, source, sink, state)
    sink.wait(lambda events: events.spans)
    assert sink.transactions[0]["outcome"] == "success"


def test_an_uncaught_exception_of_a_server_is_an_error_of_its_own(tmp_path, sink, state):
    source = (
        "from wsgiref.simple_server import make_server\n"
        "server = make_server('127.0.0.1', 0, None)\n"
        "server.service_actions = lambda: 1 / 0\n"
        "server.serve_forever(0.01)\n"
    )
    both(tmp_path, source, sink, state)
    sink.wait(lambda events: events.errors)
    assert sink.errors[0]["exception"]["type"] == "ZeroDivisionError"
    assert "transaction_id" not in sink.errors[0]
    assert sink.transactions == []
