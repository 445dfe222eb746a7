"""``apm-run doctor -- COMMAND``: what COMMAND is, and a verdict on each process of the tree that it starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
from tests.launch.doctoring import DOCTOR, doctor, examined, finding, problems
from tests.launch.support import INTERPRETERS
from tests.servers import Server, refused_port
from tests.traced import environment

WORK = "import sqlite3; sqlite3.connect(':memory:').execute('select 1'); "


#: On a slow machine too, a program that does nothing is no transaction.
BRIEF = {"ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION": "60s"}


def run(url, *command, state, env=None, code=None, options=()):
    env = {**BRIEF, **(env or {})}
    return examined("--server-url", url, *options, "--", *command, state=state, env=env, code=code)


def verdicts(result):
    return sorted((process["verdict"], process["reason"]) for process in result["processes"])


def the(result):
    (process,) = result["processes"]
    return process


def script(folder, text, name="script"):
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip())
    path.chmod(0o755)
    return path


class TestVerdicts:
    def test_traced(self, sink, tmp_path):
        result = run(sink.url, sys.executable, "-c", WORK, state=tmp_path, code=0)
        process = the(result)
        assert (process["verdict"], process["reason"]) == ("traced", "1 transactions, 2 events accepted")
        assert not process["running"]
        assert len(sink.transactions) == 1
        assert result["command"]["kind"] == "interpreter"
        assert result["command"]["python"]["version"] == sys.version.split()[0]
        assert result["status"] == 0

    def test_hooked_without_traffic(self, sink, tmp_path):
        result = run(sink.url, sys.executable, "-c", "pass", state=tmp_path, code=0)
        assert the(result)["verdict"] == "hooked, no traffic"
        assert finding(result, "processes", "traffic")["state"] == "note"

    def test_each_process_of_the_tree(self, sink, tmp_path):
        program = (
            f"import os, subprocess, sys\nif os.fork() == 0:\n    {WORK}sys.exit(0)\nos.wait()\n"
            "subprocess.run([sys.executable, '-c', 'pass'])\n"
            "subprocess.run([sys.executable, '-I', '-c', 'import time; time.sleep(0.5)'])\n"
            "subprocess.run([sys.executable, '-c', 'import time; time.sleep(0.5)'], env={})\n"
        )
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path, code=1)
        assert [verdict for verdict, _ in verdicts(result)] == [
            "hooked, no traffic", "not traced", "not traced", "traced", "traced",
        ]  # fmt: skip
        reasons = [reason for verdict, reason in verdicts(result) if verdict == "not traced"]
        assert reasons == [
            "PYTHONPATH was removed on the way, by a script or the program that started it",
            "started with -I, which forbids tracing",
        ]

    def test_a_tool(self, sink, tmp_path):
        """It is no problem that a package manager is not traced; what it starts is."""
        program = "import subprocess, sys\nsubprocess.run([sys.executable, sys.argv[1]])\n"
        words = script(tmp_path, program, "poetry"), script(tmp_path, WORK.replace("; ", "\n"), "app.py")
        result = run(sink.url, sys.executable, *words, state=tmp_path / "state", code=0)
        assert [verdict for verdict, _ in verdicts(result)] == ["left alone", "traced"]
        reason = verdicts(result)[0][1]
        assert reason == "a package manager or developer's tool, which is left alone: APM_RUN_TOOLS=1 traces it too"
        assert finding(result, "processes", "poetry")["state"] == "note"

    def test_without_children(self, sink, tmp_path):
        program = (
            f"{WORK}import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(0.5)'])"
        )
        env = {"APM_RUN_CHILDREN": "0"}
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path, env=env, code=0)
        assert verdicts(result) == [
            ("left alone", "a traced program has started it, and APM_RUN_CHILDREN=0 is set"),
            ("traced", "1 transactions, 2 events accepted"),
        ]

    def test_not_delivered(self, tmp_path):
        url = f"http://127.0.0.1:{refused_port()}"
        result = run(url, sys.executable, "-c", WORK, state=tmp_path, code=1)
        process = the(result)
        assert process["verdict"] == "not delivered"
        assert process["reason"] == f"Connection refused; 2 events wait in {tmp_path}/outbox"
        assert problems(result)[0] == ("server", "tcp")

    def test_rejected(self, tmp_path):
        answers = [202, (400, '{"accepted":0,"errors":[{"message":"no such field"}]}')]
        with Server(answers) as server:
            result = run(server.url, sys.executable, "-c", WORK, state=tmp_path, code=1)
        assert the(result)["verdict"] == "not delivered"
        assert the(result)["reason"] == "2 events rejected: no such field"

    def test_not_sent(self, sink, tmp_path):
        options = ("--set", "disable_send=true")
        result = run(sink.url, sys.executable, "-c", WORK, state=tmp_path, options=options, code=1)
        assert (the(result)["verdict"], the(result)["reason"]) == ("not sent", "disable_send is true")

    @pytest.mark.parametrize("option", ["enabled", "instrument"])
    def test_skipped_by_an_option(self, sink, tmp_path, option):
        options = ("--set", f"{option}=false")
        result = run(sink.url, sys.executable, "-c", WORK, state=tmp_path, options=options, code=1)
        assert the(result)["verdict"] == "skipped"
        assert the(result)["reason"] == f"{option} is false (option --set)"

    def test_not_recording(self, sink, tmp_path):
        options = ("--set", "recording=false")
        result = run(sink.url, sys.executable, "-c", WORK, state=tmp_path, options=options, code=1)
        assert (the(result)["verdict"], the(result)["reason"]) == ("skipped", "recording is false")

    @pytest.mark.parametrize("version", [v for v in INTERPRETERS if v.startswith(("2.", "3.6", "3.8"))])
    def test_skipped_by_an_old_interpreter(self, sink, tmp_path, version):
        result = run(sink.url, INTERPRETERS[version], "-c", "print(1)", state=tmp_path, code=1)
        assert the(result)["verdict"] == "skipped"
        assert the(result)["reason"] == f"only CPython 3.9 and newer is traced, and this is Python {version}"
        assert finding(result, "command", "interpreter")["state"] == "problem"

    @pytest.mark.parametrize("version", [v for v in INTERPRETERS if v.startswith(("3.9", "3.1"))])
    def test_interpreters(self, sink, tmp_path, version):
        result = run(sink.url, INTERPRETERS[version], "-c", WORK, state=tmp_path, code=0)
        assert result["command"]["python"]["version"] == version
        assert result["command"]["python"]["libc"]
        assert the(result)["report"]["python"]["version"] == version

    @pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
    def test_flags_of_a_shebang(self, sink, tmp_path, flag):
        program = script(tmp_path, f"#!{sys.executable} {flag}\nimport time; time.sleep(0.5)\n")
        result = run(sink.url, program, state=tmp_path / "state", code=1)
        assert problems(result)[0] == ("command", "flags")
        assert the(result)["reason"] == f"started with {flag}, which forbids tracing"

    def test_a_shell_script_that_replaces_pythonpath(self, sink, tmp_path):
        lines = f"#!/bin/sh\nexport PYTHONPATH=/tmp\n{sys.executable} -c 'import time; time.sleep(0.5)'\n"
        result = run(sink.url, script(tmp_path, lines), state=tmp_path / "state", code=1)
        assert finding(result, "command", "shell")["text"].startswith("line 2 assigns PYTHONPATH")
        assert the(result)["reason"].startswith("PYTHONPATH was replaced")

    def test_no_python_at_all(self, sink, tmp_path):
        result = run(sink.url, "true", state=tmp_path, code=1)
        assert result["command"]["kind"] == "binary"
        assert result["processes"] == []
        assert finding(result, "processes", "none")["state"] == "problem"

    def test_an_archive(self, sink, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.pyz", "w") as archive:
            archive.writestr("__main__.py", WORK)
        result = run(sink.url, sys.executable, tmp_path / "x.pyz", state=tmp_path, code=0)
        assert result["command"]["kind"] == "zipapp"
        assert the(result)["verdict"] == "traced"

    def test_killed(self, sink, tmp_path):
        """What was sent before counts, without any exit of ours."""
        program = (
            "import os, signal, sys, threading, urllib.request\n"
            "from wsgiref.simple_server import make_server\n"
            "app = lambda env, start: (start('200 OK', []), [b'x'])[1]\n"
            "server = make_server('127.0.0.1', 0, app)\n"
            "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
            "urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/').read()\n"
            "sys.stdin.readline()\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        command = [*DOCTOR, "--json", "--server-url", sink.url, "--", sys.executable, "-c", program]
        env = environment(APM_RUN_STATE_DIR=str(tmp_path))
        process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=-3)
        sink.wait(lambda events: events.transactions)
        time.sleep(0.2)  # the answer reaches the program
        output, _ = process.communicate(b"\n", timeout=60)
        result = json.loads(output)
        assert result["status"] == -9
        assert (the(result)["verdict"], the(result)["report"]["state"]) == ("traced", "running")
        assert finding(result, "processes", "end")["text"] == "COMMAND ended by signal 9"


class TestExec:
    """A process that has become another program: what the first one reported does not tell of the second."""

    @pytest.mark.parametrize("words", [["-I", "{script}"], ["{script}"]])
    def test_into_an_interpreter_that_is_not_traced(self, sink, tmp_path, words):
        second = script(tmp_path, "import time; time.sleep(0.5)\n", "second.py")
        words = ["python", *[word.format(script=second) for word in words]]
        program = f"import os, sys; os.execve(sys.executable, {words!r}, {{}})"
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path / "state", code=1)
        assert (the(result)["program"], the(result)["verdict"]) == ("second.py", "not traced")

    def test_into_one_that_is(self, sink, tmp_path):
        second = script(tmp_path, WORK, "second.py")
        program = f"import os, sys; os.execv(sys.executable, ['python', {str(second)!r}])"
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path / "state", code=0)
        assert (the(result)["program"], the(result)["verdict"]) == ("second.py", "traced")

    def test_behind_a_sitecustomize_that_does_not_pass_on(self, sink, tmp_path):
        """As opentelemetry-instrument does it."""
        script(tmp_path, "", "sitecustomize.py")
        lines = (
            f"#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} -c 'import time; time.sleep(0.5)'\n"
        )
        result = run(sink.url, script(tmp_path, lines), state=tmp_path / "state", code=1)
        assert the(result)["reason"] == f"{tmp_path} has a sitecustomize and comes before ours on PYTHONPATH"


class TestPlaces:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
    def test_a_service_that_gives_up_its_rights(self, sink, tmp_path):
        """Its report is replaced by the user that it has become (who may not be able to read our files here)."""
        program = (
            f"{WORK}\nimport os\nif os.fork() == 0:\n    os.setgid(65534); os.setuid(65534)\n    {WORK}os._exit(0)\n"
            "os.wait()"
        )
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path)
        assert [process["report"]["transactions"] for process in result["processes"]] == [1, 1]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_nothing_can_be_written(self, sink, tmp_path):
        """As in a container with a read-only root and no volume."""
        places = ("/tmp", "/var/tmp", "/dev/shm")  # in place: this checkout may be in one of them
        mounts = "".join(f"mount --bind {at} {at} && mount -o remount,bind,ro {at} && " for at in places)
        words = ("--json", "--server-url", sink.url, "--", sys.executable, "-c", "print('never run')")
        command = ["unshare", "-m", "sh", "-c", f'{mounts}cd /proc && exec "$@"', "sh", *DOCTOR, *words]
        env = environment(HOME="/proc/none", TMPDIR="/proc/none", XDG_STATE_HOME="")
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        result = json.loads(done.stdout)
        assert (done.returncode, done.stderr, result["processes"]) == (1, "", [])
        assert problems(result) == [("command", "reports")]
        assert finding(result, "outbox", "directory")["state"] == "warning"


class TestDaemons:
    #: Its parent is gone before anybody can have looked.
    BECOME = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\n"

    def test_is_followed(self, sink, tmp_path):
        program = f"{self.BECOME}{WORK}time.sleep(0.3)"
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path, code=0)
        assert sorted(process["verdict"] for process in result["processes"]) == ["hooked, no traffic", "traced"]
        assert not any(process["running"] for process in result["processes"])

    def test_is_gone_when_it_has_ended(self, sink, tmp_path):
        """Programs wait for the end of what they have let go: it must not stay a zombie of doctor's."""
        program = (
            "import os, time\nread, write = os.pipe()\n"
            "if os.fork() == 0:\n    if os.fork() == 0: os.write(write, b'%d' % os.getpid())\n    os._exit(0)\n"
            "os.wait()\npid, end = os.read(read, 9).decode(), time.monotonic() + 20\n"
            "while os.path.exists(f'/proc/{pid}') and time.monotonic() < end: time.sleep(0.01)\n"
            "os._exit(os.path.exists(f'/proc/{pid}'))"
        )
        assert run(sink.url, sys.executable, "-c", program, state=tmp_path, code=0)["status"] == 0

    def test_that_stays(self, sink, tmp_path):
        """It is told, and what it would report later leaves no file behind."""
        go, done = tmp_path / "go", tmp_path / "done"
        program = (
            f"{self.BECOME}os.closerange(0, 3)\n{WORK}\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
            f"import wsgiref.simple_server; open({str(done)!r}, 'w'); time.sleep(60)"
        )
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        env = {"TMPDIR": str(temporary)}
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path / "state", env=env, code=0)
        (left,) = [process["pid"] for process in result["processes"] if process["running"]]
        try:
            assert f"({left})" in finding(result, "processes", "running")["text"]
            go.touch()
            deadline = time.monotonic() + 30
            while not done.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert list(temporary.iterdir()) == []
        finally:
            os.kill(left, signal.SIGTERM)


class TestCommand:
    @pytest.mark.parametrize("name", ["no-such-command", "/nonexistent/x"])
    def test_unknown(self, sink, tmp_path, name):
        result = run(sink.url, name, state=tmp_path, code=1)
        assert problems(result) == [("command", "file")]
        assert (result["processes"], result["status"]) == ([], None)

    def test_what_can_not_be_executed(self, sink, tmp_path):
        program = script(tmp_path, "#!/nonexistent/interpreter\n")
        result = run(sink.url, program, state=tmp_path / "state", code=1)
        assert problems(result)[-1] == ("command", "start")

    def test_apm_run_itself(self, sink, tmp_path):
        """The command line as it stands in a unit file or a shell's history."""
        launcher = Path(sys.prefix, "bin/apm-run")
        words = (launcher, "--service-name", "shop", sys.executable, "-c", WORK)
        result = run(sink.url, *words, state=tmp_path, code=0)
        assert result["command"]["kind"] == "interpreter"
        assert [one["name"] for one in result["findings"] if one["state"] == "warning"] == []
        assert the(result)["verdict"] == "traced"

    def test_a_script_without_a_first_line(self, sink, tmp_path):
        program = script(tmp_path, f"{sys.executable} -c pass\n")
        result = run(sink.url, program, state=tmp_path / "state", code=0)
        assert the(result)["verdict"] == "hooked, no traffic"

    def test_output_and_words_are_the_programs(self, sink, tmp_path):
        program = "import sys; print(sys.argv[1:]); sys.exit(3)"
        words = ("--server-url", sink.url, "--", sys.executable, "-c", program, "--json", "--", "x")
        done = doctor(*words, state=tmp_path)
        assert done.stdout.startswith("['--json', '--', 'x']\n\napm-run 0.1.0: ")
        assert "COMMAND ended by exit code 3" in done.stdout
        done = doctor("--json", *words, state=tmp_path)
        assert done.stderr == "['--json', '--', 'x']\n"
        assert json.loads(done.stdout)["status"] == 3

    def test_arguments_and_failures_are_not_shown(self, sink, tmp_path):
        program = WORK + "raise ValueError('p4ssword')"
        result = run(sink.url, sys.executable, "-c", program, "--password=p4ssword", state=tmp_path)
        assert "p4ssword" not in json.dumps(result)

    def test_ctrl_c_ends_the_program_and_not_doctor(self, sink, tmp_path):
        program = "import sys, time; print('ready', flush=True); time.sleep(60)"
        command = [*DOCTOR, "--server-url", sink.url, "--", sys.executable, "-c", program]
        env = environment(APM_RUN_STATE_DIR=str(tmp_path))
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True
        )
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert "traced: 1 transactions" in output
        assert process.returncode == 0

    def test_sitecustomize_and_other_agents(self, sink, tmp_path):
        """By folders alone: importing any of these would fail."""
        for name in (
            "ddtrace/bootstrap",
            "newrelic",
            "elasticapm",
            "opentelemetry/instrumentation/auto_instrumentation",
        ):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "newrelic/__init__.py").write_text("1/0")
        (tmp_path / "ddtrace/bootstrap/sitecustomize.py").touch()
        (tmp_path / "sitecustomize.py").write_text("print('noise')")
        (tmp_path / "apm_run").mkdir()
        (tmp_path / "apm_run/version.py").write_text('__version__ = "9.9"')
        env = {"PYTHONPATH": f"{tmp_path / 'ddtrace/bootstrap'}:{tmp_path}"}
        result = run(sink.url, sys.executable, "-c", "pass", state=tmp_path, env=env, code=0)
        facts = result["command"]["python"]
        assert facts["sitecustomize"][:3] == [
            "apm-run", f"ddtrace ({tmp_path}/ddtrace/bootstrap/sitecustomize)", f"{tmp_path}/sitecustomize",
        ]  # fmt: skip
        assert sorted(facts["agents"]) == ["ddtrace", "elastic-apm", "newrelic", "opentelemetry"]
        others = [one for one in result["findings"] if one["name"] == "other agent"]
        assert sorted(one["state"] for one in others) == ["note", "note", "note", "warning"]
        assert "apm-run 9.9 is installed there" in finding(result, "command", "apm-run")["text"]

    def test_pythonpath_without_room(self, sink, tmp_path):
        env = {"PYTHONPATH": "/" + "x" * 131_050}
        result = run(sink.url, sys.executable, "-c", "pass", state=tmp_path, env=env, code=1)
        assert ("command", "PYTHONPATH") in problems(result)

    def test_a_broken_interpreter(self, sink, tmp_path):
        broken = script(tmp_path, "#!/bin/sh\nexit 7\n", "python3")
        result = run(sink.url, broken, "x.py", state=tmp_path / "state", code=1)
        assert "exit code 7" in finding(result, "command", "interpreter")["text"]


class TestInstrumentations:
    def test_states(self, sink, tmp_path):
        folder = tmp_path / "modules"
        (folder / "apm_run_instrumentations").mkdir(parents=True)
        (folder / "broken.py").touch()
        (folder / "apm_run_instrumentations/broken.py").write_text("1/0")
        (folder / "acme.py").write_text("def call(): pass\n")
        (folder / "apm_run_instrumentations/acme.py").write_text(
            "from apm_run.instrument.vocabulary import Instrumentation, Target\n"
            "def describe(call): raise ValueError('p4ssword')\n"
            "INSTRUMENTATION = Instrumentation('acme', (),\n"
            "    (Target('acme:call', describe), Target('acme:gone', describe)))\n"
        )
        (folder / "sitecustomize.py").write_text("import threading")
        program = WORK + "import acme, broken\nfor _ in range(9): acme.call()"
        env = {"PYTHONPATH": str(folder)}
        options = ("--set", "disable_instrumentations=sqlite3")
        result = run(sink.url, sys.executable, "-c", program, state=tmp_path, env=env, options=options, code=1)
        libraries = {one["library"]: one for one in the(result)["report"]["instrumentations"]}
        states = {name: one["state"] for name, one in libraries.items()}
        assert states["sqlite3"] == "disabled"
        assert states["flask"] == "waiting"
        assert states["acme"] == "switched off"
        assert states["threading"] == "imported too early"
        assert [target["state"] for target in libraries["acme"]["targets"]] == ["switched off", "skipped"]
        (broken,) = [one for name, one in libraries.items() if name.endswith("/broken.py")]
        told = [one for one in result["findings"] if "broken.py" in one["text"]]
        assert [one["fix"].startswith("correct that file") for one in told] == [True]
        assert (broken["state"], broken["detail"]) == ("failed", "ZeroDivisionError: division by zero")
        assert the(result)["report"]["failures"][-1]["last"] == "ValueError"
        assert "p4ssword" not in json.dumps(result)
        texts = [one["text"] for one in result["findings"] if one["state"] == "problem"]
        assert any(text.startswith("acme switched off") for text in texts)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A virtual environment with the official agent."""
    folder = tmp_path_factory.mktemp("official")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q", "elastic-apm"]
    subprocess.run(pip, check=True, capture_output=True)
    yield folder / "bin/python"
    shutil.rmtree(folder)


class TestTheOfficialAgent:
    def test_ours_stands_aside(self, official, sink, tmp_path):
        program = WORK + "import elasticapm; sqlite3.connect(':memory:').execute('select 2')"
        result = run(sink.url, official, "-c", program, state=tmp_path, code=1)
        assert the(result)["verdict"] == "skipped"
        assert the(result)["reason"] == "the program imports elasticapm, the official agent"
        assert the(result)["report"]["agents"] == ["elastic-apm"]
        assert the(result)["report"]["transactions"] == 0
        assert result["command"]["python"]["agents"] == ["elastic-apm"]
        (fix,) = [one["fix"] for one in result["findings"] if one["state"] == "problem"]
        assert fix.startswith("take elasticapm out")
        assert sink.events == []

    def test_one_line_says_so(self, official, sink, tmp_path):
        command = [*DOCTOR[:-1], "--server-url", sink.url, official, "-c", "import elasticapm; print('done')"]
        env = environment(APM_RUN_STATE_DIR=str(tmp_path), TMPDIR=str(tmp_path))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        line = "the program imports elasticapm, the official agent: apm-run stands aside in this process"
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", f"apm-run: {line}\n")
        assert sink.events == []

    def test_not_where_it_is_only_installed(self, official, sink, tmp_path):
        result = run(sink.url, official, "-c", WORK, state=tmp_path, code=0)
        assert the(result)["verdict"] == "traced"
        assert finding(result, "command", "other agent")["state"] == "note"
