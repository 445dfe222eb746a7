"""``apm-run --local COMMAND``: the receiver in this process, the program as its child.

The launcher is to be seen as little as ``time`` is: the child stays in its process group, takes what the
terminal sends by itself, gets what was sent to the launcher alone, and the launcher ends as the child ended.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic

from apm_run.cli import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from apm_run.local.server import Receiver

#: The agent's variables that would send data elsewhere, or show a credential to the receiver.
_REPLACED = (b"ELASTIC_APM_SERVER_URLS", b"ELASTIC_APM_SECRET_TOKEN", b"ELASTIC_APM_API_KEY")

#: Signals that are taken here and sent on to the child.
_FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGWINCH,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCONT,
    }
)
_WAITED = _FORWARDED | {signal.SIGCHLD}

#: Seconds without a request after which the program's events are taken to be complete, and the most to wait.
_QUIET = 0.25
_PATIENCE = 5.0


def run(words: list[str], process: launch.Process, keep: bool) -> NoReturn:
    """Run the command ``words`` on a receiver of its own and end as it ends.

    :param keep: whether the page stays after the program's end, until SIGINT, SIGTERM or SIGHUP.
    """
    from shutil import rmtree
    from tempfile import mkdtemp

    # Blocked before anything is started: no signal is lost, and no thread of the receiver takes one.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the child's end is to be seen even if SIGCHLD was ignored
    # A directory of its own: what is left here must never be sent elsewhere.
    state = mkdtemp(prefix="apm-run-local-")
    try:
        process.environment[b"APM_RUN_STATE_DIR"] = os.fsencode(state)
        status = _run(words, process, keep, mask)
    finally:
        rmtree(state, ignore_errors=True)
    _end_as(status, mask)


def _run(words: list[str], process: launch.Process, keep: bool, mask: set[Any]) -> int:
    """The same, up to the program's wait status."""
    from apm_run.local import LocalExtraMissing, Receiver

    try:
        file = launch.find(words[0], process.environment)
        receiver = Receiver(port=0)
        child = _Child(file, words, process, mask)
        receiver.start()
    except launch.Failure as failure:
        launch.leave(failure)
    except (LocalExtraMissing, OSError) as error:
        _say(str(error))
        sys.exit(2)
    _say(f"{receiver.url} shows what {os.path.basename(words[0])} does")
    try:
        child.execute(receiver.url)
    except launch.Failure as failure:
        receiver.close()
        launch.leave(failure)
    status = _attend(child.pid)
    _finish(receiver, keep, process.environment)
    receiver.close()
    return status


class _Child:
    """The program's process. Forked while this one has a single thread; it waits for the receiver's address.

    Not ``posix_spawn``: glibc's leaves two signals of its own ignored in the program.
    """

    def __init__(self, file: bytes, words: list[str], process: launch.Process, mask: set[Any]) -> None:
        self._name = words[0]
        gate, self._gate = os.pipe()
        self._refusal, refusal = os.pipe()
        launcher = os.getpid()
        self.pid = os.fork()
        if self.pid:
            os.close(gate)
            os.close(refusal)
            return
        try:
            os.close(self._gate)
            url = os.read(gate, 4096)
            if url:  # nothing: there is no receiver
                _prepare(process.environment, url, launcher)
                process.restore_signals()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                launch.execute(file, words, process.environment)
        except OSError as error:
            os.write(refusal, str(error.errno).encode())
        finally:
            os._exit(127)

    def execute(self, url: str) -> None:
        """Let the program begin.

        :param url: of the receiver.
        :raises launch.Failure: the kernel refused.
        """
        os.write(self._gate, url.encode())
        os.close(self._gate)
        code = os.read(self._refusal, 16)
        os.close(self._refusal)
        if code:
            raise launch.refusal(self._name, OSError(int(code), os.strerror(int(code))))


def _point(environment: dict[bytes, bytes], url: bytes) -> None:
    for name in _REPLACED:
        environment.pop(name, None)
    environment[b"ELASTIC_APM_SERVER_URL"] = url
    # The receiver answers for certain, if only when it has started: what was given up would be shown twice.
    environment.setdefault(b"ELASTIC_APM_EXIT_TIMEOUT", b"5s")
    environment[b"APM_RUN_LOCAL"] = b"1"


def _prepare(environment: dict[bytes, bytes], url: bytes, launcher: int) -> None:
    _point(environment, url)
    launch.mark(environment, launch.bootstrap(), launcher)


def _attend(child: int) -> int:
    """Stand between the world and the child until it ends; return its wait status."""
    while True:
        info = signal.sigwaitinfo(_WAITED)
        if info.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                _stop_as(signal.Signals(os.WSTOPSIG(status)))
            elif pid:
                return status
        elif info.si_signo == signal.SIGCONT:
            if _stopped(child):
                os.kill(child, signal.SIGCONT)
        elif info.si_code <= 0:
            # Sent by a process. What the terminal sends (si_code > 0) has reached the child as well.
            os.kill(child, info.si_signo)


def _stop_as(number: signal.Signals) -> None:
    """Stop this process as the child was stopped, so that the shell sees its job do so; return when continued."""
    signal.sigtimedwait({number}, 0)  # the one that the terminal has sent to both
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED & {number})


def _stopped(pid: int) -> bool:
    """Whether the process is stopped; the shell that continues a job has mostly continued all of it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return True


def _adopt(receiver: Receiver, environment: dict[bytes, bytes]) -> None:
    """Have the receiver get what the program's processes could not send before they were killed."""
    from apm_run import config
    from apm_run.export.clearing import clear

    _point(environment, receiver.url.encode())
    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    settings, _ = config.load(environ)
    clear(settings, environ, _PATIENCE)


def _finish(receiver: Receiver, keep: bool, environment: dict[bytes, bytes]) -> None:
    """Wait for the program's last events, print the summary, keep the page if asked to."""
    try:
        receiver.wait_ready(_PATIENCE)
    except RuntimeError as error:
        _say(f"{error}: {error.__cause__}")
        return
    deadline = monotonic() + _PATIENCE
    while not receiver.wait_idle(_QUIET, 0.1) and monotonic() < deadline:
        if signal.sigtimedwait({signal.SIGINT, signal.SIGTERM, signal.SIGHUP}, 0):
            break
    _adopt(receiver, environment)
    for line in summary(receiver.summary()):
        _say(line)
    if keep:
        _say(f"{receiver.url} stays until Ctrl-C")
        signal.sigwait({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def summary(facts: dict[str, Any]) -> list[str]:
    """Return the lines that say what was received.

    :param facts: :meth:`apm_run.local.server.Receiver.summary`.
    """
    lines = []
    for name, counts in facts["services"].items():
        failed = f" ({counts['failures']} failed)" if counts["failures"] else ""
        transactions, spans, errors = (_count(counts, word) for word in ("transaction", "span", "error"))
        lines.append(f"{name}: {transactions}{failed}, {spans}, {errors}")
    if facts["rejected"]:
        reasons = "; ".join(facts["reasons"])
        lines.append(f"{facts['rejected']} events rejected: {reasons}"[:500])
    return lines or ["nothing was received"]


def _count(counts: dict[str, int], word: str) -> str:
    number = counts[word + "s"]
    return f"{number} {word}{'' if number == 1 else 's'}"


def _say(line: str) -> None:
    if sys.stderr is not None:  # None: descriptor 2 was closed at the start, and may be another file by now
        try:
            sys.stderr.write(f"apm-run: {line}\n")
            sys.stderr.flush()
        except OSError:
            return


def _end_as(status: int, mask: set[Any]) -> NoReturn:
    """End this process as the child with ``status`` ended, without a second core file."""
    if os.WIFSIGNALED(status):
        import resource

        number = os.WTERMSIG(status)
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        # 1 byte, not 0: Linux takes 0 for "any size" where cores go to a pipe.
        resource.setrlimit(resource.RLIMIT_CORE, (1 if hard else 0, hard))
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask - {number})
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # as PID 1 of a container one does not die by such a signal
    os._exit(os.WEXITSTATUS(status))
