"""Real servers for the libraries' tests: each on a private port of loopback, with a folder of its own.

    class Redis(Service):
        commands = ("redis-server",)

        def command(self):
            return ["redis-server", "--port", str(self.port), "--dir", str(self.folder)]

    with Redis() as redis:
        client(redis.port)

A server that is not installed skips the test that wants it; in CI that is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typing_extensions import Self

#: Where ``make services`` has put the servers that come as packages.
PACKAGES = Path(__file__).resolve().parents[2] / ".venv-services"
_PATIENCE = 60.0


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def packaged(path: str) -> str:
    """A server's program below the site-packages or ``bin`` of ``make services``; skips where it is not there."""
    for found in (PACKAGES / "bin" / path, *PACKAGES.glob(f"lib/python*/site-packages/{path}")):
        if found.is_file():
            return str(found)
    pytest.skip(f"{path} is not installed: make services")


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Service:
    """A server as a child process.

    :ivar port: that it listens on, free when it was chosen. :ivar folder: for its data, gone at the end; every user
        may enter it, since some servers drop their privileges.
    """

    #: Programs that have to be there.
    commands: tuple[str, ...] = ()
    #: The signal that ends it; after :attr:`patience` seconds it is killed.
    stop = signal.SIGTERM
    patience = 10.0

    def __init__(self) -> None:
        self.port = free_port()

    # What a server says of itself

    def prepare(self) -> None:
        """Make its data before it is started."""

    def command(self) -> list[str]:
        """How it is started, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it needs in its environment besides ours."""
        return {}

    def ready(self) -> bool:
        """Whether it answers."""
        return listens(self.port)

    def clean(self) -> None:
        """What is to be ended besides it."""

    # What is done with it

    def __enter__(self) -> Self:
        for name in self.commands:
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed")
        try:
            return self._begun()
        except RuntimeError:  # somebody may have taken its port meanwhile
            self.port = free_port()
            return self._begun()

    def _begun(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="apm-run-service-"))
        self.folder.chmod(0o777)
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Start it, once more if it was stopped; RuntimeError with what it said where it does not answer."""
        env = {**os.environ, **self.environment()}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _PATIENCE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text("utf-8", "replace")[-3000:]
                raise RuntimeError(f"{type(self).__name__} does not answer at {self.port}:\n{said}")
            time.sleep(0.02)

    def end(self) -> None:
        """Stop it; its data stays."""
        process: Any = getattr(self, "process", None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.stop)
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __exit__(self, *_: object) -> None:
        self.end()
        self.clean()
        shutil.rmtree(self.folder, ignore_errors=True)
