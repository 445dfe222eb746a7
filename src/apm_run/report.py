"""What a process knows of its own tracing, as ``apm-run doctor`` shows it. Built only where it is asked for.

``APM_RUN_REPORT`` names a file (``%p`` in it stands for the process id) or a directory (a file ``PID.json`` per
process). The process keeps that file current: it is written at the start, after each import that was instrumented, by
the agent thread after each request to the server, in a forked child, and at exit. So it can be read at any time,
also after a process was killed, and needs neither a signal handler nor a thread. Not asked for, nothing of this is
loaded.

It holds neither secrets nor anything captured: no arguments, no texts of the program's exceptions, no values of
events. Where the file of an instrumentation can not be loaded, it says with what words.
"""

from __future__ import annotations

import os
import posix
import sys
from _json import encode_basestring, make_encoder
from time import perf_counter_ns, time

from apm_run.export import descriptors
from apm_run.export.native import allocate_lock
from apm_run.guard import failed, failures
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from apm_run.agent import Agent
    from apm_run.export import Exporter
    from apm_run.tracer import Span, Transaction
    from apm_run.tracer.reporting import Sink

VARIABLE = "APM_RUN_REPORT"
#: Raised when a field changes its meaning or goes.
SCHEMA = 1

#: What other agents are known by: a module of theirs that runs only where they trace -> their name.
OTHERS = {
    "elasticapm": "elastic-apm",
    "ddtrace": "ddtrace",
    "newrelic.agent": "newrelic",
    "opentelemetry.instrumentation.auto_instrumentation": "opentelemetry",
}

#: States of a library, the one that matters most first.
STATES = ("failed", "switched off", "imported too early", "missed", "wrapped", "skipped", "disabled", "waiting")
_EARLY = "wrapped afterwards: what was copied out of the module before is not seen"
_HALF = "it was being imported when the agent started"
_UNSEEN = "it was imported in a way that the import hook does not see"

#: Nanoseconds between two reports of a process that sends nothing and so has no agent thread.
_PACE = 1_000_000_000
#: Seconds to wait for another thread that is writing; after a fork made in C, nobody may be.
_PATIENCE = 0.2

_json: Callable[[Any, int], tuple[str, ...]] = make_encoder(
    None, str, encode_basestring, None, ": ", ", ", False, True, False
)


class Reporter:
    """Keeps the report of one process current."""

    def __init__(self, agent: Agent, path: str) -> None:
        """:param path: what ``APM_RUN_REPORT`` says."""
        self._agent = agent
        self._path = path
        self.transactions = 0
        self._spent = self._first = 0
        self._written = 0
        self._lock = allocate_lock()
        self._over = False

    def sink(self, sink: Sink, exporter: Exporter) -> Sink:
        """The sink with a count and a clock before it."""
        exporter.told = self.write
        return _Timed(self, sink)

    def ended(self, began_ns: int) -> None:
        """A transaction was encoded and enqueued.

        :param began_ns: when that began, of ``perf_counter_ns``.
        """
        now = perf_counter_ns()
        self.transactions += 1
        if self.transactions == 1:
            self._first = now - began_ns
        else:
            self._spent += now - began_ns
        if self._agent.settings.disable_send and now - self._written > _PACE:
            self.write()

    def spent(self) -> tuple[float | None, float | None]:
        """Microseconds that a transaction took of its thread to encode and enqueue, on average; and the first one."""
        first = round(self._first / 1000, 1) if self.transactions else None
        others = self.transactions - 1
        return round(self._spent / others / 1000, 1) if others > 0 else None, first

    def write(self, state: str = "running") -> None:
        """Write the report; never raises.

        :param state: ``running``, ``forked`` (nothing has happened since the fork) or ``ended``.
        """
        if not self._written:
            os.register_at_fork(after_in_child=self._forked)
        lock = self._lock
        locked = lock.acquire(True, _PATIENCE)
        try:
            # After the end, the agent thread may still have something to tell; nobody is there to wait for it.
            if not self._over or state == "ended":
                self._over = state == "ended"
                self._written = perf_counter_ns()
                text = "".join(_json({**build(self._agent, self), "state": state}, 0))
                _replace(place_of(self._path), text.encode("utf-8", "replace") + b"\n")
        except OSError:  # a report that can not be written is no failure of the agent
            return
        except Exception:
            failed("report")
        finally:
            if locked:
                lock.release()

    def _forked(self) -> None:
        self._lock = allocate_lock()
        self._over = False
        self.transactions = self._spent = self._first = 0
        self.write("forked")


class _Timed:
    """A sink that measures another."""

    def __init__(self, reporter: Reporter, sink: Sink) -> None:
        self._reporter = reporter
        self._sink = sink
        self.begun = sink.begun
        self.span = sink.span
        self.error = sink.error
        self.open = sink.open
        self.hold = sink.hold
        self.gone = sink.gone
        self.metricset = sink.metricset

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        """A transaction has ended."""
        began = perf_counter_ns()
        self._sink.transaction(transaction, spans)
        self._reporter.ended(began)


def place_of(path: str) -> str:
    """The file of this process's report."""
    path = path.replace("%p", str(os.getpid()))
    return os.path.join(path, f"{os.getpid()}.json") if os.path.isdir(path) else path


def _replace(place: str, data: bytes) -> None:
    """Put a file, 0600, in the place of another at once."""
    fresh = f"{place}.new"
    try:
        os.unlink(fresh)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = descriptors.lift(posix.open(fresh, flags, 0o600))
    try:
        view = memoryview(data)
        while view:
            view = view[posix.write(handle, view) :]
        os.replace(fresh, place)
    except OSError:
        os.unlink(fresh)
        raise
    finally:
        os.close(handle)


def build(agent: Agent, reporter: Reporter) -> dict[str, Any]:
    """The report as JSON can say it; docs/reference/doctor.md names the fields."""
    settings = agent.settings
    options = [
        {"name": name, "value": settings.shown(name), "origin": settings.origin(name)}
        for name in settings.__slots__
        if not name.startswith("_") and settings.origin(name) != "default"
    ]
    return {
        "schema": SCHEMA,
        "written": time(),
        "version": __version__,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "python": _python(),
        "started": _started(agent),
        "aside": agent.aside or None,
        "recording": not agent.aside and settings.recording,
        "agents": [name for module, name in OTHERS.items() if module in sys.modules],
        "instrumentations": list(_libraries(agent)),
        "options": options,
        "problems": [str(problem) for problem in agent.problems],
        "transactions": reporter.transactions,
        "export": _export(agent),
        # Not the text of the exception: it may quote what a call was given.
        "failures": [
            {"where": where, "count": entry[0], "last": str(entry[1]).partition(":")[0]}
            for where, entry in list(failures.items())
        ],
        "cost": _cost(agent, reporter),
    }


def _python() -> dict[str, Any]:
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "executable": sys.executable,
    }


def _started(agent: Agent) -> dict[str, Any]:
    """How: by the launcher (its pid) or by the environment alone; which program, without its arguments."""
    launcher = os.environ.get("APM_RUN_LAUNCHED", "")
    return {
        "program": agent.program_name,
        "launcher": int(launcher) if launcher.isdecimal() else None,
        "package": os.path.dirname(os.path.abspath(__file__)),
    }


def _libraries(agent: Agent) -> Iterator[dict[str, Any]]:
    files: dict[str, list[str]] = {}
    for module, names in list(agent.triggers.items()):
        for file in names:
            files.setdefault(file, []).append(module)
    for file, modules in sorted(files.items()):
        instrumentation = agent.loaded.get(file)
        whole = agent.results.get(file, "").partition(": ")
        found: dict[str, Any] = {"library": file, "state": whole[0], "detail": whole[2], "targets": []}
        if instrumentation is not None:
            found["library"] = instrumentation.library
        if instrumentation is not None and not whole[0]:
            found["targets"] = targets = [_target(agent, target.path) for target in instrumentation.targets]
            found["state"] = min((target["state"] for target in targets), key=STATES.index, default="waiting")
        elif not whole[0]:
            found["state"], found["detail"] = _unloaded(agent, modules)
        yield found


def _target(agent: Agent, path: str) -> dict[str, Any]:
    state, _, detail = agent.results.get(path, "").partition(": ")
    module = path.partition(":")[0]
    if not state:
        state, detail = _unloaded(agent, [module])
    elif state == "wrapped" and module in agent.early:
        state, detail = "imported too early", _EARLY
    if agent.switched_off(path):
        state, detail = "switched off", "its functions have failed too often; failures name them"
    return {"path": path, "state": state, "detail": detail}


def _unloaded(agent: Agent, modules: list[str]) -> tuple[str, str]:
    """State and detail of what no module's import has led to yet."""
    waiting = f"imports of {', '.join(modules)}"
    for module in modules:
        loaded = sys.modules.get(module)
        spec = getattr(loaded, "__spec__", None)
        if loaded is None or agent.aside:
            continue
        if module in agent.early:
            return "imported too early", _HALF
        if getattr(spec, "_initializing", False) is not True:
            return "missed", _UNSEEN
    return "waiting", waiting


def _export(agent: Agent) -> dict[str, Any]:
    exporter = agent.exporter
    found: dict[str, Any] = {"server": None, "outbox": None, "reason": None}
    if exporter is None:
        found.update(accepted=0, rejected=0, reasons=[], waiting=0, dropped={}, resent=0, requests=0, last_error="")
        return found
    stats = exporter.stats
    found.update(exporter.facts())
    for name in ("accepted", "rejected", "waiting", "dropped", "resent", "requests", "last_error"):
        found[name] = getattr(stats, name)
    found["reasons"] = list(stats.reasons)
    return found


def _cost(agent: Agent, reporter: Reporter) -> dict[str, Any]:
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "apm_run"]
    spent, first = reporter.spent()
    return {
        "startup_ms": round(agent.startup_ns / 1e6, 3),
        "first_transaction_us": first,
        "transaction_us": spent,
        "modules": len(modules),
        "bytes": _bytes(modules),
    }


def _bytes(modules: list[Any]) -> int:
    """What the agent's modules take in memory, about: their code, names, constants and types."""
    waiting: list[Any] = [module.__dict__ for module in modules]
    owners = {module.__name__ for module in modules}
    seen: set[int] = set()
    total = 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        kind = type(item)
        if kind is type(_bytes) or isinstance(item, type):
            if getattr(item, "__module__", None) not in owners:
                continue
            code = getattr(item, "__code__", None)
            waiting.append(dict(item.__dict__) if code is None else code)
        elif kind is type(_bytes.__code__):
            waiting += [item.co_code, item.co_consts, item.co_names]
        elif kind is dict:
            waiting += [value for key, value in list(item.items()) if key != "__builtins__"]
        elif kind in (list, tuple, set, frozenset):
            waiting += list(item)
        elif kind not in (str, bytes, int, float):
            continue
        total += sys.getsizeof(item)
    return total
