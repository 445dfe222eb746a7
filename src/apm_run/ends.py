"""The program's own transaction, and the ends that no ``atexit`` sees: ``os._exit``, ``os.exec*`` and
``signal.raise_signal`` (design 5, 5a).

These functions are replaced when the first event of a process waits, or the first span of the program's own transaction
has begun, and send for at most 0.3 s before they do what they do. An idle program keeps the originals.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys
from _thread import get_ident
from time import perf_counter_ns, time_ns

from apm_run.guard import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from apm_run.agent import Agent
    from apm_run.tracer import Tracer, Transaction

#: Seconds that sending may delay such an end.
DELAY = 0.3

#: Signals that end a process which raises them and has no handler for them. uvicorn does when it has shut down.
_DEADLY = frozenset((_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGKILL, _signal.SIGTERM))


class StandIn:
    """What stands for a built-in function: by all that a program can ask of it, that function."""

    __slots__ = ("_first", "_original")

    def __init__(self, original: Callable[..., Any], first: Callable[..., None]) -> None:
        """:param first: is called before, with the same arguments; what it raises is raised to the program."""
        self._original = original
        self._first = first

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what comes first, then what the function does."""
        self._first(*args, **kwargs)
        try:
            return self._original(*args, **kwargs)
        except BaseException as end:
            end.__traceback__ = None  # from 3.11 on what is re-raised then shows no frame of ours
            raise

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._original)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._original.__doc__

    @property
    def __module__(self) -> str:  # type: ignore[override]
        return self._original.__module__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._original  # os.supports_fd holds the originals

    def __hash__(self) -> int:
        return hash(self._original)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce__(self) -> str:
        return self._original.__name__


class Undisturbed:
    """A process that ends by itself, at once, is not killed in the middle of its last request.

    A pool kills its workers while they end; who adopted the request in flight would send it a second time.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> None:
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP))

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)


def is_pool_worker() -> bool:
    """Whether ``multiprocessing`` has started this process, and may kill it."""
    process = sys.modules.get("multiprocessing.process")
    return getattr(process, "_parent_process", None) is not None


def watch(agent: Agent) -> None:
    """Have these functions send first what waits in this process; once."""

    def leave(*args: Any, **kwargs: Any) -> None:
        try:
            status = args[0] if args else kwargs.get("status")
            agent.hard_exit(status, DELAY)
        except BaseException:
            # Whatever happens, the program ends here.
            failed("os._exit")

    def become(*args: Any, **kwargs: Any) -> None:
        try:
            path = args[0] if args else kwargs.get("path")
            # execvp tries one directory after the other; a descriptor is taken as it is.
            if isinstance(path, int) or os.access(path, os.X_OK):  # type: ignore[arg-type]
                agent.hard_exit(0, DELAY, stays=True)
        except Exception:
            failed("os.exec")

    def die(*args: Any) -> None:
        try:
            number = args[0]
            blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
            if number in _DEADLY and _signal.getsignal(number) == _signal.SIG_DFL and number not in blocked:
                agent.hard_exit(number, DELAY)
        except Exception:
            failed("signal.raise_signal")

    for name, first in (("_exit", leave), ("execv", become), ("execve", become)):
        _stand_in(name, first, "posix", "os")
    _stand_in("raise_signal", die, "_signal", "signal")


def _stand_in(name: str, first: Callable[..., None], *modules: str) -> None:
    """Replace a built-in function in the module that defines it and, where that is loaded, in the one known for it."""
    original = getattr(sys.modules[modules[0]], name)
    if type(original) is not StandIn:
        stand = StandIn(original, first)
        for module in modules:
            if getattr(sys.modules.get(module), name, None) is original:
                setattr(sys.modules[module], name, stand)


class Program:
    """The program's own transaction (design 5): sent only where it says something."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self._main = get_ident()
        self._exit_code: object = None
        self._exited = False
        self._has_file = False

    def watch_exit(self) -> None:
        """Hear what ``sys.exit`` is called with: at exit the interpreter does not tell any more."""
        sys.exit = StandIn(sys.exit, self.exiting)

    def exiting(self, *args: object, **kwargs: object) -> None:
        """The program asks for its end, if it asks as it should; in another thread it is that one's end only."""
        if len(args) < 2 and not kwargs and get_ident() == self._main:
            self._exit_code, self._exited = args[0] if args else None, True
            self._has_file = _has_file()

    def begin(self, tracer: Tracer, start_ns: int, timestamp: int, hold: Callable[[], None]) -> None:
        """Begin it, as a child of what ``TRACEPARENT`` names where a traced program started this one."""
        from apm_run import propagation

        parent = os.environ.get("TRACEPARENT")
        context = propagation.parse([parent], [os.environ.get("TRACESTATE", "")]) if parent else None
        tracer.begin_ambient(program_name(), start_ns, timestamp, context)
        self._held(tracer, hold)

    def _held(self, tracer: Tracer, hold: Callable[[], None]) -> None:
        """Have ``hold`` called when the first span begins that only the end of the transaction makes durable."""
        transaction = tracer.ambient
        if transaction is not None:

            def first() -> None:
                transaction.first = None
                hold()

            transaction.first = first

    def again(self, tracer: Tracer, before: Transaction, hold: Callable[[], None]) -> None:
        """It was ended, and goes on: with a transaction below that one."""
        from apm_run.propagation import TraceContext

        context = TraceContext(before.trace_id, before.id, before.sampled, before.tracestate)
        tracer.begin_ambient(before.name, perf_counter_ns(), time_ns() // 1000, context)
        self._held(tracer, hold)

    def forked(self, tracer: Tracer, hold: Callable[[], None]) -> None:
        """A child continues the trace with a transaction of its own."""
        if tracer.ambient is not None:
            self.again(tracer, tracer.ambient, hold)
        self._exited, self._exit_code = False, None

    def end_hard(self, agent: Agent, status: object) -> Transaction | None:
        """End it at an end without ``atexit``, if it has something to say; the transaction if so."""
        transaction = agent.tracer.ambient
        if transaction is None or (transaction.silent and agent.brief()):
            return None
        transaction.outcome = transaction.result = "failure" if status not in (None, 0) else "success"
        _name(transaction)
        agent.tracer.end_transaction(transaction)
        return transaction

    def _went_on(self) -> bool:
        """Whether the program has caught the end that it asked for, and returned.

        The interpreter takes ``__file__`` from a script that has returned, and not where ``sys.exit`` has ended it.
        Under ``-c`` and ``-m`` nothing tells.
        """
        return self._has_file and not _has_file()

    def end(self, agent: Agent) -> None:
        """End it, unless it is claimed or has nothing to say: no span, no error, short, and no failure."""
        error = _uncaught()
        failing = error is not None or (
            self._exited and not self._went_on() and self._exit_code not in (None, 0, False)
        )
        if agent._tracer is None and not failing and agent.brief():
            return
        tracer = agent.tracer
        transaction = tracer.ambient
        if error is not None:
            tracer.capture(error, transaction, transaction.id if transaction else None, handled=False)
        if transaction is None:
            return
        if transaction.silent and not failing and agent.brief():
            return
        transaction.outcome = "failure" if failing else "success"
        transaction.result = transaction.outcome
        _name(transaction)
        tracer.end_transaction(transaction)


def _has_file() -> bool:
    return hasattr(sys.modules.get("__main__"), "__file__")


def _uncaught() -> BaseException | None:
    """The exception that ended the program, as the interpreter left it after printing it."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) and not hasattr(sys, "ps1") else None


def stay_interrupted() -> None:
    """Where Ctrl-C has ended the program, the interpreter ends by SIGINT all the same.

    It notes so as it leaves the program's code, and forgets it when another text is compiled and run: imports of ours
    do that, for their named tuples.
    """
    error = _uncaught()
    trace = error.__traceback__ if isinstance(error, KeyboardInterrupt) else None
    if trace is not None and trace.tb_frame.f_back is None:  # not one that an interactive console has shown
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            pass


def _name(transaction: Transaction) -> None:
    """Name a process that ``multiprocessing`` has started with ``-c`` by the program that it works for."""
    file = getattr(sys.modules.get("__mp_main__"), "__file__", None)
    if file and transaction.name == "python -c" and is_pool_worker():
        transaction.set_name(file.rpartition("/")[2])


def program_name(argv: list[str] | None = None) -> str:
    """The program as its user would call it: the script's or the module's name.

    :param argv: the words of an interpreter's command line; by default our own.
    """
    if argv is None:
        argv = _command()
    for position, argument in enumerate(argv[1:], 1):
        if argv[position - 1] in ("-W", "-X", "--check-hash-based-pycs"):  # it is their value
            continue
        if argument == "-m" and position + 1 < len(argv):
            return argv[position + 1]
        if argument == "-c":
            return "python -c"
        if not argument.startswith("-"):
            return argument.rsplit("/", 1)[-1]
    return "python"


def _command() -> list[str]:
    """The interpreter's own command line, which ``sys`` holds from Python 3.10 on."""
    found: list[str] | None = getattr(sys, "orig_argv", None)
    if found is not None:
        return found
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return ["python", *sys.argv]
