"""What doctor takes a command for, before it runs."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest

from apm_run.cli.doctor_command import Command

PYTHON = os.path.abspath(sys.executable)
ENVIRONMENT = {b"PATH": f"{os.path.dirname(PYTHON)}:/usr/bin:/bin".encode()}


@pytest.fixture
def make(tmp_path):
    def write(content, name="program"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o755)
        return str(path)

    return write


def examine(*words):
    return Command([str(word) for word in words], ENVIRONMENT)


def found(command):
    return [(finding.name, finding.state) for finding in command.findings if finding.state != "ok"]


@pytest.mark.parametrize(
    ("words", "flags", "bad"),
    [
        (("x.py",), [], 0),
        (("-m", "x", "-I"), [], 0),
        (("-c", "pass", "-E"), [], 0),
        (("-I", "x.py"), ["-I"], 1),
        (("-uE", "-W", "error", "x.py"), ["-uE"], 1),
        (("-Xdev", "-S", "-c", "1"), ["-S"], 1),
        (("-Ic", "1"), ["-I"], 1),
        (("-W", "-I", "x.py"), [], 0),
        (("--check-hash-based-pycs", "x.py"), [], 0),
        (("-",), [], 0),
    ],
)
def test_flags_of_an_interpreter(words, flags, bad):
    command = examine(PYTHON, *words)
    assert command.facts["kind"] == "interpreter"
    assert command.facts["flags"] == flags
    assert command.interpreter == [PYTHON, *flags]
    assert [state for name, state in found(command) if name == "flags"] == ["problem"] * bad


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        (f"#!{PYTHON}", []),
        (f"#!{PYTHON} -I", ["-I"]),
        ("#!/usr/bin/env python3", []),
        ("#!/usr/bin/env -S python3 -E", ["-E"]),
        ("#! /usr/bin/env -S A=1 python3", []),
    ],
)
def test_shebang(make, line, flags):
    command = examine(make(f"{line}\npass\n"))
    assert (command.facts["kind"], command.facts["flags"]) == ("script", flags)
    assert os.path.basename(command.facts["interpreter"]).startswith("python")
    assert len(found(command)) == len(flags)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["__main__.py"], "zipapp"),
        (["__main__.py", "PEX-INFO"], "pex"),
        (["__main__.py", "environment.json", "_bootstrap/__init__.py"], "shiv"),
    ],
)
def test_archives(make, tmp_path, names, kind):
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        for name in names:
            archive.writestr(name, "")
    content = (tmp_path / "zip").read_bytes()
    for command in (examine(make(f"#!{PYTHON}\n".encode() + content)), examine(PYTHON, tmp_path / "zip")):
        assert command.facts["kind"] == kind
        assert found(command) == ([("pex", "warning")] if kind == "pex" else [])


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("PYTHONPATH=/app python x.py", True),
        ("export PYTHONPATH=/app", True),
        ("export PYTHONPATH=/app:$PYTHONPATH", False),
        ('PYTHONPATH="/app${PYTHONPATH:+:$PYTHONPATH}" python x.py', False),
        ("unset A PYTHONPATH", True),
        ("env -i python x.py", True),
        ("env -u PYTHONPATH python x.py", True),
        ("exec python3 -I x.py", True),
        ("exec python3 -u x.py -I", False),
        ("sudo -u app python x.py", True),
        ("# PYTHONPATH=/app", False),
        ("exec python x.py", False),
    ],
)
@pytest.mark.parametrize("first", ["#!/bin/sh\n", "#!/usr/bin/env bash\n", ""])
def test_shell_scripts(make, first, line, bad):
    command = examine(make(f"{first}\n{line}\n"))
    assert command.facts["kind"] == "shell"
    assert found(command) == ([("shell", "warning")] if bad else [])
    if bad:
        assert f"line {2 + bool(first)} " in command.findings[-1].text


@pytest.mark.parametrize(
    "prefix",
    [["env"], ["env", "A=1", "-u", "B"], ["nice", "-n", "5"], ["nohup"], ["timeout", "-k", "1", "5"], ["setsid"]],
)
def test_prefixes(prefix):
    command = examine(*prefix, PYTHON, "x.py")
    assert command.facts["interpreter"] == PYTHON
    assert found(command) == []


def test_prefixes_that_lose_the_environment(make):
    assert found(examine("env", "-i", PYTHON, "x.py")) == [("prefix", "problem")]
    sudo = make("\0", "sudo")
    assert ("prefix", "problem") in found(examine(sudo, PYTHON, "x.py"))


def test_other_programs(make):
    assert examine("/bin/ls").facts["kind"] == "binary"
    assert examine(make("#!/usr/bin/perl\n")).facts["kind"] == "script"
    assert examine(make("\0", "uwsgi")).facts["kind"] == "embedded"
    frozen = examine(make(b"\x7fELF\0" + b"x" * 100_000 + b"MEI\x0c\x0b\x0a\x0b\x0e" + b"y" * 80))
    assert (frozen.facts["kind"], found(frozen)) == ("frozen", [("frozen", "problem")])
    assert "PyInstaller" in frozen.findings[0].text


@pytest.mark.parametrize("name", ["/nonexistent/x", "no-such-command", "/tmp"])
def test_what_can_not_be_started(name):
    command = examine(name)
    assert (command.facts["kind"], found(command)) == ("missing", [("file", "problem")])
