"""``import apm_run`` in real programs: bare, launched, and with another version beside the program (spec 26)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.launch.support import REPOSITORY, environment, run
from tests.traced import bare, traced

PROGRAM = Path(__file__).with_name("api_program.py")
PRINTED = "9\n[0, 1]\nTrue <no Span> False\n"


def check(sink):
    """What the program has reported."""
    by_name = {transaction["name"]: transaction for transaction in sink.transactions}
    assert sorted(by_name) == ["delivery", "order", "worker"]
    order, delivery = by_name["order"], by_name["delivery"]
    assert (order["type"], order["result"], order["outcome"]) == ("shop", "sold", "success")
    assert order["context"] == {"tags": {"items": 3}, "user": {"id": "42", "email": "ada@example.com"}}
    (sender,) = [span for span in sink.spans if span["name"] == "GET prices"]
    assert sender["context"]["service"]["target"] == {"type": "http", "name": "prices:80"}
    assert (delivery["trace_id"], delivery["parent_id"]) == (order["trace_id"], sender["id"])
    assert delivery["links"] == [{"trace_id": order["trace_id"], "span_id": order["id"]}]
    assert sink.tree(by_name["worker"]["trace_id"]) == (
        "worker [job] success\n  prepare [custom] success\n  stream [app] success"
    )
    names = sorted(span["name"] for span in sink.spans if span["transaction_id"] == order["id"])
    assert names == ["GET prices", "audit", "price", "price", "price", "rows"]
    errors = {error["transaction_id"] for error in sink.errors}
    assert errors == {order["id"]}
    messages = [error.get("log", error.get("exception"))["message"] for error in sink.errors]
    assert sorted(messages) == ["item 7 is missing", "no such item"]


def test_the_same_program_bare_and_launched(sink):
    done = bare("python", PROGRAM)
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")
    done = traced("python", PROGRAM, url=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")
    check(sink)


@pytest.fixture
def other(tmp_path) -> Path:
    """The interpreter of a venv in which another version is installed, of which nothing may be loaded."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python3*/site-packages"))
    shutil.copytree(REPOSITORY / "src" / "apm_run", packages / "apm_run", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "apm_run" / "version.py").write_text('__version__ = "0.0.1"\n')
    (packages / "apm_run" / "api" / "__init__.py").write_text("raise ImportError('of another version')\n")
    (packages / "apm_run" / "agent.py").write_text("raise ImportError('of another version')\n")
    shutil.copytree(REPOSITORY / "bootstrap", packages / "apm_run" / "_bootstrap")
    for path in (REPOSITORY / "bootstrap").glob("*.pth"):
        shutil.copy(path, packages)
    return folder / "bin" / "python"


def test_the_running_agent_serves_it_whatever_is_installed(other, sink):
    show = "import apm_run; print(apm_run.__version__)"
    assert bare(other, "-c", show).stdout == "0.0.1\n"
    launcher = [sys.executable, "-m", "apm_run"]
    env = environment(ELASTIC_APM_SERVER_URL=sink.url, ELASTIC_APM_DISABLE_SEND="false", ELASTIC_APM_EXIT_TIMEOUT="20s")
    from apm_run.version import __version__

    done = run([*launcher, other, "-c", show], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n".encode(), b"")
    done = run([*launcher, other, PROGRAM], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED.encode(), b"")
    check(sink)


def test_a_program_that_has_it_from_the_launcher_only(sink, tmp_path):
    """In a venv without it: there the import works launched only, as the page says."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    assert bare(python, "-c", "import apm_run").returncode == 1
    done = traced(python, PROGRAM, url=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")
    check(sink)


def test_without_the_launcher_nothing_of_the_agent_is_loaded():
    code = (
        "import sys, apm_run\n"
        "with apm_run.start_transaction('t'), apm_run.start_span('s') as s:\n"
        "    s.name = object(); s.set_label(1, object()); apm_run.capture_exception(5); apm_run.add_filter(1, 2)\n"
        "def f(): pass\n"
        "assert apm_run.start_span('x')(f) is f and apm_run.start_span(f) is f\n"
        "assert apm_run.flush() and not apm_run.is_running() and apm_run.outgoing_headers() == {}\n"
        "print(*sorted(m for m in sys.modules if m.startswith('apm_run')))"
    )
    done = bare("python", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    modules = ["apm_run", "apm_run.api", "apm_run.api.calls", "apm_run.api.handles", "apm_run.api.start"]
    assert done.stdout.split() == [*modules, "apm_run.version"]


def test_the_import_alone_loads_no_api():
    done = bare("python", "-c", "import sys, apm_run; print([m for m in sys.modules if 'apm_run.' in m], dir(apm_run))")
    assert done.stdout.startswith("['apm_run.version'] [")
    assert "start_transaction" in done.stdout
    done = bare("python", "-c", "import apm_run; apm_run.nothing")
    assert "AttributeError: module 'apm_run' has no attribute 'nothing'" in done.stderr


@pytest.mark.parametrize("name", ["ENABLED", "RECORDING", "INSTRUMENT"])
def test_switched_off_it_does_nothing(sink, name):
    done = traced("python", PROGRAM, url=sink.url, env={f"ELASTIC_APM_{name}": "false"})
    assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED, "")
    assert sink.events == []


def test_a_program_that_begins_transactions_reports_none_for_its_duration_alone(sink):
    code = "import apm_run, time\nwith apm_run.start_transaction('mine'): time.sleep(0.15)"
    assert traced("python", "-c", code, url=sink.url).returncode == 0
    assert [transaction["name"] for transaction in sink.transactions] == ["mine"]


@pytest.mark.parametrize("said", ["t.name = 'nightly'", "t.set_label('a', 1)"])
def test_a_program_that_says_something_of_itself_is_reported(sink, said):
    """However short it is, and with nothing else in it."""
    env = {"ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION": "10m"}
    assert traced("python", "-c", "import apm_run", url=sink.url, env=env).returncode == 0
    code = f"import apm_run\nt = apm_run.current_transaction()\n{said}"
    assert traced("python", "-c", code, url=sink.url, env=env).returncode == 0
    (found,) = sink.transactions
    assert found["name"] == ("nightly" if "name" in said else "python -c")


def test_what_the_program_says_of_its_end_stands(sink):
    code = (
        "import apm_run, sys\nt = apm_run.current_transaction()\n"
        "t.name, t.result, t.outcome = 'nightly', 'done', 'success'\nsys.exit(3)"
    )
    assert traced("python", "-c", code, url=sink.url).returncode == 3
    (found,) = sink.transactions
    assert (found["name"], found["result"], found["outcome"]) == ("nightly", "done", "success")


def test_filters_are_counted_and_nobody_complains(sink, tmp_path):
    code = (
        "import apm_run\napm_run.add_filter('transaction', lambda e: None)\nwith apm_run.start_transaction('x'): pass"
    )
    report = tmp_path / "report.json"
    done = traced("python", "-c", code, url=sink.url, env={"APM_RUN_REPORT": str(report)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(report.read_text())["export"]["dropped"] == {"filter": 1}
    assert sink.events == []


def test_what_a_filter_drops_is_not_left_to_the_next_one_after_a_crash(sink, tmp_path):
    """The open record of a transaction that never ends passes the filters too."""
    code = (
        "import apm_run, os, signal, time\n"
        "def f(e):\n    e['context']['user'].pop('email')\n    return e\n"
        "apm_run.add_filter('transaction', f)\n"
        "t = apm_run.start_transaction('slow').begin()\n"
        "t.set_user('42', email='ada@example.com')\n"
        "time.sleep(1.1)\n"
        "with apm_run.start_span('s'): pass\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {"APM_RUN_STATE_DIR": str(tmp_path)}
    assert traced("python", "-c", code, url="http://127.0.0.1:9", env=env).returncode == -9
    done = run(
        [sys.executable, "-m", "apm_run", "flush", "--server-url", "http://127.0.0.1:9"],
        env={**os.environ, **environment(**env)},
    )
    assert b"left" in done.stdout
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b'"slow"' in kept
    assert b"ada@example.com" not in kept
