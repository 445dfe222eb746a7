"""Workers as real processes, and programs that give them work: what both have written, and how they have ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.instrumentations.served import Served
from tests.receiver import Sink

APPS = Path(__file__).parent / "apps"


class Working(Served):
    """A process that has started once it has written ``ready``; it listens nowhere."""

    def __init__(self, *command: Any, ready: str, sink: Sink | None = None, env: dict[str, str] | None = None) -> None:
        """:param command: the words behind the interpreter."""
        self.given = env or {}
        super().__init__(*command, sink=sink, env=env, files=files(), ready=(ready, 1))

    def _listens(self) -> bool:
        text, times = self._ready
        return self.output.count(text) >= times

    def ended(self, timeout: float = 60) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> tuple[int, str]:
        """End it as a service manager would; its exit code and what it has written."""
        os.kill(self._process.pid, number)
        try:
            return self._process.wait(timeout), self.output
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.output}") from None


def run(*command: Any, sink: Sink | None = None, env: dict[str, str] | None = None) -> str:
    """What a program writes that ends by itself, bare or traced."""
    return Served(*command, sink=sink, env=env, files=files()).run()


#: Who is the parent of a program that is started with :func:`context`.
PARENT = "b" * 16


def context(trace: str, flags: str = "01") -> dict[str, str]:
    """The environment of a program that is part of a trace."""
    return {"TRACEPARENT": f"00-{trace}-{PARENT}-{flags}"}


def whole(events: list[dict[str, Any]]) -> bool:
    """Whether the parent of each of these has come too."""
    known = {event["id"] for event in events} | {PARENT}
    return all(event.get("parent_id", PARENT) in known for event in events)


def tree(sink: Sink, trace: str | None = None) -> str:
    """The sink's tree without the commands that go to Redis: how many a worker needs is its own affair."""
    return "\n".join(line for line in sink.tree(trace).splitlines() if "[db/redis/query]" not in line)


def files() -> dict[str, str]:
    """The applications of this folder, for a working directory."""
    return {each.name: each.read_text() for each in APPS.glob("*.py")}
