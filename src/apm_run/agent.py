"""The composition root: builds the rest from Settings when it is first needed; start, fork, exit.

Nobody but the bootstrap and the public API knows it. What is imported here at the top is all that an idle program
pays for.
"""

from __future__ import annotations

import atexit
import os
import sys
from time import perf_counter_ns, time_ns

from apm_run.ends import (
    DELAY,
    TOOL,
    Program,
    Undisturbed,
    is_pool_worker,
    is_tool,
    program_name,
    stay_interrupted,
    watch,
    watch_exec,
)
from apm_run.guard import failed, say
from apm_run.instrument import hook, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from apm_run.config import Problem, Settings
    from apm_run.export import Exporter
    from apm_run.instrument.correlation import Logged
    from apm_run.instrument.vocabulary import Instrumentation
    from apm_run.pipeline import Filter
    from apm_run.report import Reporter
    from apm_run.tracer import Tracer, Transaction

#: The running agent of this process, or None.
running: Agent | None = None

#: The package of the official agent: a program that imports it is traced by that one, and not by us.
OFFICIAL = "elasticapm"

#: Modules through which programs start others.
STARTERS = ("subprocess", "multiprocessing.forkserver", "multiprocessing.spawn")


class Agent:
    """The agent of one process and, after a fork, of its child."""

    def __init__(self, start_ns: int, timestamp: int) -> None:
        """:param start_ns: when the program began, of ``perf_counter_ns``; ``timestamp`` the same in microseconds."""
        self._start_ns = start_ns
        self._timestamp = timestamp
        self._pid = os.getpid()
        self._loaded: Settings
        self._settings: Settings | None = None
        self._built: Tracer
        self._tracer: Tracer | None = None
        #: The delivery side, once there is a tracer.
        self.exporter: Exporter | None = None
        #: Its own transaction.
        self.program = Program()
        #: Whether the program begins transactions itself: its own is of no interest then for its duration alone.
        self.speaks = False
        #: The program's own filters, by the kind of event (``apm_run.add_filter``).
        self.filters: dict[str, list[Filter]] = {}
        # Imported before there was a tracer, and of use only with one.
        self._late: list[ModuleType] = []
        # Ids of the modules that are listened in already.
        self._heard: set[int] = set()
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
        # Its name, once a record of the log has asked for it.
        self._service = ""
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
            from apm_run.pipeline import Pipeline
            from apm_run.tracer import Tracer

            exporter = Exporter(self.settings, self._metadata)
            pipeline = Pipeline(self.settings, exporter, self.filters)
            sink = pipeline if self.reporter is None else self.reporter.sink(pipeline, exporter)
            tracer = Tracer(self.settings, sink)
            if self.__dict__.setdefault("_built", tracer) is tracer:
                self.exporter = exporter
                exporter.holds = self._hold
                tracer.claimed = self._prepare
                exporter.looks = tracer.look
                self._keep_time()
                self.program.begin(tracer, self._start_ns, self._timestamp, self._hold)
                os.register_at_fork(after_in_child=self._forked)
            self._tracer = self._built
            if self.aside:
                self._tracer.active = False
            while self._late:
                self.imported(self._late.pop(0))
        return self._tracer

    @property
    def serving(self) -> Tracer | None:
        """The tracer for what the program asks of us itself (``apm_run.api``); None where nothing is traced."""
        if self._tracer is None and not self.aside and _in_sub_interpreter():
            self.aside = "a sub-interpreter"
        return None if self.aside else self.tracer

    @property
    def program_name(self) -> str:
        """The program as its user would call it."""
        return program_name()

    def switched_off(self, path: str) -> bool:
        """Whether a target has failed too often."""
        return self._tracer is not None and path in self._tracer.switched_off

    def _prepare(self) -> None:
        """Requests will come. What the agent thread imports costs it a turn for each file, and a busy program more."""
        try:
            from apm_run.collect import metadata  # noqa: F401
        except Exception:  # no file can be opened just now, say: the agent thread will try again
            failed("prepare")
        if self.exporter is not None:
            self.exporter.prepare()

    def _metadata(self) -> bytes:
        from apm_run.collect import metadata

        return metadata.line(metadata.build(self.settings, "wrapper", None))

    # Life

    def arm(self) -> None:
        """Wait for the imports of the program."""
        if is_tool():
            self.aside = TOOL
            return
        if _configured() and not (self.settings.enabled and self.settings.instrument):
            name = "instrument" if self.settings.enabled else "enabled"
            self.aside = f"{name} is false ({self.settings.origin(name)})"
            return
        self.triggers = {**registry.triggers(), OFFICIAL: []}
        if os.environ.get("APM_RUN_CHILDREN") == "0":
            from apm_run import children

            children.give_back()
        else:
            self.triggers.update({name: [] for name in STARTERS})
        if self.program.inherit():
            watch_exec(self)
        self.early = frozenset(name for name in self.triggers if name in sys.modules)
        hook.arm(self.triggers, self.imported, registry.MADE)
        self.program.watch_exit()
        atexit.register(self.exit)

    def imported(self, module: ModuleType) -> None:
        """A trigger module has been imported by the program. Never raises (BaseException: launching.md 3)."""
        try:
            if module.__name__ in registry.TELLING and not self.aside and id(module) not in self._heard:
                from apm_run.instrument import reports

                self._heard.add(id(module))
                reports.listen(module, self.report, self.results, self.logged)
            if not self.triggers[module.__name__] and module.__name__ not in (OFFICIAL, *STARTERS):
                return
            if self._tracer is None and module.__name__ in registry.LATE:
                self._late.append(module)
                return
            if self._tracer is None and _in_sub_interpreter():
                self.aside = "a sub-interpreter"
            if module.__name__ in STARTERS:
                if not self.aside:
                    from apm_run import children

                    children.watch(self, module)
                return
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

    def report(self, library: str, error: BaseException | None, *, record: Any = None, scene: Any = None) -> None:
        """The program tells of an error. Never raises.

        :param record: of its log; without one nobody has handled the error.
        :param scene: the frame that has logged, or the context that the error comes from.
        """
        try:
            if self.aside or not self._listens(library) or (self._tracer is None and _in_sub_interpreter()):
                return
            self.tracer.told(error, record, scene)
        except Exception:
            failed(f"report {library}")

    def logged(self, wanted: bool) -> Logged | None:
        """What runs where a record is logged now, and the service; None: nothing is to be said of it.

        :param wanted: somebody reads it: also where nothing runs, or the program as a whole does.
        """
        running = None if self._tracer is None else self._tracer.running(wanted and not self.speaks)
        if (running is None and not wanted) or self.aside or not self._listens("logging"):
            return None
        if not self._service:
            from apm_run.collect import metadata

            self._service = metadata.service_name(self.settings)
        return running, self._service, self.settings.environment

    def _listens(self, library: str) -> bool:
        settings = self.settings
        if not (settings.enabled and settings.instrument):
            return False
        return not any(matcher.match(library) for matcher in settings.disable_instrumentations)

    def _instrument(self, file: str, module: ModuleType) -> None:
        from apm_run.instrument.patch import instrument

        try:
            instrumentation = self.loaded[file] = self.loaded.get(file) or registry.load(file)
            if any(matcher.match(instrumentation.library) for matcher in self.settings.disable_instrumentations):
                self.results[file] = "disabled: by disable_instrumentations"
            else:
                learned = instrument(instrumentation, module, self.tracer, self.results)
                if learned:
                    self.loaded[file] = instrumentation.extended(learned)
                    for target in learned:
                        self.triggers.setdefault(target.path.partition(":")[0], [file])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a third party's file may raise what it likes
            self.results[file] = f"failed: {type(error).__name__}: {error}"
            failed(f"load {file}")

    def _stand_aside(self) -> None:
        """The program brings the official agent along: from now on nothing here is ours (design 5)."""
        self.aside = f"the program imports {OFFICIAL}, the official agent"
        if self._tracer is not None:
            self._tracer.active = False
            self._tracer.abandon()
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
            if not self.aside and not (self._tracer is None and _in_sub_interpreter()):
                self.program.end(self)
            if self._tracer is not None:
                self._tracer.abandon()
                self._tracer.collect()
            if self.exporter is not None and is_pool_worker():
                with Undisturbed():
                    self.exporter.close(DELAY, last=False)
            elif self.exporter is not None:
                self.exporter.close()
            self.tell("ended")
        except KeyboardInterrupt:
            raise
        except BaseException:
            failed("exit")
        finally:
            stay_interrupted()

    def _hold(self) -> None:
        """From now on there is something that an end without ``atexit`` would lose."""
        try:
            if self.settings.flush_on_os_exit and not self.aside:
                watch(self)
        except Exception:
            failed("hold")

    def hard_exit(self, status: object, limit: float, stays: bool = False) -> None:
        """The process ends without ``atexit``: the same within a limit of seconds, if anything would be lost.

        :param stays: it may yet go on, where it can not become another program.
        """
        exporter = self.exporter
        if exporter is None or self.aside:
            return
        before = self.program.end_hard(self, status)
        if not stays:
            self.tracer.abandon()
        self.tracer.collect()
        with Undisturbed():
            exporter.close(limit, last=not stays and not is_pool_worker())
        if stays and before is not None:
            self.program.again(self.tracer, before, self._hold)
        self.tell("running" if stays else "ended")

    def link(self) -> Transaction | None:
        """The program's own transaction, which something is to be started below: then it is reported."""
        ambient = self.tracer.ambient
        if ambient is not None:
            ambient.linked = True
            self._hold()
        return ambient

    def adopt(self, parent: tuple[str, str] | None) -> None:
        """The process works for another one than that which started it.

        :param parent: ``TRACEPARENT`` and ``TRACESTATE`` of that one, None if there is nothing to continue.
        """
        program = self.program
        if parent != program.parent:
            program.parent = parent
            if self._tracer is not None and self._tracer.ambient is not None:
                program.begin(self._tracer, self._start_ns, self._timestamp, self._hold)

    def _keep_time(self) -> None:
        """A forked child begins when it begins."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._start_ns, self._timestamp = perf_counter_ns(), time_ns() // 1000

    def _forked(self) -> None:
        """In a forked child: other ids, a transaction of its own, nothing of the parent's."""
        try:
            if self._tracer is not None:
                self._tracer.forked()
                self._keep_time()
                self.program.forked(self._tracer, self._hold)
        except Exception:
            failed("fork")

    def brief(self) -> bool:
        """Whether the program has been too short to be worth a transaction for its duration alone."""
        self._keep_time()
        return (
            self.speaks or (perf_counter_ns() - self._start_ns) / 1e6 < self.settings.program_transaction_min_duration
        )


def _in_sub_interpreter() -> bool:
    """Whether this is not the main interpreter: the end of another one aborts a process whose thread is in it."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        return bool(module.get_current() != module.get_main())
    return False


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
