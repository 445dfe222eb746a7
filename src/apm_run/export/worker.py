"""The agent thread: takes events out of the outbox and sends them (design 5a).

There is one per process, native, started at the first put. It sleeps without a deadline while nothing waits and is
never woken per event. At the end of the process :meth:`Worker.close` waits for it within limits; where no thread can be
started any more, the exiting thread sends.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
from _random import Random

from apm_run import guard, log
from apm_run.export import leftovers, native
from apm_run.export.batch import pack
from apm_run.export.connection import Limit
from apm_run.export.pace import FIRST, Pace
from apm_run.export.server_info import ServerInfo
from apm_run.export.transport import Answer, Transport, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Union

    from apm_run.config import Settings
    from apm_run.export.batch import Packed
    from apm_run.export.leftovers import Leftovers
    from apm_run.export.outbox import Outbox
    from apm_run.export.stats import ExportStats

    Source = Union[Outbox, Leftovers]

#: Seconds that the end of the process waits for a sign of life where the disk keeps the rest.
EXIT_DURABLE = 0.3
#: Seconds after a failure within which the end does not try again.
JUST = 1.0
#: Seconds between two looks at what dead processes left; seconds the end may spend on one.
ADOPT_EVERY = 60.0
_SPARE = 0.1
#: Bytes of an event that no server finds too large: one that says so will have nothing.
_SMALL = 1 << 16
#: Compressed bytes are not known before; events shrink at least that much.
_SHRINK = 4
_ALL = 1 << 62

# Left open: what tells the program itself that it is broken.
_SIGNALS = _signal.valid_signals() - {
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT, _signal.SIGTRAP,
}  # fmt: skip


class Worker:
    """Sends what waits in one outbox."""

    __slots__ = (
        "_adopt_at",
        "_adopts",
        "_closing",
        "_failed_at",
        "_first",
        "_flushes",
        "_info",
        "_latency",
        "_limit",
        "_looks",
        "_max_events",
        "_named",
        "_pace",
        "_retry_at",
        "_settings",
        "_source",
        "_starting",
        "_told",
        "_transport",
        "_unreachable",
        "_urgent",
        "_wake",
        "asleep",
        "clock",
        "hopeless",
        "ident",
        "last",
        "outbox",
        "started",
        "stats",
        "threshold",
    )

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        settings: Settings,
        stats: ExportStats,
        source: Callable[[], bytes],
        *,
        pace: Pace | None = None,
        told: Callable[[], None] | None = None,
        looks: Callable[[], float | None] | None = None,
        info: ServerInfo | None = None,
    ) -> None:
        """Start nothing yet.

        :param source: gives the metadata line; called once, on the agent thread. :param told: of each request.
        :param looks: called now and then; gives the seconds until the next time, or None: until :meth:`begun`.
        :param info: what is known of the server.
        """
        self.outbox = outbox
        self.stats = stats
        self.clock = Limit.clock
        self.asleep = self.started = False
        #: The thread, once it runs.
        self.ident = 0
        #: When the newest event came.
        self.last = 0.0
        size = settings.api_request_size
        #: Waiting bytes that are worth a request at once.
        self.threshold = size * _SHRINK if transport.compress else size
        self._settings = settings
        self._source = source
        self._told = told
        self._looks = looks
        self._transport = transport
        self._info = info or ServerInfo()
        self._pace = pace or Pace(settings.api_request_time, Random().random)
        self._max_events = _ALL
        self._adopt_at = self._first = self._failed_at = self._latency = self._retry_at = 0.0
        #: The server will not take anything unless somebody changes the settings.
        self.hopeless = False
        self._adopts = self._named = self._unreachable = self._urgent = False
        self._limit: Limit | None = None
        self._closing: tuple[Limit, native.Event] | None = None
        self._flushes: list[native.Event] = []
        self._starting = native.allocate_lock()
        self._wake = native.Event()

    @property
    def server(self) -> str:
        """The server's URL without userinfo."""
        return str(self._transport.address)

    def noticed(self) -> None:
        """An event was put: wake the thread if that is due."""
        now = self.last = self.clock()
        if not self.started:
            self.start(now)
        elif self.asleep:
            self._wake_up()
        elif self.outbox.backlog >= self.threshold and not self._pace.held_until:
            self._wake.set()

    def begun(self) -> None:
        """Something to look at has begun: where the thread sleeps without a deadline, it gets one."""
        if self.asleep:
            self._wake_up()

    def start(self, now: float) -> None:
        """Start the thread, once; where that is not possible, try again a second later."""
        if now < self._retry_at or not self._starting.acquire(False):
            return
        try:
            # A thread begins with the mask of the one that starts it; signals are the program's.
            mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS)
            try:
                self.started = True
                native.start_new_thread(self.run, ())
            except RuntimeError:
                self.started = False
                self._retry_at = now + 1.0
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        finally:
            if not self.started:
                self._starting.release()

    def flush(self, timeout: float) -> bool:
        """Send now; whether everything put so far was answered within that many seconds."""
        limit = Limit(timeout)
        self.outbox.settle()
        target = self.outbox.events
        if not self.started:
            self._send_all(limit)
        self._urgent = True
        while self.outbox.done < target and self.started:
            left = limit.deadline - self.clock()
            if left <= 0:
                break
            step = native.Event()
            self._flushes.append(step)
            self._wake_up()
            step.wait(left)
        return self.outbox.done >= target

    def close(self, total: float | None = None, adopt: bool = False) -> None:
        """Send what is left, within the limits of an exit; then give back the files.

        :param total: seconds it may take, less than usual, where a signal handler may have interrupted a put.
        :param adopt: whether to look for what children of this process left.
        """
        stuck = total is not None and self.outbox.busy
        directory = self.outbox.directory
        self._adopts = adopt and directory is not None and leftovers.any_others(directory, self.outbox.paths)
        if (self.outbox.waiting or self._adopts) and not self._is_pointless() and not (stuck and not self.started):
            total = stage = self._settings.exit_timeout if total is None else total
            if self.outbox.durable and self._settings.origin("exit_timeout") == "default":
                stage = max(EXIT_DURABLE, min(2 * self._latency, 1.0))
            limit = Limit(total, stage)
            if self.started:
                done = native.Event()
                self._closing = limit, done
                self._wake_up()
                self._await_end(limit, done)
                self._closing = None
            else:
                self._send_all(limit)
        if not stuck:
            self.outbox.close()

    def _is_pointless(self) -> bool:
        """Whether the server has just shown that it takes nothing."""
        just = bool(self._failed_at) and self.clock() - self._failed_at < JUST
        return just and (self.hopeless or self._unreachable)

    def _await_end(self, limit: Limit, done: native.Event) -> None:
        while True:
            request = self._limit
            seen = max(limit.seen, request.seen if request is not None else 0.0)
            left = min(limit.deadline, seen + (limit.stage or 0.0)) - self.clock()
            if left <= 0 or done.wait(left):
                return

    def _wake_up(self) -> None:
        self.asleep = False
        self._wake.set()

    def run(self) -> None:
        """The whole life of the thread."""
        self.ident = native.get_ident()
        self._transport.undisturbed = True  # with the mask that it was started with
        while True:
            try:
                self._read_metadata()
                while True:
                    self.turn()
            except Exception:
                self._pace.failed(self.clock())
                guard.failed("export.worker")

    def turn(self) -> None:
        """Wait for the next thing to do, or do it."""
        closing = self._closing
        if closing is not None:
            self._closing = None
            self._send_all(closing[0])
            closing[1].set()
        elif not self.outbox.waiting:
            self._sleep()
        else:
            left = self._look()
            now = self.clock()
            self._first = self._first or now
            due = self._due(now)
            if due > now:
                # While the server takes nothing there is time to make what waits small.
                if not (self._pace.held_until and self.outbox.squeeze()) and not self._ask_early(due):
                    self._wake.wait(due - now if left is None else min(due - now, left))
                return
            self._urgent = False
            if not self._send(self.outbox, Limit(self._settings.server_timeout)) and not self._failed_at:
                # Nothing to send although something waits: it is just being written.
                self._wake.wait(FIRST)
            if not self.outbox.waiting and now >= self._adopt_at:
                self._adopt(Limit(self._settings.server_timeout))
            self._first = self.clock() if self.outbox.waiting else 0.0
            self._release_flushes()
            if not self._failed_at:
                self._ask(2, max(FIRST, min(2 * self._latency, 1.0)))

    def _ask_early(self, due: float) -> bool:
        """Ask the server for its version before the first request, where that spares events; whether it was done.

        It delays nothing: the connection is needed anyway, and the answer has to come before the request is due.
        """
        info = self._info
        if not info.wanted or info.asked or self._pace.held_until:
            return False
        self._transport.connect(Limit(self._settings.server_timeout))
        self._ask(1, due - self.clock())
        return True

    def _ask(self, turn: int, seconds: float) -> None:
        """Ask the server for its version, the first or the second time."""
        info = self._info
        if info.asked >= turn or info.version is not None:
            return
        info.asked = turn
        if seconds > 0 and self._closing is None:
            self._limit = limit = Limit(seconds)
            info.version = self._transport.version(limit)
            self._limit = None
            line = info.metadata(self.outbox.metadata)
            if line != self.outbox.metadata:
                self.outbox.set_metadata(line)

    def _due(self, now: float) -> float:
        # A flush overrules the back-off once.
        if self._urgent or (self._flushes and not self._failed_at):
            return now
        return self._pace.due(self._first, self.last, self.outbox.backlog >= self.threshold)

    def _sleep(self) -> None:
        self._first = 0.0
        self._release_flushes()
        self.asleep = True
        # Looked at again: what was put or has begun before the line above woke nobody.
        left = self._look()
        if not self.outbox.waiting and self._closing is None:
            self._wake.wait(left)
        self.asleep = False

    def _look(self) -> float | None:
        try:
            return self._looks() if self._looks is not None else None
        except Exception:
            guard.failed("export.look")
            return 1.0

    def _release_flushes(self) -> None:
        while self._flushes:
            self._flushes.pop().set()

    def _send_all(self, limit: Limit) -> None:
        """Everything, until the server fails."""
        self._read_metadata()
        while self.outbox.waiting and self._send(self.outbox, limit):
            pass
        early = limit.deadline - self.clock() > self._settings.exit_timeout - _SPARE
        if not self.outbox.waiting and (self._adopts or early):
            spare = EXIT_DURABLE if self._adopts else _SPARE
            self._adopt(Limit(spare, spare))

    def _adopt(self, limit: Limit) -> None:
        """Send what dead processes left for the same server, if nobody else is at it (design 5a, "Adoption")."""
        directory = self.outbox.directory
        own = self.outbox.paths
        if directory is None or self._failed_at or not (self.stats.accepted or self._adopts):
            return
        self._adopt_at = self.clock() + ADOPT_EVERY
        if not leftovers.any_others(directory, own):
            return
        with leftovers.Adoption(directory) as granted:
            for left in leftovers.find(directory, self.outbox.stamp, own) if granted else ():
                if not self.deliver(left, limit):
                    break

    def deliver(self, source: Source, limit: Limit) -> bool:
        """Send all of it, until the server fails; whether it did not."""
        while source.waiting and self._send(source, limit):
            pass
        return not self._failed_at

    def _send(self, source: Source, limit: Limit) -> bool:
        """One request; whether a further one makes sense at once."""
        self._limit = limit
        limit.alive()
        begun = limit.seen
        size, compress = self._settings.api_request_size, self._transport.compress
        try:
            packed = pack(
                source,
                source.metadata,
                size,
                self._max_events,
                compress,
                sampled_only=self._info.sampled_only,
            )
            if not packed.events:
                source.advance(packed.lines)
                return bool(packed.lines)
            self._settle(source, self._transport.post(packed.body, limit), packed)
        finally:
            self._limit = None
            source.unpin()
        if self._told is not None:
            self._told()
        if not self._failed_at:
            self._latency = self.clock() - begun
        return not self._failed_at

    def _settle(self, source: Source, answer: Answer, sent: Packed) -> None:
        """What the answer means for the events of the request and for the next request (design 5a, "Answers")."""
        status, stats, events = answer.status, self.stats, sent.events
        stats.requests += 1
        stats.resent += events * self._transport.repeated
        stats.last_error = answer.reason
        accepted = min(answer.accepted or 0, events)
        if 200 <= status < 300 and not answer.reason:
            self._took(source, sent.lines, events)
            self._max_events = min(self._max_events * 2, _ALL)
        elif status == 400:
            self._took(source, sent.lines, accepted)
            stats.reject(events - accepted, answer.errors)
            log.write("warning", "send.rejected", f"{events - accepted} events: {'; '.join(answer.errors)}")
        elif status == 413 and events > 1:
            self._max_events = events // 2
        elif status == 413 and sent.raw > _SMALL:
            self._took(source, sent.lines, 0)
            stats.reject(1, ["too large for the server"])
        else:
            if accepted:
                source.advance(sent.behind(accepted))
                stats.accepted += accepted
            self._failed(answer, events)

    def _took(self, source: Source, events: int, accepted: int) -> None:
        source.advance(events)
        self.stats.accepted += accepted
        self._pace.succeeded()
        self._failed_at = 0.0
        self.hopeless = False

    def _failed(self, answer: Answer, events: int) -> None:
        status = answer.status
        if answer.kind in ("timeout", "reset"):
            self.stats.resent += events
        now = self._failed_at = self.clock()
        self._unreachable = not status
        log.write("warning", "send.failed", f"{self.server}: {answer.reason}; {self.outbox.waiting} events wait")
        self.hopeless = 200 <= status < 500 and status not in (408, 429)
        if self.hopeless:
            self._pace.refused(now)
        else:
            self._pace.failed(now)
        self.outbox.touch()

    def _read_metadata(self) -> None:
        if self._named:
            return
        self._named = True
        try:
            self.outbox.set_metadata(self._info.metadata(self._source()))
        except Exception:
            guard.failed("export.metadata")
        self._transport.user_agent_of(*_service(self._settings, self.outbox.metadata))


def _service(settings: Settings, metadata: bytes) -> tuple[str, str]:
    """Name and version of the service: as configured, else as discovered."""
    found = parse_json(metadata.decode("utf-8", "replace"))
    for key in ("metadata", "service"):
        found = found.get(key) if isinstance(found, dict) else None
    known = found if isinstance(found, dict) else {}
    return (
        str(settings.service_name or known.get("name") or ""),
        str(settings.service_version or known.get("version") or ""),
    )
