"""The delivery side as the rest of the agent sees it."""

from __future__ import annotations

from os import environ, getpid, register_at_fork
from sys import modules, version_info

from apm_run import guard
from apm_run.export.descriptors import keep
from apm_run.export.forks import Fork, free_imports
from apm_run.export.server_info import ServerInfo
from apm_run.export.stats import ExportStats
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apm_run.config import Settings
    from apm_run.export.segment import Stamp
    from apm_run.export.transport import Transport
    from apm_run.export.worker import Worker

#: Where these are loaded the process may have started others of its kind without a fork that it saw.
_STARTERS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")


class Exporter:
    """Takes events and sees to it that they arrive, by the contract of design 5a.

    All state belongs to one process: a forked child begins anew with its first put, and what it inherits is neither
    sent nor freed there.
    """

    __slots__ = (
        "_fork", "_info", "_metadata_line", "_parent", "_reason", "_settings", "_workers", "holds", "looks", "told",
    )  # fmt: skip

    def __init__(self, settings: Settings, metadata_line: Callable[[], bytes]) -> None:
        """Opens and starts nothing.

        :param metadata_line: gives ``b'{"metadata":{...}}\\n'``; called on the agent thread, once per process.
        """
        self._settings = settings
        self._metadata_line = metadata_line
        #: Why nothing is sent, if so.
        self._reason: str | None = None
        self._workers: dict[int, Worker | None] = {}
        #: Called after each request to the server, by whoever sent it; must not raise.
        self.told: Callable[[], None] | None = None
        #: Called once per process, when its first event is about to wait; must not raise.
        self.holds: Callable[[], None] | None = None
        #: Called by the agent thread now and then; gives the seconds until the next time, or None.
        self.looks: Callable[[], float | None] | None = None
        #: Whether this process has children of its own kind, who may have been killed.
        self._parent = False
        self._info = ServerInfo(settings.skip_server_info)
        self._fork = Fork()
        register_at_fork(before=self._forking, after_in_child=self._forked, after_in_parent=self._has_child)

    @property
    def stats(self) -> ExportStats:
        """The counters of this process."""
        worker = self._workers.get(getpid())
        return worker.stats if worker is not None else ExportStats()

    def facts(self) -> dict[str, str | None]:
        """Where this process sends to, where it keeps what waits (None: in memory), why nothing is sent, if so."""
        worker = self._workers.get(getpid())
        reason = "disable_send is true" if self._settings.disable_send else self._reason
        if worker is None:
            return {"server": None, "outbox": None, "reason": reason}
        directory = worker.outbox.directory if worker.outbox.durable else None
        return {"server": worker.server, "outbox": directory, "reason": reason}

    def put(self, payload: bytes, events: int) -> None:
        """Take events in; never blocks, never raises.

        :param payload: ND-JSON lines, each ending in a newline and holding one event; durable when this returns.
        :param events: the number of lines.
        """
        try:
            pid = getpid()
            worker = self._workers[pid] if pid in self._workers else self._begin(pid)
            if worker is not None:
                worker.outbox.put(payload, events)
                worker.noticed()
        except Exception:
            guard.failed("export.put")

    def takes(self, sampled: bool) -> bool:
        """Whether a transaction is to be sent: an unsampled one not to a server that is known to drop it (spec 13)."""
        if sampled:
            return True
        self._info.wanted = True
        return not self._info.sampled_only

    def drop(self, reason: str) -> None:
        """Count an event that is not put; never raises."""
        try:
            pid = getpid()
            worker = self._workers[pid] if pid in self._workers else self._begin(pid)
            if worker is not None:
                worker.outbox.drop(reason)
        except Exception:
            guard.failed("export.drop")

    def begun(self, job: bool = False) -> None:
        """Something has begun that :attr:`looks` may have to look at; never blocks, never raises.

        :param job: its process may have been made for it alone, and be killed before anything else has ended in it:
            it is looked at from the first one on.
        """
        if not job:
            # Of another process where C has forked: nobody minds, and asking who we are is a system call.
            for worker in list(self._workers.values()):
                if worker is not None:
                    worker.begun()
            return
        pid = getpid()
        worker = self._workers.get(pid)
        if worker is not None:
            worker.begun()
            return
        try:
            worker = self._begin(pid)
            if worker is not None:
                worker.start(worker.clock())
        except Exception:
            guard.failed("export.begun")

    def open(self, id: str, end: bytes, line: bytes) -> None:
        """Leave an open record: a transaction that may never end in this process; never blocks, never raises.

        :param end: the end of its event's line, as of now. :param line: what stands before; empty: as before.
        """
        try:
            pid = getpid()
            worker = self._workers[pid] if pid in self._workers else self._begin(pid)
            if worker is not None:
                worker.outbox.open(id, end, line)
        except Exception:
            guard.failed("export.open")

    def gone(self, id: str) -> None:
        """Take the open record of a transaction back; never blocks, never raises."""
        worker = self._workers.get(getpid())
        if worker is not None:
            worker.outbox.gone(id)

    def prepare(self) -> None:
        """Events will come: load what takes them now, and not while the first request waits for it."""
        try:
            if not self._settings.disable_send:
                from apm_run.export import outbox, statedir, transport, worker  # noqa: F401
        except Exception:
            guard.failed("export.prepare")

    def flush(self, timeout: float) -> bool:
        """Send now. Whether everything put so far was answered (taken or finally rejected).

        :param timeout: seconds to wait at most.
        """
        worker = self._workers.get(getpid())
        try:
            return worker is None or worker.flush(timeout)
        except Exception:
            guard.failed("export.flush")
            return False

    def close(self, limit: float | None = None, last: bool = True) -> None:
        """At the end of the process: send what is left, within the limits of design 5a.

        May be called again; what is put in between is kept as ever.

        :param limit: seconds it may take in all. :param last: whether nobody takes over what is left.
        """
        pid = getpid()
        worker = self._workers.get(pid)
        try:
            adopt = limit is None and (self._parent or any(name in modules for name in _STARTERS))
            if worker is None and adopt:
                worker = self._begin(pid)
            if worker is not None:
                worker.close(limit, adopt)
            if last:
                self._complain(worker)
        except KeyboardInterrupt:
            # Somebody is tired of waiting; what is left stays in the outbox.
            pass
        except Exception:
            guard.failed("export.close")

    def _begin(self, pid: int) -> Worker | None:
        """Build this process's outbox and worker. Several threads may do so at once: the first wins."""
        if self.holds is not None:
            self.holds()
        return self._workers.setdefault(pid, self._build())

    def _forking(self) -> None:
        worker = self._workers.get(getpid())
        self._fork.before(int(worker is not None and worker.started))

    def _has_child(self) -> None:
        if version_info < (3, 13):
            self._fork.remove()
        self._parent = True

    def _forked(self) -> None:
        """In a forked child: the parent's outbox, thread and connection are out of reach from now on.

        Forks made in C do not come by here; then the pid tells.
        """
        self._fork.remove()
        free_imports([worker.ident for worker in self._workers.values() if worker is not None])
        keep(dict(self._workers))
        self._workers.clear()
        self._parent = False

    def _build(self) -> Worker | None:
        from apm_run.export.transport import Transport

        settings = self._settings
        if settings.disable_send:
            return None
        try:
            transport = Transport(settings, dict(environ))
        except ValueError as error:
            self._reason = str(error)
            return None
        from apm_run.export.outbox import Outbox
        from apm_run.export.worker import Worker

        line = _first_metadata(settings)
        outbox = Outbox(*place(transport, environ), line)
        return Worker(
            outbox,
            transport,
            settings,
            ExportStats(outbox),
            self._metadata_line,
            told=self.told,
            looks=self.looks,
            info=self._info,
        )

    def _complain(self, worker: Worker | None) -> None:
        """One line on stderr if a server was named and nothing arrived there."""
        if self._settings.origin("server_url") == "default":
            return
        if worker is None:
            if self._reason is not None:
                guard.say(f"nothing was delivered: server_url cannot be used: {self._reason}")
            return
        stats = worker.stats
        lost = set(stats.dropped) - {"filter"}
        if stats.accepted or not (stats.rejected or stats.waiting or lost):
            return
        if worker.outbox.durable and environ.get("APM_RUN_LOCAL"):
            return  # the launcher takes it from there before its summary
        why = stats.last_error or "no answer in time"
        kept = f"; {stats.waiting} events wait in {worker.outbox.directory}" if worker.outbox.durable else ""
        guard.say(f"nothing was delivered to {worker.server}: {why}{kept}")


def place(transport: Transport, environ: Mapping[str, str]) -> tuple[str | None, Stamp]:
    """The outbox's directory, if one can be had, and the stamp of this process's segments in it."""
    from _blake2 import blake2b

    from apm_run.export import files, statedir

    directory = statedir.find(environ)
    key = statedir.key(directory) if directory is not None else None
    digest = blake2b(transport.credentials, key=key or b"", digest_size=16).digest() if key else bytes(16)
    return (directory if key else None), files.stamp_of_this_process(digest, str(transport.address).encode())


def _first_metadata(settings: Settings) -> bytes:
    """The metadata line until the real one is known: events of a process that is killed at once have an owner too."""
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in " _-") else "_"
        for letter in settings.service_name or ""
    )
    service = (
        f'{{"name":"{name[:1024] or "unknown-python-service"}","agent":{{"name":"python","version":"{__version__}"}},'
        '"language":{"name":"python"}}'
    )
    return f'{{"metadata":{{"service":{service},"process":{{"pid":{getpid()}}}}}}}\n'.encode()
