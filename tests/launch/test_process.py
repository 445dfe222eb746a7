"""The program's process: all that it can see of itself is as bare."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
from tests.launch.support import INTERPRETERS, PROBE, REPOSITORY, environment, probe, run, theirs

COMMAND = [sys.executable, PROBE, "an argument", ""]


def same_process(launcher, command, **how):
    """Assert that the probe sees the same bare and launched; return what it sees launched."""
    bare, launched = probe(command, **how), probe([*launcher, *command], **how)
    assert theirs(launched) == theirs(bare)
    return launched


def test_as_given(launcher):
    facts = same_process(launcher, COMMAND, cwd="/")
    assert facts["argv"][1:] == ["an argument", ""]
    assert facts["environ"]["APM_RUN_LAUNCHED"] == str(facts["pid"])


@pytest.mark.parametrize("version", INTERPRETERS or [pytest.param(None, marks=pytest.mark.skip("no pyenv"))])
def test_as_given_on_every_interpreter(script, version):
    same_process([script], [INTERPRETERS[version], PROBE, "x"], env=environment(APM_RUN_STRICT="0"))


@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
def test_name_of_the_program(launcher, option):
    """A program started by name has that name for argv[0], and finds its own prefix."""
    env = environment()
    launched = probe([*launcher, *option, "python", PROBE], env=env)
    bare = probe(["python", PROBE], env=env)
    assert launched["cmdline"] == bare["cmdline"]
    assert launched["cmdline"][0] == "python"
    assert theirs(launched) == theirs(bare)


def test_a_python_behind_symlinks(launcher, tmp_path):
    link = tmp_path / "snake"
    link.symlink_to(sys.executable)
    for command in ([str(link), PROBE], ["snake", PROBE]):
        same_process(launcher, command, env=environment(PATH=f"{tmp_path}:{environment()['PATH']}"))


def ignore(*numbers):
    def prepare():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return prepare


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGWINCH]
)
@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
def test_ignored_signals_stay_ignored(launcher, number, option):
    facts = same_process([*launcher, *option], COMMAND, preexec_fn=ignore(number), restore_signals=False)
    assert int(facts["status"]["SigIgn"], 16) >> (number - 1) & 1


@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
@pytest.mark.parametrize("restore", [True, False])
def test_sigpipe_as_given(shell, script, restore, option):
    """CPython ignores SIGPIPE and SIGXFSZ for itself; neither that nor its opposite reaches the program."""
    command = ["grep", "SigIgn", "/proc/self/status"]
    how = {"restore_signals": restore}
    bare, launched = run(command, **how), run([*shell, script, *option, *command], **how)
    assert launched.stdout == bare.stdout


@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
def test_blocked_signals_stay_blocked(launcher, option):
    """But for SIGCHLD under bash, which no script can keep blocked."""

    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGALRM})

    facts = same_process([*launcher, *option], COMMAND, preexec_fn=prepare)
    assert int(facts["status"]["SigBlk"], 16)


@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
def test_umask_limits_and_niceness(launcher, option):
    def prepare():
        os.umask(0o027)
        os.nice(3)
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    facts = same_process([*launcher, *option], COMMAND, preexec_fn=prepare)
    assert facts["nice"] == 3


@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_closed_descriptors_stay_closed(launcher, closed, tmp_path, option):
    """The program writes what it sees to a file, for it may have no output."""
    show = (
        "import os, sys; open(sys.argv[1], 'w').write(repr([os.path.exists(f'/proc/self/fd/{n}') for n in range(12)]))"
    )

    def prepare():
        for number in closed:
            os.close(number)

    def descriptors(prefix):
        file = tmp_path / "seen"
        done = subprocess.run(
            [*prefix, sys.executable, "-S", "-c", show, file],
            preexec_fn=prepare,
            env=environment(),
            check=False,
            timeout=60,
        )
        return done.returncode, file.read_text()

    assert descriptors([*launcher, *option]) == descriptors([])


def test_inherited_descriptors(launcher, tmp_path):
    """Also those that shells take for themselves: dash puts its script on 10, bash on 255."""
    opened = ["bash", "-c", 'exec "$@" 3<"$0" 10<"$0" 255<"$0"', str(tmp_path)]
    bare, launched = probe([*opened, *COMMAND]), probe([*opened, *launcher, *COMMAND])
    assert launched["fds"] == bare["fds"]
    assert {"3", "10", "255"} <= set(bare["fds"])


def test_a_directory_that_is_gone(launcher, tmp_path):
    """The program starts as bare; what a shell itself has to say about it comes before any script's first word."""
    gone = f'mkdir "{tmp_path}/gone" && cd "{tmp_path}/gone" && rmdir "{tmp_path}/gone" && exec "$@"'
    through = ["bash", "-c", gone, "bash"]
    command = [sys.executable, "-c", "import os, sys; print('PWD' in os.environ); sys.stderr.write('x')"]
    bare = run([*through, *command])
    launched = run([*through, *launcher, *command])
    assert (launched.returncode, launched.stdout) == (bare.returncode, bare.stdout)
    assert [line for line in launched.stderr.splitlines() if b"getcwd" not in line] == bare.stderr.splitlines()
    if launcher[0].endswith("python"):
        assert launched.stderr == bare.stderr


def test_group_and_session(launcher):
    """The launcher starts no group and no session of its own."""
    show = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"
    for new_session in (True, False):
        command = [sys.executable, "-c", show]
        bare = run(command, start_new_session=new_session)
        assert run([*launcher, *command], start_new_session=new_session).stdout == bare.stdout


def test_nothing_is_left_behind(launcher):
    """No child of the launcher is there to be waited for by the program."""
    show = "import os\ntry: print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError: print('none')"
    assert run([*launcher, sys.executable, "-c", show]).stdout == b"none\n"


@pytest.mark.parametrize("words", [["echo", "x"], ["--", "echo", "x"], ["--set", "a=b", "echo", "x"]])
def test_where_no_process_can_be_made(shell, words):
    """Becoming the program needs none; a shell that can not fork says so and ends, unless kept from it."""
    folder = tempfile.mkdtemp(prefix="launch-")
    try:
        os.chmod(folder, 0o755)
        for part in ("bin", "apm_run", "apm_run/cli", "apm_run/_bootstrap"):
            os.mkdir(f"{folder}/{part}")
        shutil.copy(REPOSITORY / "src/apm_run/cli/apm-run", f"{folder}/bin")
        with open(f"{folder}/apm_run/_bootstrap/sitecustomize.py", "w"):
            pass
        with open(f"{folder}/bin/python3", "w") as python:
            python.write('#!/bin/sh\nshift 5\nexec "$@"\n')
        os.chmod(f"{folder}/bin/python3", 0o755)
        os.symlink(f"{folder}/bin/apm-run", f"{folder}/link")

        def prepare():
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            if os.getuid() == 0:
                os.setuid(65534)

        for script in (f"{folder}/bin/apm-run", f"{folder}/link"):
            command = [*shell, script, *words]
            if script.endswith("link") and words[0] == "--set":
                continue  # without readlink, no Python of its own can be found
            if shell[0] == "bash":
                continue  # it tries again for half a minute
            done = run(command, preexec_fn=prepare, cwd="/")
            assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n", b"")
    finally:
        shutil.rmtree(folder)
