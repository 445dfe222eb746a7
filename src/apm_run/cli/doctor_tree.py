"""``apm-run doctor -- COMMAND``: the processes below COMMAND, seen from outside."""

from __future__ import annotations

import os

from apm_run.cli import launch
from apm_run.cli.doctor_command import PYTHON, flags_and_script
from apm_run.ends import program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: From linux/prctl.h: orphans become children of this process, so that daemons stay in sight.
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Stay the ancestor of all that COMMAND starts, also where its parent ends before we have looked."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):  # not Linux
        return


class Tree:
    """The processes below this one, as far as looking often enough shows them."""

    def __init__(self) -> None:
        self.pythons: dict[int, Python] = {}
        self._known = {os.getpid()}

    def look(self, command: int) -> bool:
        """Take note of what is there now; whether anything is.

        :param command: the pid of COMMAND itself, which somebody else waits for.
        """
        parents = {}
        try:
            pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        except OSError:
            return False
        for pid in pids:
            stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if stat and stat[0] not in (b"Z", b"X"):
                parents[pid] = int(stat[1])
            elif stat and int(stat[1]) == os.getpid() != pid != command:
                _bury(pid)
        grown = True
        while grown:
            new = {pid for pid, parent in parents.items() if parent in self._known} - self._known
            self._known |= new
            grown = bool(new)
        alive = [pid for pid in self._known if pid in parents and pid != os.getpid()]
        for pid in alive:
            self._note(pid)
        return bool(alive)

    def _note(self, pid: int) -> None:
        words = [word.decode("utf-8", "replace") for word in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]]
        try:
            file = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            return
        if words and PYTHON.match(file):
            self.pythons[pid] = Python(words, _read(f"/proc/{pid}/environ"))
        else:
            self.pythons.pop(pid, None)  # it has become another program


class Python:
    """A Python process as it is seen from outside.

    :ivar program: its script or module, or ``python -c``.
    """

    def __init__(self, words: list[str], environ: bytes) -> None:
        flags, _ = flags_and_script(words[1:])
        self.program = program_name(words)
        self._named = PYTHON.match(os.path.basename(words[0])) is not None
        letters = "".join(flag[1:] for flag in flags)
        self._forbids = next((letter for letter in "IES" if letter in letters), None)
        variables = environ.split(b"\0")
        self._path = next((entry[11:] for entry in variables if entry.startswith(b"PYTHONPATH=")), None)
        self._childless = b"APM_RUN_CHILDREN=0" in variables

    @property
    def left(self) -> bool:
        """Whether it was asked for that it is not traced."""
        return self._childless and os.fsencode(launch.bootstrap() or "") not in (self._path or b"").split(b":")

    def has_replaced(self, report: dict[str, Any]) -> bool:
        """Whether this is another program than the one that wrote the report, which has become it by ``exec``.

        Some programs write a title of their own over the command line; that tells nothing.
        """
        program = report.get("started", {}).get("program", self.program)
        return self._forbids is not None or (self._named and program != self.program)

    def reason(self) -> tuple[str, str]:
        """Why it has not said anything of itself, and what to do about it."""
        if self._forbids is not None:
            return f"started with -{self._forbids}, which forbids tracing", f"leave out -{self._forbids}"
        if self.left:
            return "a traced program has started it, and APM_RUN_CHILDREN=0 is set", "leave out APM_RUN_CHILDREN=0"
        folder = launch.bootstrap()
        path = (self._path or b"").split(b":")
        if folder is not None and os.fsencode(folder) in path:
            for entry in path[: path.index(os.fsencode(folder))]:
                if os.path.isfile(os.path.join(entry, b"sitecustomize.py")):
                    text = f"{os.fsdecode(entry)} has a sitecustomize and comes before ours on PYTHONPATH"
                    return text, "put apm-run right before python itself, behind what adds that directory"
        elif folder is not None:
            change = "removed" if self._path is None else "replaced"
            text = f"PYTHONPATH was {change} on the way, by a script or the program that started it"
            fix = "keep what was in it (PYTHONPATH=NEW:$PYTHONPATH), put apm-run before python, or install it there"
            return text, fix
        text = "the agent could not be loaded there, or the process ended at its very start"
        return text, f"see whether its user can read {folder}, and try PYTHONPATH={folder} python -c pass"


def _bury(pid: int) -> None:
    """Let an orphan that has ended go, as process 1 would; some wait for it to be gone."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        return


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """Whether that process runs."""
    return bool(_read(f"/proc/{pid}/cmdline"))
