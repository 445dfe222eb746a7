"""What the unit tests of the delivery side share."""

from __future__ import annotations

import os

from apm_run.export import files
from apm_run.export.outbox import Outbox
from apm_run.export.segment import Segment, Stamp

METADATA = b'{"metadata":{"service":{"name":"shop"}}}\n'


def stamp(**changes) -> Stamp:
    values = {
        "pid": os.getpid(),
        "start": files.start_time("self"),
        "namespace": files.pid_namespace(),
        "boot": files.boot_id(),
        "credentials": b"c" * 16,
        "destination": b"http://127.0.0.1:8200",
    }
    return Stamp(**{**values, **changes})


def segment(size: int = 4096) -> Segment:
    made = Segment(bytearray(size), None, stamp())
    made.reset(1)
    return made


def lines(*numbers: int, size: int = 0) -> bytes:
    return b"".join(b'{"transaction":{"id":%d,"pad":"%s"}}\n' % (number, b"x" * size) for number in numbers)


def ids(payload: bytes) -> list[int]:
    import json

    return [json.loads(line)["transaction"]["id"] for line in payload.splitlines()]


def waiting(source) -> list[int]:
    """The ids of the events that wait, in order."""
    found = [number for payload, _ in source.batch() for number in ids(payload)]
    source.unpin()
    return found


def outbox(directory=None, **options) -> Outbox:
    return Outbox(None if directory is None else str(directory), options.pop("stamp", stamp()), METADATA, **options)
