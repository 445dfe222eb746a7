"""What the delivery tests share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from apm_run import config
from apm_run.export import Exporter

METADATA = b'{"metadata":{"service":{"name":"shop","agent":{"name":"python","version":"0"}}}}\n'


def settings(url: str, **options: object) -> config.Settings:
    values = {"server_url": url, **options}
    found, problems = config.load({f"ELASTIC_APM_{name.upper()}": str(value) for name, value in values.items()})
    assert not problems
    return found


def event(number: int, size: int = 0) -> bytes:
    return json.dumps({"transaction": {"id": f"{number}", "pad": "x" * size}}).encode() + b"\n"


def numbers(events: list[dict]) -> list[int]:
    return [int(event["transaction"]["id"]) for event in events]


@contextmanager
def exporter(url: str, **options: object) -> Iterator[Exporter]:
    """An exporter that leaves nothing behind, whatever the test did with it."""
    made = Exporter(settings(url, **options), lambda: METADATA)
    try:
        yield made
    finally:
        stop(made)


def stop(made: Exporter) -> None:
    """End its thread's work, so that it does not go on beside the next test."""
    worker = made._workers.get(os.getpid())
    if worker is not None:
        worker.close()
        worker._pace.held_until = worker.clock() + 3600


def left(directory: object) -> list[str]:
    """The segment files of that state directory."""
    folder = os.path.join(str(directory), "outbox")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
