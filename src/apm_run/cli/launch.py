"""From the launcher's process to the program: environment, look-up, signals, exec.

Stands for ``apm-run`` the shell script where that hands over, and where there is no shell. Only modules that
every interpreter has loaded at its start, for the launcher's time is the program's start.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: What Linux takes for one string of the environment, with its name and its end (MAX_ARG_STRLEN).
LONGEST_VARIABLE = 131072

#: The signals that CPython ignores at its start, which exec would hand on.
PYTHON_IGNORES = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name))


class Failure(Exception):
    """The command can not be started.

    :ivar code: the exit code, as shells have it: 127 unknown, 126 not executable.
    """

    def __init__(self, code: int, name: str | bytes, reason: str) -> None:
        super().__init__(f"apm-run: {os.fsdecode(name)}: {reason}")
        self.code = code


class Process:
    """What the launcher was given and the program shall have.

    :ivar environment: the variables, as bytes.
    :ivar ignored: the signals out of :data:`PYTHON_IGNORES` that were ignored when the launcher started.
    """

    __slots__ = ("environment", "ignored")

    def __init__(self, environment: dict[bytes, bytes], ignored: tuple[signal.Signals, ...]) -> None:
        self.environment = environment
        self.ignored = ignored

    @classmethod
    def current(cls, ignored: str = "") -> Process:
        """Read it from this process.

        :param ignored: ``SigIgn`` from before CPython's start, "" if unknown.
        """
        try:
            mask = int(ignored, 16)
        except ValueError:
            mask = 0
        return cls(_environment(), tuple(s for s in PYTHON_IGNORES if mask >> (s - 1) & 1))

    def restore_signals(self) -> None:
        """Undo what CPython's start did to the dispositions."""
        for number in PYTHON_IGNORES:
            if number not in self.ignored:
                signal.signal(number, signal.SIG_DFL)


def _environment() -> dict[bytes, bytes]:
    """Return the environment as this process was given it.

    Not ``os.environb``: in the C locale CPython puts LC_CTYPE there (PEP 538).
    """
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            content = file.readall()
    except OSError:
        content = None
    if not content:
        return dict(os.environb)
    environment: dict[bytes, bytes] = {}
    for entry in content.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name:
            environment.setdefault(name, value)
    return environment


def bootstrap() -> str | None:
    """Return the directory for PYTHONPATH, None if this installation has none."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sources = os.path.dirname(os.path.dirname(package))
    for folder in (os.path.join(sources, "bootstrap"), os.path.join(package, "_bootstrap")):
        if os.access(os.path.join(folder, "sitecustomize.py"), os.R_OK):
            return folder
    return None


def mark(environment: dict[bytes, bytes], folder: str | None, pid: int) -> None:
    """Put the bootstrap directory first on PYTHONPATH; leave all as it is where that can not be.

    :param environment: is changed.
    :param folder: the bootstrap directory.
    :param pid: the root of the launched tree.
    """
    if folder is None or os.pathsep in folder:
        return
    item, separator = os.fsencode(folder), os.pathsep.encode()
    old = environment.get(b"PYTHONPATH", b"")
    if not old:
        path = item
    elif old == item or old.startswith(item + separator):
        path = old
    else:
        path = item + separator + old
    if len(b"PYTHONPATH=") + len(path) + 1 > LONGEST_VARIABLE:
        return
    environment[b"PYTHONPATH"] = path
    environment[b"APM_RUN_LAUNCHED"] = str(pid).encode()


def find(name: str, environment: dict[bytes, bytes]) -> bytes:
    """Return the file that the word ``name`` starts.

    :raises Failure: there is none, or none that can be executed.
    """
    word = os.fsencode(name)
    if b"/" in word:
        if os.path.isdir(word):
            raise Failure(126, name, "is a directory")
        if not os.path.exists(word):
            raise Failure(127, name, "no such file or directory")
        if not os.access(word, os.X_OK):
            raise Failure(126, name, "permission denied")
        return word
    seen = False
    if word:
        for folder in environment.get(b"PATH", os.defpath.encode()).split(b":"):
            candidate = os.path.join(folder or b".", word)
            if os.path.isfile(candidate):
                if os.access(candidate, os.X_OK):
                    return candidate
                seen = True
    raise Failure(126, name, "permission denied") if seen else Failure(127, name, "command not found")


def execute(file: bytes, words: list[str], environment: dict[bytes, bytes]) -> NoReturn:
    """Become ``file``, with ``words`` as its arguments; a file without ``#!`` is the shell's, as everywhere.

    :raises OSError: the kernel refused.
    """
    try:
        os.execve(file, words, environment)
    except OSError as error:
        import errno

        if error.errno != errno.ENOEXEC:
            raise
        os.execve(b"/bin/sh", [b"/bin/sh", file, *map(os.fsencode, words[1:])], environment)


def become(words: list[str], process: Process) -> NoReturn:
    """Become the command ``words`` with the agent in it; on failure say so in one line and exit."""
    try:
        file = find(words[0], process.environment)
        mark(process.environment, bootstrap(), os.getpid())
        process.restore_signals()
        try:
            execute(file, words, process.environment)
        except OSError as error:
            raise refusal(words[0], error) from None
    except Failure as failure:
        leave(failure)


def refusal(name: str, error: OSError) -> Failure:
    """Return what to say when the kernel refused to execute a file that is there."""
    reason = (error.strerror or str(error)).lower()
    return Failure(127 if isinstance(error, FileNotFoundError) else 126, name, reason)


def leave(failure: Failure) -> NoReturn:
    """Write the failure's line and exit with its code."""
    os.write(2, os.fsencode(f"{failure}\n"))
    sys.exit(failure.code)
