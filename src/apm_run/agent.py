"""The composition root: builds the rest from Settings when it is first needed; start, fork, exit.

Nobody but the bootstrap and the public API knows it. What is imported here at the top is all that an idle program
pays for.
"""

from __future__ import annotations

import atexit
import os
import sys
from time import perf_counter_ns, time_ns

from apm_run.guard import failed, guard, say
from apm_run.instrument import hook, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, NoReturn

    from apm_run.config import Problem, Settings
    from apm_run.export import Exporter
    from apm_run.instrument.vocabulary import Instrumentation
    from apm_run.report import Reporter
    from apm_run.tracer import Span, Tracer, Transaction

#: The running agent of this process, or None.
running: Agent | None = None

#: The package of the official agent: a program that imports it is traced by that one, and not by us.
OFFICIAL = "elasticapm"


class Agent:
    """The agent of one process and, after a fork, of its child."""

    def __init__(self, start_ns: int, timestamp: int) -> None:
        """:param start_ns: when the program began, of ``perf_counter_ns``; ``timestamp`` the same in microseconds."""
        self._start_ns = start_ns
        self._timestamp = timestamp
        self._loaded: Settings
        self._settings: Settings | None = None
        self._built: Tracer
        self._tracer: Tracer | None = None
        #: The delivery side, once there is a tracer.
        self.exporter: Exporter | None = None
        self._program = Program()
        # For the report that doctor prints.
        #: Trigger module -> files of instrumentations; those of these modules that were imported before the agent.
        self.triggers: dict[str, list[str]] = {}
        self.early: frozenset[str] = frozenset()
        #: File -> what it says, once it is loaded.
        self.loaded: dict[str, Instrumentation] = {}
        #: Target path or file -> wrapped, disabled, skipped and why, failed and why.
        self.results: dict[str, str] = {}
        self.problems: list[Problem] = []
        #: Why nothing is traced here, if so.
        self.aside = ""
        #: What the start has cost.
        self.startup_ns = 0
        self.reporter: Reporter | None = None

    # Built when first needed. Two threads may build the same at once: the first one's counts (a lock could be held by
    # a thread that a forked child does not have).

    @property
    def settings(self) -> Settings:
        """The options of this process; a bad value is told once per launched tree."""
        if self._settings is None:
            from apm_run import config, log
            from apm_run.version import __version__

            settings, problems = config.load()
            if self.__dict__.setdefault("_loaded", settings) is settings:
                self.problems = problems
                log.configure(settings)
                log.preamble(settings, __version__)
                for problem in problems:
                    log.write("warning", "option.bad", str(problem))
                if problems:
                    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                    say(f"{problems[0]}{more}")
            self._settings = self._loaded
        return self._settings

    @property
    def tracer(self) -> Tracer:
        """The tracer, with the program's own transaction begun and the exporter behind it."""
        if self._tracer is None:
            from apm_run.export import Exporter
            from apm_run.tracer import Tracer

            exporter = Exporter(self.settings, self._metadata)
            pipeline = Pipeline(self.settings, exporter)
            sink = pipeline if self.reporter is None else self.reporter.sink(pipeline, exporter)
            tracer = Tracer(self.settings, sink)
            if self.__dict__.setdefault("_built", tracer) is tracer:
                self.exporter = exporter
                self._program.begin(tracer, self._start_ns, self._timestamp)
                os.register_at_fork(after_in_child=self._forked)
            self._tracer = self._built
            if self.aside:
                self._tracer.active = False
        return self._tracer

    @property
    def program_name(self) -> str:
        """The program as its user would call it."""
        return _program_name()

    def switched_off(self, path: str) -> bool:
        """Whether a target has failed too often."""
        return self._tracer is not None and path in self._tracer.switched_off

    def _metadata(self) -> bytes:
        from apm_run.collect import metadata

        return metadata.line(metadata.build(self.settings, "wrapper", None))

    # Life

    def arm(self) -> None:
        """Wait for the imports of the program."""
        if _configured() and not (self.settings.enabled and self.settings.instrument):
            name = "instrument" if self.settings.enabled else "enabled"
            self.aside = f"{name} is false ({self.settings.origin(name)})"
            return
        self.triggers = {**registry.triggers(), OFFICIAL: []}
        self.early = frozenset(name for name in self.triggers if name in sys.modules)
        hook.arm(self.triggers, self.imported)
        self._program.watch_exit()
        atexit.register(self.exit)

    def imported(self, module: ModuleType) -> None:
        """A trigger module has been imported by the program. Never raises (BaseException: launching.md 3)."""
        try:
            if self.aside or not (self.settings.enabled and self.settings.instrument):
                return
            if module.__name__ == OFFICIAL:
                self._stand_aside()
            for file in self.triggers[module.__name__]:
                self._instrument(file, module)
            self.tell()
        except KeyboardInterrupt:
            raise
        except BaseException:
            failed(f"imported {module.__name__}")

    def _instrument(self, file: str, module: ModuleType) -> None:
        from apm_run.instrument.patch import instrument

        try:
            instrumentation = self.loaded[file] = registry.load(file)
            if any(matcher.match(instrumentation.library) for matcher in self.settings.disable_instrumentations):
                self.results[file] = "disabled: by disable_instrumentations"
            else:
                instrument(instrumentation, module, self.tracer, self.results)
        except Exception as error:
            self.results[file] = f"failed: {type(error).__name__}: {error}"
            failed(f"load {file}")

    def _stand_aside(self) -> None:
        """The program brings the official agent along: from now on nothing here is ours (design 5)."""
        self.aside = f"the program imports {OFFICIAL}, the official agent"
        if self._tracer is not None:
            self._tracer.active = False
        say(f"{self.aside}: apm-run stands aside in this process")

    def tell(self, state: str = "running") -> None:
        """Write the report, if there is to be one; what is imported already at the start goes into the first."""
        if self.reporter is not None and self.startup_ns:
            self.reporter.write(state)

    def exit(self) -> None:
        """The interpreter exits: end the program's transaction, send what is left (design 5a)."""
        try:
            if _configured() and not self.settings.enabled:
                return
            if not self.aside:
                self._program.end(self)
            if self.exporter is not None:
                self.exporter.close()
            self.tell("ended")
        except KeyboardInterrupt:
            raise
        except BaseException:
            failed("exit")

    def _forked(self) -> None:
        """In a forked child: other ids, a transaction of its own, nothing of the parent's."""
        try:
            if self._tracer is not None:
                self._tracer.forked()
                self._program.forked(self._tracer)
        except Exception:
            failed("fork")

    def brief(self) -> bool:
        """Whether the program has been too short to be worth a transaction for its duration alone."""
        return (perf_counter_ns() - self._start_ns) / 1e6 < self.settings.program_transaction_min_duration


class Pipeline:
    """Process, encode, enqueue (design 3, steps 12-14): the tracer's sink."""

    def __init__(self, settings: Settings, exporter: Exporter) -> None:
        """:param exporter: takes the encoded lines."""
        from apm_run.intake import encode

        self._settings = settings
        self._exporter = exporter
        self._encode = encode

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        """Encode a transaction with its spans and errors in one piece."""
        try:
            lines: list[bytes] = []
            # Each by itself: what can not be encoded costs nothing else.
            with guard("encode transaction"):
                lines.append(self._encode.transaction_line(transaction, spans))
            for span in spans if transaction.sampled else ():
                with guard("encode span"):
                    lines.append(self._encode.span_line(span, self._stack(span)))
            for error in transaction.errors:
                with guard("encode error"):
                    lines.append(self._encode.error_line(error))
            self._exporter.put(b"".join(lines), len(lines))
        except Exception:
            failed("put transaction")

    def span(self, span: Span) -> None:
        """Encode a span that ended after its transaction."""
        try:
            self._exporter.put(self._encode.span_line(span, self._stack(span)), 1)
        except Exception:
            failed("encode span")

    def error(self, error: dict[str, Any]) -> None:
        """Encode an error that waits for no transaction."""
        try:
            self._exporter.put(self._encode.error_line(error), 1)
        except Exception:
            failed("encode error")

    def _stack(self, span: Span) -> list[dict[str, Any]] | None:
        if not span.frames:
            return None
        from apm_run.tracer import stack

        settings = self._settings
        app, library = settings.source_lines_span_app_frames, settings.source_lines_span_library_frames
        return stack.render(span.frames, app, library)


class Program:
    """The program's own transaction (design 5): sent only where it says something."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self._exit_code: object = None
        self._exited = False
        self._transaction: Transaction | None = None
        self._last: object = None

    def watch_exit(self) -> None:
        """Hear what ``sys.exit`` is called with: at exit the interpreter does not tell any more."""
        sys.exit = _Exit(sys.exit, self)  # type: ignore[assignment]

    def exiting(self, status: object = None) -> None:
        """The program asks for its end."""
        self._exit_code, self._exited = status, True

    def begin(self, tracer: Tracer, start_ns: int, timestamp: int) -> None:
        """Begin it, as a child of what ``TRACEPARENT`` names where a traced program started this one."""
        from apm_run import propagation

        parent = os.environ.get("TRACEPARENT")
        context = propagation.parse([parent], [os.environ.get("TRACESTATE", "")]) if parent else None
        tracer.begin_ambient(_program_name(), start_ns, timestamp, context)
        self._transaction = tracer.ambient

    def forked(self, tracer: Tracer) -> None:
        """A child continues the trace with a transaction of its own."""
        before = tracer.ambient
        if before is not None:
            from apm_run.propagation import TraceContext

            context = TraceContext(before.trace_id, before.id, before.sampled, before.tracestate)
            tracer.begin_ambient(before.name, perf_counter_ns(), time_ns() // 1000, context)
        self._transaction = tracer.ambient
        self._exited, self._exit_code = False, None

    def end(self, agent: Agent) -> None:
        """End it, unless it is claimed or has nothing to say: no span, no error, short, and no failure."""
        error = _uncaught()
        failing = error is not None or (self._exited and self._exit_code not in (None, 0, False))
        if agent._tracer is None and not failing and agent.brief():
            return
        tracer = agent.tracer
        transaction = tracer.ambient
        if transaction is None:
            return
        if error is not None:
            transaction.capture(error, handled=False)
        if not (transaction.spans or transaction.errors or failing) and agent.brief():
            return
        transaction.outcome = "failure" if failing else "success"
        transaction.result = transaction.outcome
        tracer.end_transaction(transaction)


class _Exit:
    """What stands for ``sys.exit``: by all that a program can ask of it, the built-in function."""

    __slots__ = ("_original", "_program")

    def __init__(self, original: Callable[..., NoReturn], program: Program) -> None:
        self._original = original
        self._program = program

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) < 2 and not kwargs:
            self._program.exiting(*args)
        try:
            self._original(*args, **kwargs)
        except (SystemExit, TypeError) as end:
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

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce__(self) -> str:
        return "exit"


def _uncaught() -> BaseException | None:
    """The exception that ended the program, as the interpreter left it after printing it."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) and not hasattr(sys, "ps1") else None


def _program_name() -> str:
    """The program as its user would call it: the script's or the module's name."""
    argv = _command()
    for position, argument in enumerate(argv[1:], 1):
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


def _configured() -> bool:
    """Whether there is any option to read: otherwise the settings wait until something is instrumented."""
    return "APM_RUN_CONFIG" in os.environ or any(name.startswith("ELASTIC_APM_") for name in os.environ)


def start(began_ns: int = 0) -> None:
    """Start the agent in this process, once. Never raises anything but KeyboardInterrupt.

    :param began_ns: when its loading began, of ``perf_counter_ns``.
    """
    global running
    try:
        if running is None:
            running = Agent(perf_counter_ns(), time_ns() // 1000)
            path = os.environ.get("APM_RUN_REPORT")
            if path:
                from apm_run.report import Reporter

                running.reporter = Reporter(running, path)
            armed_ns = perf_counter_ns()
            running.arm()
            loaded_ns = running._start_ns - (began_ns or running._start_ns)
            running.startup_ns = loaded_ns + perf_counter_ns() - armed_ns
            running.tell()
    except KeyboardInterrupt:
        raise
    except BaseException:
        failed("start")
