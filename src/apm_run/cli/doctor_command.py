"""``apm-run doctor -- COMMAND``: what COMMAND really is, before it is run."""

from __future__ import annotations

import os
import re
import zipfile

from apm_run.cli import launch, options
from apm_run.cli.doctor_findings import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PYTHON = re.compile(r"(python|pypy)[\d.]*[a-z]*$")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "busybox"})

#: Commands that become another one -> their options that take a word of their own, and words before the command.
_PREFIXES: dict[str, tuple[str, int]] = {
    "env": ("-u -C -S --unset --chdir", 0),
    "nice": ("-n --adjustment", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e", 0),
    "ionice": ("-c -n -p", 0),
    "timeout": ("-k -s --kill-after --signal", 1),
    "tini": ("-p -e", 0),
    "dumb-init": ("-r --rewrite", 0),
    "exec": ("-a", 0),
    "apm-run": (" ".join(name for option in options.OF_THE_AGENT for name in option.opts), 0),
}

#: Flags of Python that keep PYTHONPATH or sitecustomize out.
_FORBIDDING = {"I": "isolated", "E": "ignores PYTHONPATH", "S": "without the site module"}

#: What a program frozen into one file is known by, near its end or anywhere.
_FROZEN = {b"MEI\x0c\x0b\x0a\x0b\x0e": "PyInstaller", b"NUITKA_ONEFILE_PARENT": "Nuitka", b"PYAPP_": "PyApp"}

#: Patterns in lines of shell scripts, what they do, and the fix.
_IN_SCRIPTS = (
    (
        re.compile(r"(?:^|[\s;])PYTHONPATH=(?!\S*\$\{?PYTHONPATH)"),
        "assigns PYTHONPATH and drops what was there: only interpreters that apm-run is installed for are traced then",
        "write PYTHONPATH=NEW:$PYTHONPATH",
    ),
    (re.compile(r"\bunset\s+(?:\S+\s+)*PYTHONPATH\b|\benv\s+-u\s*PYTHONPATH\b"), "unsets PYTHONPATH", "leave it set"),
    (re.compile(r"\benv\s+(-i|-|--ignore-environment)\s"), "clears the environment", "keep PYTHONPATH, ELASTIC_APM_*"),
    (re.compile(r"\bsudo\b(?!.*\s-E\b)"), "changes the environment by sudo", "put apm-run behind sudo"),
    (
        re.compile(r"\bpython[\d.]*\s+(?:-\w+\s+)*-\w*[IES]"),
        "starts Python with a flag that forbids tracing (-I, -E or -S)",
        "leave the flag out",
    ),
)


class Command:
    """What was found out about COMMAND.

    :ivar facts: for ``--json``: ``file``, ``kind``, ``interpreter``, ``flags``, and what the interpreter tells.
    :ivar interpreter: the interpreter that it starts at once and the flags it is given; None if it starts none.
    """

    def __init__(self, words: list[str], environment: dict[bytes, bytes]) -> None:
        self.findings: list[Finding] = []
        self.facts: dict[str, Any] = {"file": None, "kind": "unknown", "interpreter": None, "flags": []}
        self.interpreter: list[str] | None = None
        self._environment = environment
        try:
            self._examine(words, 5)
        except launch.Failure as failure:
            self.facts["kind"] = "missing"
            text = str(failure).removeprefix("apm-run: ")
            self._add("file", "problem", text, "correct COMMAND, or PATH")

    def _add(self, name: str, state: str, text: str, fix: str = "") -> None:
        self.findings.append(Finding("command", name, state, text, fix))

    def _is(self, file: str, kind: str, text: str) -> None:
        self.facts.update(file=file, kind=kind)
        self._add("file", "ok", f"{file}: {text}")

    def _examine(self, words: list[str], depth: int) -> None:
        file = os.path.abspath(os.fsdecode(launch.find(words[0], self._environment)))
        name = os.path.basename(file)
        behind = self._behind(name, words[1:]) if depth else []
        if behind:
            self._examine(behind, depth - 1)
        elif PYTHON.match(name):
            self._python(file, words[1:])
        elif name.startswith("uwsgi"):
            self._is(file, "embedded", "uWSGI, which holds an interpreter of its own")
        else:
            self._content(file, name)

    def _behind(self, name: str, words: list[str]) -> list[str]:
        """The words of the command that a prefix such as ``nice`` becomes."""
        if name == "sudo":
            text = "sudo resets the environment, PYTHONPATH included: what it starts is not traced"
            self._add("prefix", "problem", text, "put apm-run behind sudo: sudo apm-run COMMAND")
        if name not in _PREFIXES:
            return []
        taking, skipped = _PREFIXES[name]
        rest = list(words)
        while rest and (rest[0].startswith("-") or (name == "env" and "=" in rest[0])):
            word = rest.pop(0)
            if name == "env" and word in ("-i", "-", "--ignore-environment"):
                self._add("prefix", "problem", "env -i clears PYTHONPATH: nothing is traced", "leave out -i")
            if word == "--":
                break
            if word in taking.split() and rest:
                rest.pop(0)
        return rest[skipped:]

    def _python(self, file: str, words: list[str]) -> None:
        flags, script = flags_and_script(words)
        kind = _archive(script) if script is not None else None
        self._is(file, kind or "interpreter", f"a Python interpreter{f' and a {kind} file' if kind else ''}")
        self._starts(file, flags)
        if kind == "pex":
            self._pex()

    def _starts(self, interpreter: str, flags: list[str]) -> None:
        self.facts.update(interpreter=interpreter, flags=flags)
        self.interpreter = [interpreter, *flags]
        letters = "".join(flag[1:] for flag in flags if not flag.startswith("--"))
        for letter, means in _FORBIDDING.items():
            if letter in letters:
                text = f"Python is started with -{letter} ({means}), which forbids tracing"
                self._add("flags", "problem", text, f"leave out -{letter}")

    def _content(self, file: str, name: str) -> None:
        with open(file, "rb") as opened:
            head = opened.read(65536)
            opened.seek(max(0, os.path.getsize(file) - 65536))
            tail = opened.read()
        if head.startswith(b"#!"):
            self._script(file, head)
        elif b"\0" in head[:1024]:
            maker = next((maker for mark, maker in _FROZEN.items() if mark in tail or mark in head), None)
            if maker is not None:
                self._is(file, "frozen", f"a Python program frozen into one file by {maker}")
                text = "a frozen program reads no PYTHONPATH: it is not traced"
                self._add("frozen", "problem", text, "run it from its sources, with an interpreter")
            else:
                self._is(file, "binary", f"{name}, no Python program itself; those that it starts are traced")
        else:
            self._is(file, "shell", "a shell script (without #!)")
            self._shell(head)

    def _script(self, file: str, head: bytes) -> None:
        line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
        words = line.split()
        if not words:
            self._is(file, "shell", "a script with an empty #! line")
            return
        name = os.path.basename(words[0])
        if name == "env":
            words = [word for word in words[1:] if "=" not in word and word not in ("-S", "--split-string")]
            words = words or ["env"]
            name = os.path.basename(words[0])
        if name in _SHELLS:
            self._is(file, "shell", f"a shell script ({line})")
            self._shell(head)
        elif PYTHON.match(name):
            kind = _archive(file)
            self._is(file, kind or "script", f"{'a ' + kind + ' file' if kind else 'a Python script'} (#!{line})")
            interpreter = os.path.abspath(os.fsdecode(launch.find(words[0], self._environment)))
            self._starts(interpreter, flags_and_script(words[1:])[0])
            if kind == "pex":
                self._pex()
        else:
            self._is(file, "script", f"a script for {name}; Python programs that it starts are traced")

    def _pex(self) -> None:
        text = "a pex file may start Python anew with -sE, which forbids tracing; the run below shows it"
        self._add("pex", "warning", text, "build it with --venv --non-hermetic-venv-scripts")

    def _shell(self, head: bytes) -> None:
        for number, line in enumerate(head.decode("utf-8", "replace").splitlines(), 1):
            code = line.partition(" #")[0].strip()
            if not code or code.startswith("#"):
                continue
            for pattern, text, fix in _IN_SCRIPTS:
                if pattern.search(code):
                    self._add("shell", "warning", f"line {number} {text}", fix)


def flags_and_script(words: list[str]) -> tuple[list[str], str | None]:
    """The flags given to an interpreter, and the script behind them, if there is one."""
    flags = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        letters = "" if word.startswith("--") else word[1:]
        for position, letter in enumerate(letters):
            if letter in "cm":  # the program itself: what follows is its own
                if position:
                    flags.append(f"-{letters[:position]}")
                return flags, None
            if letter in "WX":
                if position == len(letters) - 1 and rest:
                    rest.pop(0)
                letters = letters[:position]
                break
        if letters:
            flags.append(f"-{letters}")
    return flags, rest[0] if rest and rest[0] != "-" else None


def _archive(path: str) -> str | None:
    """Which kind of zip file with a program it is, None for another file."""
    try:
        with zipfile.ZipFile(path) as opened:
            names = set(opened.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
    if "PEX-INFO" in names:
        return "pex"
    return "shiv" if "_bootstrap/environment.py" in names or "environment.json" in names else "zipapp"
