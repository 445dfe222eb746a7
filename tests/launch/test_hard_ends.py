"""``os._exit`` and ``os.exec*``: what they send, what they cost, and that nobody can tell."""

from __future__ import annotations

import time

import pytest
from tests.launch.endings import HEAD
from tests.receiver import Sink
from tests.servers import Server
from tests.traced import ROOT, bare, traced

WORK = HEAD.format(root=str(ROOT), each=1) + "work()\n"
QUERY = "import os, sqlite3; sqlite3.connect(':memory:').execute('select 1')\n"
QUESTIONS = """
import copy, inspect, os, pickle, posix, pydoc, types
for name in ("_exit", "execv", "execve"):
    function = getattr(os, name)
    print(repr(function), function.__class__, isinstance(function, types.FunctionType), function.__self__ is posix)
    print(inspect.isbuiltin(function), inspect.signature(function), function.__name__, function.__qualname__)
    print(function.__module__, function.__doc__, dir(function), getattr(posix, name) is function, function == function)
    print(pickle.dumps(function), pickle._dumps(function), copy.deepcopy(function) is function)
    print(pydoc.plain(pydoc.render_doc(function)), function in {function: 1})
print(os.execve in os.supports_fd)
for call in (lambda: os._exit("x"), lambda: os._exit(), lambda: os.execv("/none", ["x"]), lambda: os.execv(1, 2)):
    try:
        call()
    except BaseException as error:
        print(repr(error))
try:
    os.execvp("no-such-program", ["x"])
except OSError as error:
    print(error)
"""


@pytest.fixture
def state(tmp_path):
    return {"APM_RUN_STATE_DIR": str(tmp_path / "state")}


def same(program, sink, state, **env):
    env = {**state, **env}
    expected, found = bare("python", "-c", program, env=env), traced("python", "-c", program, url=sink.url, env=env)
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
    return found


def test_they_are_the_built_in_functions_to_all_that_ask(sink, state):
    found = same(f"{WORK}{QUESTIONS}", sink, state)
    assert "<built-in function _exit>" in found.stdout
    assert len(sink.transactions) == 1


def test_an_idle_program_keeps_the_originals(sink, state):
    told = "print(type(os._exit).__name__, type(os.execv).__name__, type(os.execve).__name__)\n"
    same(f"import os, sqlite3, threading\n{told}", sink, state)
    assert "StandIn" in traced("python", "-c", WORK + told, url=sink.url, env=state).stdout


def test_the_off_switch(sink, state):
    program = f"{WORK}print(type(os._exit).__name__, flush=True)\nos._exit(3)"
    same(program, sink, state, ELASTIC_APM_FLUSH_ON_OS_EXIT="false")
    sink.wait_idle()
    assert sink.events == []


def test_the_programs_own_transaction_ends_there(sink, state):
    assert same(f"{QUERY}os._exit(3)", sink, state).returncode == 3
    assert sink.tree() == "python -c [script] failure\n  SELECT [db/sqlite/query] success"


def test_a_program_that_can_not_become_another_goes_on(sink, state):
    program = f"{QUERY}try:\n    os.execv('/etc', ['x'])\nexcept OSError as error:\n    print(error)\n"
    same(program + "sqlite3.connect(':memory:').execute('select 2')\n", sink, state)
    sink.wait(lambda events: len(events.spans) == 2)
    assert len({span["transaction_id"] for span in sink.spans}) == 2


def test_a_server_that_does_not_answer_costs_no_more_than_a_third_of_a_second(state):
    program = f"{WORK}import time\nprint(time.monotonic(), flush=True)\nos._exit(0)"
    with Server(answers=["hang"]) as server:
        found = traced("python", "-c", program, url=server.url, env=state)
        took = time.monotonic() - float(found.stdout.split()[-1])
    assert found.returncode == 0
    assert took < 1.5


def test_a_handler_that_interrupts_a_put_is_not_held_up(state):
    program = HEAD.format(root=str(ROOT), each=1) + (
        "signal.signal(signal.SIGALRM, lambda *_: os._exit(7))\n"
        "work()\nsignal.setitimer(signal.ITIMER_REAL, 0.05 + os.getpid() % 7 / 1000)\n"
        "number = 0\nwhile True:\n    requests(number, 1)\n"
    )
    sink = Sink()
    for _ in range(5):
        assert traced("python", "-c", program, url=sink.url, env=state, timeout=20).returncode == 7
    sink.abandon()  # a request may have been cut off by the end


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_is_named_by_its_program(sink, state, tmp_path, method):
    script = tmp_path / "shop.py"
    script.write_text(
        "import multiprocessing, sqlite3\n"
        "def work():\n    sqlite3.connect(':memory:').execute('select 1')\n"
        "if __name__ == '__main__':\n"
        f"    child = multiprocessing.get_context({method!r}).Process(target=work)\n"
        "    child.start()\n    child.join()\n"
        "    print(child.pid)\n"
    )
    found = traced("python", script, url=sink.url, env=state)
    sink.wait(lambda events: events.spans)
    (own,) = [(m, t) for m, t in sink.metadata if t["id"] == sink.spans[0]["transaction_id"]]
    assert (own[1]["name"], own[1]["outcome"]) == ("shop.py", "success")
    assert own[0]["process"]["pid"] == int(found.stdout)
    assert own[0]["service"]["name"] == "shop"
