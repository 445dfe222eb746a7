"""The program's own transaction, and the ends that no ``atexit`` sees: ``os._exit``, ``os.exec*`` and
``signal.raise_signal`` (design 5, 5a).

These functions are replaced when the first event of a process waits, or the first span of the program's own transaction
has begun, and send for at most 0.3 s before they do what they do. An idle program keeps the originals. What another
program becomes by ``os.exec*`` continues the trace.
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

#: Holds what ``TRACEPARENT`` does where a traced program has put that in the environment of another.
TAKEN = "APM_RUN_TRACEPARENT"

#: Programs that are left alone: package managers, checkers, debuggers. Not those that run the user's own program or
#: tests (pytest, coverage, ipython). ``__pip-runner__.py`` and ``_in_process.py`` are what pip and build tools start.
# fmt: off
TOOLS = frozenset((
    "pip", "pip3", "pipx", "pipenv", "poetry", "pdm", "hatch", "flit", "uv", "uvx", "conda", "mamba", "twine",
    "virtualenv", "venv", "ensurepip", "easy_install", "get-pip.py", "pip.pyz", "virtualenv.pyz",
    "__pip-runner__.py", "_in_process.py", "setup.py", "compileall", "py_compile", "tox", "nox", "pre-commit",
    "pre_commit", "black", "ruff", "mypy", "dmypy", "stubgen", "pyright", "basedpyright", "pylint", "flake8",
    "isort", "autopep8", "yapf", "bandit", "pdb", "ipdb", "pudb", "pudb3", "debugpy", "pydevd", "pydevd.py",
))
# fmt: on
#: Why.
TOOL = "a package manager or developer's tool, which is left alone: APM_RUN_TOOLS=1 traces it too"


class StandIn:
    """What stands for a built-in function: by all that a program can ask of it, that function."""

    __slots__ = ("_first", "_original")

    def __init__(self, original: Callable[..., Any], first: Callable[..., tuple[Any, ...] | None]) -> None:
        """:param first: is called before, with the same arguments; what it raises is raised to the program. It may
        return others for the positional ones.
        """
        self._original = original
        self._first = first

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what comes first, then what the function does."""
        others = self._first(*args, **kwargs)
        try:
            return self._original(*(args if others is None else others), **kwargs)
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


def stand(
    names: tuple[str, ...],
    first: Callable[..., tuple[Any, ...] | None],
    modules: tuple[str, str] = ("posix", "os"),
) -> None:
    """Put stand-ins in the place of built-in functions that are none yet.

    :param modules: the one that defines them and the one that is known for it, which may not be loaded.
    """
    for name in names:
        original = getattr(sys.modules[modules[0]], name, None)
        if original is None or type(original) is StandIn:
            continue
        one = StandIn(original, first)
        for module in modules:
            if getattr(sys.modules.get(module), name, None) is original:
                setattr(sys.modules[module], name, one)


def watch(agent: Agent) -> None:
    """Have these functions send first what waits in this process."""

    def leave(*args: Any, **kwargs: Any) -> None:
        try:
            status = args[0] if args else kwargs.get("status")
            agent.hard_exit(status, DELAY)
        except BaseException:
            # Whatever happens, the program ends here.
            failed("os._exit")

    def die(*args: Any) -> None:
        try:
            number = args[0]
            blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
            if number in _DEADLY and _signal.getsignal(number) == _signal.SIG_DFL and number not in blocked:
                agent.hard_exit(number, DELAY)
        except Exception:
            failed("signal.raise_signal")

    stand(("_exit",), leave)
    stand(("raise_signal",), die, ("_signal", "signal"))
    watch_exec(agent)


def watch_exec(agent: Agent) -> None:
    """The same for those by which the process becomes another program, which continues the trace."""
    execve = os.execve

    def become(*args: Any, **kwargs: Any) -> None:
        try:
            path = args[0] if args else kwargs.get("path")
            # execvp tries one directory after the other; a descriptor is taken as it is.
            if isinstance(path, int) or os.access(path, os.X_OK):  # type: ignore[arg-type]
                if agent.settings.flush_on_os_exit:
                    agent.hard_exit(0, DELAY, stays=True)
                from apm_run import children

                children.become(agent, execve, args)
        except Exception:
            failed("os.exec")

    if type(execve) is not StandIn:
        stand(("execv", "execve"), become)


class Program:
    """The program's own transaction (design 5): sent only where it says something."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self._main = get_ident()
        self._exit_code: object = None
        self._exited = False
        self._has_file = False
        #: ``TRACEPARENT`` and ``TRACESTATE`` of who started this program.
        self.parent: tuple[str, str] | None = None
        #: The ``TRACEPARENT`` that it sees of itself, as it was given from outside.
        self.given: str | None = None
        #: It only forks others, which are asked for by other processes: it is not reported, they are.
        self.serves = False

    def inherit(self) -> bool:
        """Find who started it. What a traced program has put in the environment is taken out of it again.

        Without us it would not be there; and what this program starts is below this one, or nobody's.

        :returns: whether there was something to take.
        """
        environ = os.environ
        parent = environ.get("TRACEPARENT")
        if parent is None:
            return False
        self.parent = (parent, environ.get("TRACESTATE", ""))
        if environ.pop(TAKEN, None) != parent:
            self.given = parent
            return False
        del environ["TRACEPARENT"]
        environ.pop("TRACESTATE", None)
        return True

    def watch_exit(self) -> None:
        """Hear what ``sys.exit`` is called with: at exit the interpreter does not tell any more."""
        sys.exit = StandIn(sys.exit, self.exiting)

    def exiting(self, *args: object, **kwargs: object) -> None:
        """The program asks for its end, if it asks as it should; in another thread it is that one's end only."""
        if len(args) < 2 and not kwargs and get_ident() == self._main:
            self._exit_code, self._exited = args[0] if args else None, True
            self._has_file = _has_file()

    def begin(self, tracer: Tracer, start_ns: int, timestamp: int, hold: Callable[[], None]) -> None:
        """Begin it, as a child of what ``TRACEPARENT`` named where a traced program started this one."""
        context, baggage = None, None
        if self.parent:
            from apm_run import propagation

            context = propagation.parse(self.parent[:1], self.parent[1:])
            if context is not None:
                context.own = self.parent[0] != self.given
            baggage = propagation.baggage([os.environ.get("BAGGAGE", "")])
        tracer.begin_ambient(program_name(), start_ns, timestamp, context, baggage)
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

        context = TraceContext(before.trace_id, before.id, before.sampled, before.tracestate, own=True)
        tracer.begin_ambient(before.name, perf_counter_ns(), time_ns() // 1000, context, before.baggage)
        self._held(tracer, hold)

    def forked(self, tracer: Tracer, hold: Callable[[], None]) -> None:
        """A child continues the trace with a transaction of its own."""
        if tracer.ambient is not None and self.serves:
            self.begin(tracer, perf_counter_ns(), time_ns() // 1000, hold)
        elif tracer.ambient is not None:
            self.again(tracer, tracer.ambient, hold)
        self._exited, self._exit_code = False, None
        self.serves = False

    def end_hard(self, agent: Agent, status: object) -> Transaction | None:
        """End it at an end without ``atexit``, if it has something to say; the transaction if so."""
        transaction = agent.tracer.ambient
        if transaction is None or self.serves or (transaction.silent and agent.brief()):
            return None
        _conclude(transaction, status not in (None, 0))
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
        """End it, unless it is claimed or has nothing to say: no span, no error, no child, short, and no failure."""
        error = _uncaught()
        failing = error is not None or (
            self._exited and not self._went_on() and self._exit_code not in (None, 0, False)
        )
        if not failing and (self.serves or (agent._tracer is None and agent.brief())):
            return
        tracer = agent.tracer
        transaction = tracer.ambient
        received = tracer.received()
        if error is not None:
            tracer.capture(error, transaction or received, handled=False)
        if received is not None and failing:
            received.outcome = received.outcome or "failure"
        if transaction is None or self.serves:
            return
        if transaction.silent and not failing and agent.brief():
            return
        _conclude(transaction, failing)
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


def _conclude(transaction: Transaction, failing: bool) -> None:
    """Say how the program has ended, unless the user has said so."""
    transaction.result = transaction.result or ("failure" if failing else "success")
    transaction.outcome = transaction.outcome or ("failure" if failing or transaction.failed else "success")


def _name(transaction: Transaction) -> None:
    """Name a process that ``multiprocessing`` has started with ``-c`` by the program that it works for."""
    file = getattr(sys.modules.get("__mp_main__"), "__file__", None)
    if file and transaction.name == "python -c" and is_pool_worker():
        transaction.set_name(file.rpartition("/")[2])


def program_name(argv: list[str] | None = None) -> str:
    """The program as its user would call it: the script's or the module's name.

    :param argv: the words of an interpreter's command line; by default our own.
    """
    return _program(_command() if argv is None else argv).rsplit("/", 1)[-1] or "python"


def is_tool() -> bool:
    """Whether the program is one of the :data:`TOOLS`, or something that pre-commit runs."""
    program = _program(_command())
    name = program.rsplit("/", 1)[-1]
    found = (
        name in TOOLS
        # pip3.11, pip._internal; but black.py is a program like any other
        or (name.partition(".")[0] in TOOLS and not name.endswith(".py"))
        or "/debugpy/" in program + "/"
        or os.environ.get("PRE_COMMIT") == "1"
    )
    return found and os.environ.get("APM_RUN_TOOLS") != "1"


def _program(argv: list[str]) -> str:
    """The script, the module, or ``python -c``; empty where the program comes from standard input."""
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-"):
            return word.rstrip("/")
        if word == "-":
            return ""
        if word == "--check-hash-based-pycs":
            next(words, "")
        for position, letter in enumerate(word[1:], 2) if not word.startswith("--") else ():
            if letter == "c":
                return "python -c"
            if letter in "mWX":  # what follows is its value, in this word or the next
                value = word[position:] or next(words, "")
                if letter == "m":
                    return value
                break
    return ""


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
