"""How a program's cost is measured: from outside, by what the operating system accounts to its process."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agents import Agent

HERE = Path(__file__).resolve().parent


class Place(NamedTuple):
    """Where one agent's programs run: its ``bin``, and the variables of its environment."""

    agent: Agent
    folder: Path
    home: str

    def command(self, *words: object, options: tuple[str, ...] = ()) -> list[str]:
        """The command line of a program, under the agent; its launcher may be given options."""
        first, *rest = self.agent.launcher or ("",)
        launcher = [str(self.folder / first), *rest, *options] if first else []
        return [*launcher, *map(str, words)]

    def python(self, *words: object, options: tuple[str, ...] = ()) -> list[str]:
        """The same of a Python program."""
        return self.command(self.folder / "python", *words, options=options)

    def environment(self, url: str, **more: str) -> dict[str, str]:
        """What the program finds in its environment."""
        found = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": self.home}
        # Where things come to lie in memory makes a difference of some per cent: each run finds another place.
        found.update(PYTHONHASHSEED=str(random.randrange(1000)), PADDING="x" * random.randrange(4096))
        return {**found, **self.agent.environment(url), **more}


@contextmanager
def sink(temper: str = "fine", address: str = "127.0.0.1") -> Iterator[str]:
    """A server of that temper at an address of this machine; its URL."""
    words = [sys.executable, str(HERE / "sink.py"), temper, address]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://{address}:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def asked(url: str) -> Any:
    """The JSON at a URL."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


class Run(NamedTuple):
    """One run: seconds of wall clock and CPU, kilobytes of memory at its peak, and what the program has printed."""

    wall: float
    cpu: float
    peak: int
    said: str


def run(command: list[str], environment: dict[str, str], wanted: int = 0) -> Run:
    """Run a command to its end; RuntimeError with what it said where its exit code is another."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != wanted:
            errors.seek(0)
            raise RuntimeError(f"{command}: {process.returncode}\n{errors.read().decode()[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, said)


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: list[float]) -> str:
    """The smallest and the largest."""
    return f"{min(values):.0f}..{max(values):.0f}"


def load(port: int, path: str, seconds: float, clients: int = 4) -> list[float]:
    """Ask a server as fast as it answers, from so many connections; the seconds each request took."""
    import socket

    found: list[float] = []
    until = time.perf_counter() + seconds
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n".encode()

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            stream = connection.makefile("rb")
            while (begin := time.perf_counter()) < until:
                connection.sendall(request)
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                    elif not line:
                        raise ConnectionError("the server has closed")
                stream.read(length)
                found.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)
