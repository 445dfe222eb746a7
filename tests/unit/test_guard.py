"""Where the agent's own failures end, and the one line that a launched tree may hear of them."""

from __future__ import annotations

import functools
import os
import posix
import runpy
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from apm_run import guard as module
from apm_run import log
from apm_run.guard import failed, guard

ROOT = str(Path(__file__).resolve().parents[2] / "src")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(module, "failures", {})


@pytest.fixture
def lenient(monkeypatch):
    monkeypatch.setattr(module, "STRICT", False)


def test_our_tests_are_strict():
    assert module.STRICT is True


def test_strict_mode_hands_the_very_exception_on():
    error = LookupError("ours")
    with pytest.raises(LookupError) as caught, guard("here"):
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert module.failures == {"here": [1, "LookupError: ours"]}
    with pytest.raises(LookupError) as caught:
        try:
            raise error
        except LookupError:
            failed("there")
    assert caught.value is error


class TimeIsUp(Exception):
    pass


class Alarm:
    def ring(self, number, frame):
        raise TimeIsUp


def ring(number, frame):
    raise TimeIsUp


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize(
    "handler", [ring, Alarm().ring, functools.partial(ring)], ids=["function", "method", "partial"]
)
def test_what_a_signal_handler_raises_is_the_programs(handler):
    """A job's time is up while our work is being done: its library waits for that exception."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeIsUp), guard("here"):
            signal.raise_signal(signal.SIGALRM)
        with pytest.raises(TimeIsUp):
            try:
                signal.raise_signal(signal.SIGALRM)
            except Exception:
                failed("here")
        with guard("there"):
            raise TimeIsUp
    finally:
        signal.signal(signal.SIGALRM, before)
    assert list(module.failures) == ["there"]


@pytest.mark.usefixtures("lenient")
def test_failures_are_recorded_and_end():
    for number in range(3):
        with guard("here"):
            raise LookupError(number)
    try:
        raise ValueError("other")
    except ValueError:
        failed("there")
    with guard("nowhere"):
        pass
    assert module.failures == {"here": [3, "LookupError: 2"], "there": [1, "ValueError: other"]}


def test_what_fails_while_the_interpreter_is_taken_down_ends(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", None)
        with guard("here"):
            raise ImportError("sys.meta_path is None")
    assert module.failures == {}


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_passes(kind):
    with pytest.raises(kind), guard("here"):
        raise kind
    assert module.failures == {}


@pytest.mark.usefixtures("lenient")
def test_what_can_not_be_printed_is_recorded():
    class Unprintable(Exception):
        def __str__(self):
            raise LookupError

    with guard("here"):
        raise Unprintable
    assert module.failures == {"here": [1, "Unprintable"]}


@pytest.mark.usefixtures("lenient")
def test_a_log_that_can_not_be_written_is_no_failure(monkeypatch):
    monkeypatch.setattr(log, "write", lambda *_: 1 / 0)
    with guard("here"):
        raise LookupError("ours")
    assert module.failures == {"here": [1, "LookupError"]}


@pytest.mark.usefixtures("lenient")
def test_long_texts_are_cut():
    with guard("here"):
        raise LookupError("x" * 10_000)
    assert len(module.failures["here"][1]) == 500


def test_the_switch_is_read_from_the_environment():
    def strict(**environ):
        command = [sys.executable, "-c", "from apm_run import guard; print(guard.STRICT)"]
        return subprocess.run(command, env={**bare(), **environ}, capture_output=True, text=True, check=True).stdout

    assert strict(APM_RUN_STRICT="1") == "True\n"
    assert strict(APM_RUN_STRICT="0") == "False\n"
    assert strict() == "False\n"


# What is said


def bare(**more):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("APM_RUN_")}
    return {**environ, "PYTHONPATH": ROOT, **more}


@pytest.fixture
def tree(tmp_path):
    """Start programs of one launched tree: ``tree(code)`` gives what its processes say."""

    def run(code, times=1, **more):
        environ = bare(**{"TMPDIR": str(tmp_path), "APM_RUN_LAUNCHED": "4711", **more})
        command = [sys.executable, "-c", f"from apm_run import guard\n{code}"]
        running = [
            subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(times)
        ]
        ended = [process.communicate(timeout=60) for process in running]
        assert [process.returncode for process in running] == [0] * times, ended
        return "".join(said for _, said in ended)

    run.notes = tmp_path / f".apm-run-said-{os.getuid()}"
    return run


SAY = "guard.say('word ä \\udcff')"


def test_one_line(tree):
    assert tree(f"{SAY}; {SAY}") == "apm-run: word ä \\udcff\n"


def test_one_line_of_a_tree(tree):
    assert tree(SAY, times=6).count("\n") == 1
    assert tree(SAY) == ""
    assert tree(SAY, APM_RUN_LAUNCHED="4712").count("\n") == 1


def test_trees_whose_numbers_begin_alike(tree):
    assert tree(SAY, APM_RUN_LAUNCHED="47").count("\n") == 1
    assert tree(SAY, APM_RUN_LAUNCHED="4").count("\n") == 1


def test_without_a_launcher_each_process_is_a_tree(tree, monkeypatch):
    said = tree(f"import os; os.environ.pop('APM_RUN_LAUNCHED'); {SAY}", times=3)
    assert said.count("\n") == 3


def test_children_hear_of_it_through_the_environment(tree):
    code = f"{SAY}\nimport os, subprocess, sys\nos.environ['TMPDIR'] = '/no/such/folder'\n"
    code += f"subprocess.run([sys.executable, '-c', {f'from apm_run import guard; {SAY}'!r}], check=True)"
    assert tree(code).count("\n") == 1


def test_nothing_once_the_program_has_another_file_there(tree, tmp_path):
    file = tmp_path / "file"
    assert tree(f"import os; os.dup2(os.open({str(file)!r}, os.O_RDWR | os.O_CREAT), 2); {SAY}") == ""
    assert file.read_bytes() == b""


def test_nothing_where_there_is_no_stderr(tree):
    assert tree(f"import os; os.close(2); {SAY}") == ""
    environ = bare(TMPDIR=os.path.dirname(tree.notes))
    code = f"from apm_run import guard; assert guard._stderr is None; {SAY}"
    done = subprocess.run(["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], env=environ, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("folder", ["/no/such/folder", "/proc"])
def test_where_nothing_can_be_noted_it_is_said(tree, folder):
    assert tree(SAY, TMPDIR=folder).count("\n") == 1


def test_notes_that_are_not_ours_are_not_used(tree, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"of another")
    tree.notes.symlink_to(elsewhere)
    assert tree(SAY).count("\n") == 1
    assert elsewhere.read_bytes() == b"of another"


def test_notes_of_another_user_are_not_used(tree):
    tree.notes.write_bytes(b"4711:")
    code = f"import os; uid = os.getuid(); os.getuid = lambda: uid + 1\nos.rename({str(tree.notes)!r}, "
    code += f"{str(tree.notes.parent)!r} + f'/.apm-run-said-{{uid + 1}}')\n{SAY}"
    assert tree(code).count("\n") == 1


def test_notes_begin_anew_when_they_are_many(tree):
    tree.notes.write_bytes(b"1:1 1\n" * 20_000)
    assert tree(SAY).count("\n") == 1
    assert tree.notes.stat().st_size < 100
    assert tree(SAY) == ""


def test_notes_that_can_not_be_read(tree):
    os.mkfifo(tree.notes)
    assert tree(SAY).count("\n") == 1


def test_a_terminal_that_has_gone(tree):
    code = "import os; read, write = os.pipe(); os.dup2(write, 2); os.close(read); os.close(write)\n"
    code += f"guard._stderr = os.fstat(2)[1:3]; {SAY}"
    assert tree(code) == ""


# The same within this process, where it can be measured what is run


@pytest.fixture
def saying(monkeypatch, tmp_path, capfd):
    """What is said here: ``saying(line)``."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("APM_RUN_LAUNCHED", "4711")
    monkeypatch.delenv("APM_RUN_SAID", raising=False)
    monkeypatch.setattr(module, "_stderr", os.fstat(2)[1:3])

    def say(line, forget=False):
        if forget:
            monkeypatch.delenv("APM_RUN_SAID")
        module.say(line)
        return capfd.readouterr().err

    return say


def pretend(monkeypatch, **functions):
    """Replace functions of the operating system for the module alone."""
    for name, real in (("os", os), ("posix", posix)):
        monkeypatch.setattr(module, name, types.SimpleNamespace(**{**vars(real), **functions}))


def test_said_once_here(saying, tmp_path, monkeypatch):
    assert saying("first") == "apm-run: first\n"
    assert saying("second") == ""
    # Another process of the tree, which has not got our environment.
    pretend(monkeypatch, getpid=lambda: 1)
    assert saying("third", forget=True) == ""
    (tmp_path / f".apm-run-said-{os.getuid()}").write_bytes(b"x\n" * 50_000)
    assert saying("fourth", forget=True) == "apm-run: fourth\n"


def test_said_here_where_nothing_can_be_noted(saying, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    assert saying("first") == "apm-run: first\n"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    os.mkfifo(tmp_path / f".apm-run-said-{os.getuid()}")
    assert saying("second", forget=True) == "apm-run: second\n"
    monkeypatch.delenv("TMPDIR")
    opened = []

    def refuse(path, *_):
        opened.append(path)
        raise OSError

    pretend(monkeypatch, open=refuse)
    assert saying("third", forget=True) == "apm-run: third\n"
    assert opened == [f"/tmp/.apm-run-said-{os.getuid()}"]


def test_said_here_beside_notes_of_another_user(saying, monkeypatch):
    uid = os.getuid()
    pretend(monkeypatch, getuid=lambda: uid + 1)
    assert saying("first") == "apm-run: first\n"


def test_not_said_here(saying, monkeypatch):
    monkeypatch.setattr(module, "_stderr", None)
    assert saying("first") == ""
    monkeypatch.setattr(module, "_stderr", (1, 2))
    assert saying("second", forget=True) == ""
    monkeypatch.setattr(module, "_stderr", os.fstat(2)[1:3])

    def refuse(*_):
        raise OSError

    pretend(monkeypatch, write=refuse)
    assert saying("third", forget=True) == ""


def test_an_interpreter_without_stderr(monkeypatch):
    def refuse(_):
        raise OSError

    monkeypatch.setattr(os, "fstat", refuse)
    assert runpy.run_path(module.__file__)["_stderr"] is None
