"""Which command is started, and what is said when none can be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.launch.support import environment, run, same


@pytest.fixture
def folder(tmp_path):
    """A directory for PATH with programs of several kinds in it."""
    tools = tmp_path / "tools"
    tools.mkdir()

    def add(name: str, content: str, mode: int = 0o755) -> None:
        (tools / name).write_text(content)
        (tools / name).chmod(mode)

    add("tool", '#!/bin/sh\necho tool "$@"\n')
    add("plain", 'echo "no first line: $1"\n')
    add("locked", "#!/bin/sh\necho never\n", 0o644)
    add("orphan", "#!/nonexistent/interpreter\n")
    add("local", "#!/bin/sh\necho the program of that name\n")
    add("a=b", '#!/bin/sh\necho "equals $1"\n')
    add("-x", "#!/bin/sh\necho dash\n")
    (tools / "sub").mkdir()
    return tools


@pytest.fixture
def env(folder):
    return environment(PATH=f"{folder}:/usr/bin:/bin")


def fails(launcher, words, code, line, **how):
    done = run([*launcher, *words], **how)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", f"apm-run: {line}\n")


def test_nothing_is_usage(launcher):
    for words in ([], ["--"]):
        done = run([*launcher, *words])
        assert done.returncode == 2
        assert done.stdout == b""
        assert done.stderr.startswith(b"usage: apm-run [OPTIONS] COMMAND [ARGS]...\n")
        assert done.stderr.count(b"\n") == 2


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("no-such-command", 127, "command not found"),
        ("", 127, "command not found"),
        ("cd", 127, "command not found"),
        ("if", 127, "command not found"),
        ("sub", 127, "command not found"),
        ("locked", 126, "permission denied"),
        ("./no-such-file", 127, "no such file or directory"),
        ("sub/none", 127, "no such file or directory"),
        ("./locked", 126, "permission denied"),
        ("./sub", 126, "is a directory"),
        ("/", 126, "is a directory"),
    ],
)
def test_one_line_for_what_can_not_be_started(launcher, folder, env, name, code, reason):
    fails(launcher, [name, "argument"], code, f"{name}: {reason}", env=env, cwd=folder)


def test_a_missing_interpreter_is_one_line_too(launcher, folder, env):
    done = run([*launcher, "orphan"], env=env)
    assert done.returncode in {126, 127}
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"orphan" in done.stderr


@pytest.mark.parametrize("command", [["tool", "a"], ["./tool", "a"], ["plain", "x y"], ["./plain", "x y"]])
def test_found_as_bare(launcher, folder, env, command):
    def through_a_shell(words):
        return run(["sh", "-c", 'exec "$@"', "sh", *words], env=env, cwd=folder)

    bare = through_a_shell(command)
    launched = through_a_shell([*launcher, *command])
    assert bare.returncode == 0
    assert (launched.returncode, launched.stdout, launched.stderr) == (0, bare.stdout, bare.stderr)


def test_found_in_an_empty_item_of_path(launcher, folder):
    env = environment(PATH=f"/usr/bin::{os.path.dirname(sys.executable)}")
    assert same(launcher, ["tool"], env=env, cwd=folder).stdout == b"tool\n"


def test_without_path(launcher):
    env = environment()
    del env["PATH"]
    absolute = launcher if "/" in launcher[0] else [f"/usr/bin/{launcher[0]}", *launcher[1:]]
    assert run([*absolute, "/bin/echo", "x"], env=env).stdout == b"x\n"
    assert run([*absolute, "echo", "x"], env=env).stdout == b"x\n"


def test_names_of_subcommands_can_be_programs(launcher, folder, env):
    for words in (["--", "local"], [str(folder / "local")]):
        assert run([*launcher, *words], env=env).stdout == b"the program of that name\n"


def test_odd_names(launcher, folder, env):
    assert run([*launcher, "a=b", "c=d"], env=env).stdout == b"equals c=d\n"
    assert run([*launcher, "--", "-x"], env=env).stdout == b"dash\n"


def test_a_program_in_the_current_directory_is_not_found(launcher, folder):
    fails(launcher, ["tool"], 127, "tool: command not found", cwd=folder)


ARGUMENTS = [
    b"",
    b"two\nlines",
    b"*",
    b"$HOME `x` \"q\" 'q'",
    b"\xff\xfe\x01",
    b"--",
    b"-x",
    b"--help",
    b"trailing\n",
    b"a=b",
]


@pytest.mark.parametrize("odd", [{}, {"odd.name": "1"}])
def test_arguments_are_untouched(launcher, odd):
    show = "import os, sys; print([os.fsencode(word) for word in sys.argv])"
    command = [sys.executable, "-c", show, *ARGUMENTS]
    assert b"\\xff" in same(launcher, command, env=environment(**odd)).stdout


@pytest.mark.parametrize("separator", [[], ["--"], ["--set", "a=b"], ["--set", "a=b", "--"]])
def test_our_options_end_at_the_command(launcher, separator):
    done = run([*launcher, *separator, "echo", "--service-name", "x", "--", "--version"])
    assert done.stdout == b"--service-name x -- --version\n"


@pytest.mark.parametrize("code", [0, 1, 2, 77, 126, 127, 255])
def test_exit_codes(launcher, code):
    same(launcher, ["sh", "-c", f"echo out; echo err >&2; exit {code}"])


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 13, 15])
def test_death_by_signal(launcher, number):
    assert same(launcher, ["sh", "-c", f"kill -{number} $$"]).returncode == -number


def test_it_becomes_the_program(launcher):
    process = subprocess.Popen(
        [*launcher, sys.executable, "-c", "import os; print(os.getpid(), os.environ['APM_RUN_LAUNCHED'])"],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.communicate()[0].split() == [str(process.pid).encode()] * 2


def test_pipes_end_by_sigpipe(launcher, tmp_path):
    """``apm-run yes | head -1`` ends as ``yes | head -1`` does."""
    process = subprocess.Popen([*launcher, "yes"], stdout=subprocess.PIPE, env=environment())
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(30) == -13


def test_standard_input(launcher):
    assert run([*launcher, "cat"], input=b"in\0put").stdout == b"in\0put"
