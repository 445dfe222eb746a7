"""What dead processes left, sent on demand: ``apm-run flush``, and ``--local`` before its summary."""

from __future__ import annotations

from time import sleep

from apm_run.export import files, leftovers
from apm_run.export.connection import Limit
from apm_run.export.exporter import place
from apm_run.export.outbox import Outbox
from apm_run.export.segment import read
from apm_run.export.stats import ExportStats
from apm_run.export.transport import Transport
from apm_run.export.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from apm_run.config import Settings

#: Seconds between two tries, of the server and of the right to adopt.
_AGAIN = 0.2


class Cleared:
    """What became of the leftovers. Events, unless said otherwise.

    :ivar left: still here, for this server. :ivar reason: why; empty if there are none.
    :ivar running: of processes that live, or that can not be seen from here. :ivar others: for other servers or
        with other credentials.
    """

    __slots__ = ("left", "others", "reason", "rejected", "running", "sent")

    def __init__(self) -> None:
        self.sent = self.rejected = self.left = self.running = self.others = 0
        self.reason = ""


def clear(settings: Settings, environ: Mapping[str, str], timeout: float) -> Cleared:
    """Send what dead processes left for the configured server.

    :param environ: as the programs have it: it names the state directory.
    :param timeout: seconds it may take in all.
    """
    cleared = Cleared()
    try:
        transport = Transport(settings, environ)
    except ValueError as error:
        cleared.reason = f"server_url cannot be used: {error}"
        return cleared
    directory, stamp = place(transport, environ)
    if directory is None:
        return cleared
    outbox = Outbox(None, stamp, b'{"metadata":{}}\n')
    stats = ExportStats(outbox)
    worker = Worker(outbox, transport, settings, stats, lambda: outbox.metadata)
    if settings.disable_send:
        cleared.reason = "disable_send is true"
    else:
        cleared.reason = _send(worker, directory, Limit(timeout))
    transport.close()
    cleared.sent, cleared.rejected = stats.accepted, stats.rejected
    _count(cleared, directory, worker)
    return cleared


def _send(worker: Worker, directory: str, limit: Limit) -> str:
    """Send until nothing is left or the time is up; why something may be left."""
    while True:
        with leftovers.Adoption(directory) as granted:
            found = leftovers.find(directory, worker.outbox.stamp, set()) if granted else []
            if granted and all(worker.deliver(left, limit) for left in found):
                return ""
        reason = worker.stats.last_error if granted else "another process is sending them"
        if worker.hopeless or limit.deadline - limit.clock() < _AGAIN:
            return reason or "no answer in time"
        sleep(_AGAIN)


def _count(cleared: Cleared, directory: str, worker: Worker) -> None:
    """Say of all that lies there whose it is."""
    stamp = worker.outbox.stamp
    cleared.left = sum(left.waiting for left in leftovers.find(directory, stamp, set()))
    dead = leftovers.dead(directory)
    for path in files.segments(directory):
        image = read(files.read(path) or b"")
        if image is None or not image.waiting:
            continue
        if (image.stamp.destination, image.stamp.credentials) != (stamp.destination, stamp.credentials):
            cleared.others += image.waiting
        elif path not in dead:
            cleared.running += image.waiting
