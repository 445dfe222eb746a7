"""``--local``: the receiver in the launcher, the program as its child, and nothing of that to be felt."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from tests.launch.support import PROBE, REPOSITORY, environment, probe, run, theirs

TRACED = "import time; time.sleep(0.15); print('done')"


@pytest.fixture
def local(full, tmp_path):
    """``apm-run --local``, with its state in a directory of the test."""
    return ["env", f"APM_RUN_STATE_DIR={tmp_path}", str(full / "bin" / "apm-run"), "--local"]


@pytest.fixture
def env(tmp_path):
    env = environment(APM_RUN_STATE_DIR=str(tmp_path))
    del env["ELASTIC_APM_DISABLE_SEND"]
    return env


def lines(done):
    return done.stderr.decode().splitlines()


def wait_for(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)


class Running:
    """A program under ``--local`` whose output can be waited for."""

    def __init__(self, command, **how):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **how)
        self.output = b""
        self.errors = b""
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, "output")),
            threading.Thread(target=self._read, args=(self.process.stderr, "errors")),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, name):
        while data := stream.read(4096):
            setattr(self, name, getattr(self, name) + data)

    def says(self, word):
        wait_for(lambda: word in self.output)

    def end(self, timeout=30):
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.end(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def test_summary(local, env):
    done = run([*local, "--service-name", "shop", sys.executable, "-c", TRACED], env=env)
    assert (done.returncode, done.stdout) == (0, b"done\n")
    first, second = lines(done)
    assert re.fullmatch(r"apm-run: http://127\.0\.0\.1:\d+ shows what python\S* does", first)
    assert second == "apm-run: shop: 1 transaction, 0 spans, 0 errors"


def test_summary_of_failures(local, env):
    done = run([*local, "--service-name", "shop", sys.executable, "-c", "raise ValueError('x')"], env=env)
    bare = run([sys.executable, "-c", "raise ValueError('x')"], env=env)
    assert (done.returncode, done.stdout) == (1, b"")
    assert lines(done)[1:-1] == lines(bare)
    assert lines(done)[-1] == "apm-run: shop: 1 transaction (1 failed), 0 spans, 1 error"


def test_what_killed_programs_left_is_shown_and_goes_nowhere_else(local, env, tmp_path):
    """Also where they are killed before anything could be sent."""
    program = "import sqlite3, os\nfrom tests.launch.ending import requests\nrequests()\nos.kill(os.getpid(), 9)\n"
    words = ["env", f"TMPDIR={tmp_path}", *local, "--service-name", "shop", sys.executable, "-c", program]
    done = run(words, env={**env, "PYTHONPATH": str(REPOSITORY)}, cwd=tmp_path)
    assert done.returncode == -9
    assert lines(done)[-1] == "apm-run: shop: 10 transactions, 10 spans, 0 errors"
    assert [path.name for path in tmp_path.iterdir()] == []


def test_summary_of_nothing_and_of_bad_events(local, env):
    assert lines(run([*local, "true"], env=env))[-1] == "apm-run: nothing was received"
    code = (
        "import os, urllib.request as u\n"
        'body = b\'{"metadata":{"service":{"name":"x","agent":{"name":"a","version":"1"}}}}\\n{"span":{}}\\n\'\n'
        "request = u.Request(os.environ['ELASTIC_APM_SERVER_URL'] + '/intake/v2/events', body,\n"
        "                    {'Content-Type': 'application/x-ndjson'})\n"
        "try: u.urlopen(request)\n"
        "except u.HTTPError as error: print(error.code); error.close()\n"
    )
    done = run([*local, sys.executable, "-I", "-c", code], env=env)
    assert done.stdout == b"400\n"
    assert lines(done)[-1].startswith("apm-run: 1 events rejected: ")


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_codes(local, env, code):
    done = run([*local, "sh", "-c", f"exit {code}"], env=env)
    assert done.returncode == code


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 13, 15])
def test_death_by_signal(local, env, number, tmp_path):
    """The same signal, and one core at most: the program's."""
    done = run([*local, "sh", "-c", f"kill -{number} $$"], env=env, cwd=tmp_path)
    assert done.returncode == -number
    assert lines(done)[-1] == "apm-run: nothing was received"


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["no-such-command"], 127, "no-such-command: command not found"),
        (["/"], 126, "/: is a directory"),
        (["/etc/passwd"], 126, "/etc/passwd: permission denied"),
    ],
)
def test_what_can_not_be_started(local, env, words, code, reason):
    done = run([*local, *words], env=env)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", f"apm-run: {reason}\n")


def test_a_script_without_first_line(local, env, tmp_path):
    script = tmp_path / "script"
    script.write_text('echo "$0 $1"\n')
    script.chmod(0o755)
    assert run([*local, script, "a b"], env=env).stdout == f"{script} a b\n".encode()
    script.write_text("#!/nonexistent/interpreter\n")
    done = run([*local, script], env=env)
    assert done.returncode == 127
    assert lines(done)[-1] == f"apm-run: {script}: no such file or directory"


def test_the_process_is_as_bare(local, env):
    """Streams, signals, mask, limits, directory, arguments; and the environment, but for our names."""
    command = [sys.executable, PROBE, "a b", ""]

    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.umask(0o027)
        os.nice(1)

    for how in ({}, {"preexec_fn": prepare}, {"restore_signals": False}):
        bare, launched = probe(command, env=env, cwd="/", **how), probe([*local, *command], env=env, cwd="/", **how)
        assert theirs(launched) == theirs(bare)


def test_variables(local, env):
    """No credential goes to the receiver, and the program knows where it is."""
    env |= {
        "ELASTIC_APM_SERVER_URL": "https://elsewhere",
        "ELASTIC_APM_SERVER_URLS": "https://elsewhere",
        "ELASTIC_APM_SECRET_TOKEN": "secret",
        "ELASTIC_APM_API_KEY": "secret",
    }
    command = [*local, "--secret-token", "secret", "--set", "recording=true", sys.executable, PROBE]
    done = run(command, env=env)
    found = json.loads(done.stdout)["environ"]
    assert not [name for name, value in found.items() if value == "secret" or "elsewhere" in value]
    assert found["APM_RUN_LOCAL"] == "1"
    assert found["ELASTIC_APM_RECORDING"] == "true"
    assert found["ELASTIC_APM_SERVER_URL"] == lines(done)[0].split()[1]
    assert found["APM_RUN_LAUNCHED"] != str(json.loads(done.stdout)["pid"])


WAITING = """
import signal, sys, time
def note(number):
    print(signal.Signals(number).name, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        sys.exit(42)
wanted = {getattr(signal, name) for name in sys.argv[1:]}
# Blocked, so that none can come between a look and the wait for the next.
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready", flush=True)
while True:
    note(signal.sigwait(wanted))
"""


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGTSTP"])
def test_signals_to_the_launcher_reach_the_program(local, env, name):
    with Running([*local, sys.executable, "-c", WAITING, name, "SIGTERM"], env=env) as program:
        program.says(b"ready")
        program.process.send_signal(getattr(signal, name))
        program.says(name.encode() + b"\n")
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == 42
        assert program.output == f"ready\n{name}\nSIGTERM\n".encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_program_that_dies_by_them(local, env, number):
    """SIGTERM to the launcher ends the program, and the launcher as the program."""
    with Running([*local, "sh", "-c", "echo ready; exec sleep 60"], env=env) as program:
        program.says(b"ready")
        program.process.send_signal(number)
        assert program.end() == -number
        assert b"nothing was received" in program.errors


def test_signals_before_the_program_has_started(local, env):
    """None is lost between the launcher's start and the program's, and none ends the launcher alone."""
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        with Running([*local, sys.executable, "-c", WAITING, "SIGUSR2"], env=env) as program:
            time.sleep(delay)
            program.process.send_signal(signal.SIGTERM)
            assert program.end() == -signal.SIGTERM


def stopped(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_stop_and_continue(local, env):
    """A program that stops is a job that stops; SIGCONT to the launcher continues it."""
    with Running([*local, "sh", "-c", "echo ready; kill -STOP $$; echo on; exec sleep 60"], env=env) as program:
        program.says(b"ready")
        wait_for(lambda: stopped(program.process.pid))
        program.process.send_signal(signal.SIGCONT)
        program.says(b"on")
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == -signal.SIGTERM


def on_terminal(command, env, keys):
    """Run ``command`` on a terminal; type what ``keys`` says at each word; return output and wait status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, env)
    output = b""
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            output += data
            for word in [word for word in keys if word in output]:
                os.write(terminal, keys.pop(word))
    finally:
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
    return output.replace(b"\r\n", b"\n"), status


COUNTING = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
print("ready", flush=True)
while not seen:
    time.sleep(0.01)
time.sleep(0.5)
print("seen", len(seen), "rows", __import__("os").get_terminal_size().lines, flush=True)
sys.exit(5)
"""


def test_ctrl_c_reaches_the_program_once(local, env):
    output, status = on_terminal([*local, sys.executable, "-c", COUNTING], env, {b"ready": b"\x03"})
    assert b"seen 1 rows" in output, output
    assert os.WEXITSTATUS(status) == 5


def test_ctrl_c_kills_the_program(local, env):
    output, status = on_terminal([*local, "sh", "-c", "echo ready; exec sleep 60"], env, {b"ready": b"\x03"})
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGINT
    assert b"nothing was received" in output


def test_ctrl_z_and_fg(local, env):
    """The shell sees its job stop and continue."""
    shell = ["bash", "--norc", "-im", "-c", '"$@"; echo stopped=$?; fg; echo end=$?', "bash"]
    program = [*local, sys.executable, "-c", "print('rea' + 'dy', flush=True); input(); print('o' + 'n'); exit(3)"]
    output, status = on_terminal([*shell, *program], env, {b"ready": b"\x1a", b"stopped=148": b"\n"})
    assert b"stopped=148" in output, output
    assert b"\non\n" in output, output
    assert b"end=3" in output
    assert os.WEXITSTATUS(status) == 0


def test_the_terminal_is_the_programs(local, env):
    """Its size, its being one, and reading from it."""
    code = "import os, sys; print(os.isatty(0), os.isatty(1), os.isatty(2), os.tcgetpgrp(0) == os.getpgrp(), input())"
    output, _ = on_terminal([*local, sys.executable, "-c", code + "; print('ready')"], env, {b"shows what": b"typed\n"})
    assert b"True True True True typed" in output


def test_keep(local, env):
    with Running([*local, "--keep", "--service-name", "shop", sys.executable, "-c", TRACED], env=env) as program:
        wait_for(lambda: b"until Ctrl-C" in program.errors)
        url = program.errors.split()[1].decode()
        assert b"shop: 1 transaction" in program.errors
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200
        program.process.send_signal(signal.SIGINT)
        assert program.end() == 0


def test_events_of_a_program_that_outlives_its_requests(local, env):
    """The launcher waits until the events are there, also those of a child that the program leaves behind."""
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(0.15)\n    raise SystemExit(3)\nos.wait()\n"
    done = run([*local, "--service-name", "shop", sys.executable, "-c", code + TRACED], env=env)
    assert re.search(r"shop: [12] transactions?", lines(done)[-1])


def test_closed_output(local, env):
    """A launcher that has nowhere to say it says nothing, and writes into no file of anybody's."""
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" 2>&-', "bash", *local, "sh", "-c", "echo x; exit 3"],
        env=env,
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, b"x\n")


def test_without_the_extra(script, env):
    done = run([script, "--local", "echo", "started"], env=env)
    assert (done.returncode, done.stdout) == (2, b"")
    assert lines(done) == ["apm-run: the local receiver needs starlette and uvicorn: pip install 'apm-run[local]'"]
    done = run([script, "local"], env=env)
    assert done.returncode == 2
    assert lines(done) == ["apm-run: the local receiver needs starlette and uvicorn: pip install 'apm-run[local]'"]


class TestAlone:
    """``apm-run local``."""

    def address(self, program):
        wait_for(lambda: b"\n" in program.errors)
        return re.search(rb"http://[^ ]+", program.errors)[0].decode()

    def test_it_answers_until_it_is_ended(self, full, env):
        for number in (signal.SIGINT, signal.SIGTERM):
            with Running([full / "bin" / "apm-run", "local", "--port", "0"], env=env) as receiver:
                with urllib.request.urlopen(self.address(receiver), timeout=10) as answer:
                    assert answer.status == 200
                receiver.process.send_signal(number)
                assert receiver.end() == 0
                assert receiver.output == b""

    def test_the_next_port(self, full, env):
        with Running([full / "bin" / "apm-run", "local", "--port", "0"], env=env) as first:
            port = int(self.address(first).rpartition(":")[2])
            with Running([full / "bin" / "apm-run", "local", "--port", str(port)], env=env) as second:
                assert port < int(self.address(second).rpartition(":")[2]) <= port + 100

    def test_store(self, full, env, tmp_path):
        command = [full / "bin" / "apm-run", "local", "--port", "0", "--store", "data.sqlite", "--size-cap", "8mb"]
        with Running(command, env=env, cwd=tmp_path) as receiver:
            self.address(receiver)
            receiver.process.send_signal(signal.SIGTERM)
            assert receiver.end() == 0
        assert (tmp_path / "data.sqlite").exists()

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (["--port", "many"], "--port"),
            (["--port", "70000"], "--port"),
            (["--size-cap", "big"], "256mb"),
            (["--size-cap", "0mb"], "256mb"),
            (["--host", "0.0.0.0"], "loopback"),
            (["--store", "/nonexistent/folder/file"], "/nonexistent/folder/file"),
            (["--nonsense"], "--nonsense"),
            (["extra"], "extra"),
        ],
    )
    def test_errors(self, full, env, options, word):
        done = run([full / "bin" / "apm-run", "local", *options], env=env)
        assert (done.returncode, done.stdout) == (2, b"")
        assert len(lines(done)) == 1
        assert word in lines(done)[0]

    def test_help(self, full, env):
        done = run([full / "bin" / "apm-run", "local", "--help"], env=env)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"--size-cap" in done.stdout
