"""Real HTTP servers as real processes, bare and traced, and what their requests reported.

    with Served("gunicorn", "-b", "127.0.0.1:0", "flask_shop:app", sink=sink) as served:
        answer, trace = served.trace("GET", "/items/3")
        assert trace.tree() == "..."

A request is found again by the trace that the client begins. ``APM_RUN_SERVER_PYTHON`` names another interpreter
for the servers: so one set of tests serves many releases of a library.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from difflib import unified_diff
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.receiver import Sink
from tests.traced import BOOTSTRAP, environment

if TYPE_CHECKING:
    from typing_extensions import Self

APPS = Path(__file__).parent / "apps"
PYTHON = os.environ.get("APM_RUN_SERVER_PYTHON", sys.executable)


def python_version() -> tuple[int, ...]:
    """The version of the interpreter that the servers run on."""
    if sys.executable == PYTHON:
        return sys.version_info[:2]
    words = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([PYTHON, "-c", words], capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


#: Before Python 3.11 tracebacks name our frames too (:func:`apm_run.instrument.wrap.hide_frame`).
HIDES_FRAMES = python_version() >= (3, 11)

_traces = count(1)
_WAIT = 30.0

#: What servers log by chance, bare too: hypercorn that the client of an answered request has gone before it was done
#: with it, waitress that the thread which has just answered takes no task yet.
_CHANCE = ('" - - "', "Task queue depth is")


def package_version(name: str) -> str:
    """The version of a package where the servers run."""
    words = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    return subprocess.run([PYTHON, "-c", words], capture_output=True, text=True, check=True).stdout.strip()


class Answer:
    """A response as it came over the wire."""

    def __init__(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Answer({self.status} {self.reason}, {self.headers}, {self.body!r})"


class Trace:
    """What the requests of one trace reported."""

    def __init__(self, sink: Sink, trace_id: str, ports: dict[int, int]) -> None:
        self._sink = sink
        self._ports = ports
        self.id = trace_id

    def _mine(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in events if event.get("trace_id") == self.id]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return self._mine(self._sink.transactions)

    @property
    def transaction(self) -> dict[str, Any]:
        """The only one."""
        (transaction,) = self.transactions
        return transaction

    @property
    def spans(self) -> list[dict[str, Any]]:
        return self._mine(self._sink.spans)

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self._mine(self._sink.errors)

    def tree(self) -> str:
        return self._sink.tree(self.id)

    def line(self) -> str:
        """The transaction in one line: name, result, outcome, and the errors with whether they were handled.

        A group of one is shown as its member: releases differ in whether they unwrap it.
        """
        transaction = self.transaction
        errors = []
        for event in self.errors:
            error = event["exception"]
            while error["type"].endswith("ExceptionGroup") and len(error.get("cause", ())) == 1:
                (error,) = error["cause"]
            errors.append(f"{error['type']}({error['handled']})")
        words = [transaction["name"], transaction.get("result"), transaction["outcome"], *errors]
        return " | ".join(str(word) for word in words)

    def snapshot(self) -> dict[str, Any]:
        """The transaction without what differs each time; the server's port is 9999."""
        found: dict[str, Any] = stable(self.transaction, self._ports)
        return found


def stable(value: Any, ports: dict[int, int], key: str = "") -> Any:
    """An event without ids and times; known ports are replaced."""
    varying = ("id", "trace_id", "transaction_id", "parent_id", "timestamp", "duration", "traceparent", "date")
    if isinstance(value, dict):
        return {name: stable(item, ports, name) for name, item in value.items() if name not in varying}
    if isinstance(value, list):
        return [stable(item, ports) for item in value]
    if isinstance(value, str):
        for port, shown in ports.items():
            value = value.replace(f":{port}", f":{shown}")
        return value
    return ports.get(value, value) if key == "port" else value


class Served:
    """One server process.

    ``sink`` makes it traced. ``ready``: it serves once it has written this text so many times. ``files``: what its
    working directory holds.
    """

    def __init__(
        self,
        *command: Any,
        sink: Sink | None = None,
        env: dict[str, str] | None = None,
        ready: tuple[str, int] = ("", 0),
        files: dict[str, str] | None = None,
    ) -> None:
        self.command = [PYTHON, *map(str, command)]
        self._ready = ready
        self._sink = sink
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
        own = {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "HOME": self._folder.name}
        paths = [str(APPS)]
        if sink is not None:
            paths.insert(0, str(BOOTSTRAP))
            own.update(APM_RUN_STRICT="1", ELASTIC_APM_SERVER_URL=sink.url, APM_RUN_STATE_DIR=self._folder.name)
        self._env = environment(**{**own, "PYTHONPATH": ":".join(paths), **(env or {})})
        self.port = 0

    def __enter__(self) -> Self:
        self._output = open(f"{self._folder.name}/output", "w+b")
        self._process = subprocess.Popen(
            self.command,
            env=self._env,
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.until(self._listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The whole session: reloaders and arbiters have children, and not all of them take them along.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait(10)
        self._output.close()
        self._folder.cleanup()

    def run(self) -> str:
        """Run it as a program that ends by itself; what it has written."""
        done = subprocess.run(
            self.command,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=_WAIT,
            check=False,
            cwd=self._folder.name,
        )
        self._folder.cleanup()
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    @property
    def output(self) -> str:
        """What it has written so far, on both streams."""
        return Path(self._output.name).read_text("utf-8", "replace")

    @property
    def log(self) -> list[str]:
        """Its lines without what differs each time: ports, ids, pids, times, addresses, what is logged by chance.

        Sorted, as threads mix them.
        """
        text = self.output.replace(self._folder.name, "FOLDER")
        text = re.sub(r"127\.0\.0\.1(:|', )\d+", r"127.0.0.1\1PORT", text)
        text = re.sub(
            r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(,\d+| \+0000)?|\d\d/\w{3}/\d{4}[ :]\d\d:\d\d:\d\d", "TIME", text
        )
        text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "ID", text)
        text = re.sub(r"(pid: ?|process \[|\[|PORT \()\d+\b", r"\1PID", text)
        lines = re.sub(r"0x[0-9a-f]+", "ADDRESS", text).splitlines()
        lines = [line for line in lines if not any(part in line for part in _CHANCE)]
        return sorted(line for line in lines if HIDES_FRAMES or not line.startswith("  "))

    def until(self, condition: Callable[[], Any]) -> None:
        """Until a condition on what it does holds."""
        deadline = time.monotonic() + _WAIT
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.command} does not serve:\n{self.output}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        found = re.findall(r"(?:https?://|TCP address )127\.0\.0\.1:(\d+)", self.output)
        if not found or self.output.count(self._ready[0]) < self._ready[1]:
            return False
        self.port = int(found[-1])
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    # Asking

    def ask(self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None) -> Answer:
        """Send a request and read its response to the end."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_WAIT)
        try:
            headers = [*headers]
            connection.putrequest(method, path, skip_host=any(name == "Host" for name, _ in headers))
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
            shown = [
                (name, value.replace(f":{self.port}", ":9999"))
                for name, value in response.getheaders()
                if name.lower() != "date"
            ]
            return Answer(response.status, response.reason, shown, content)
        finally:
            connection.close()

    def answer(self, *request: Any) -> Answer | str:
        """What a request gets, or how its response breaks off."""
        try:
            return self.ask(*request)
        except (HTTPException, OSError) as error:
            return repr(error)

    def settle(self) -> None:
        """Wait until nothing more is written: the line of a request may be logged after its response."""
        before = None
        while before != self.output:
            before = self.output
            time.sleep(0.2)

    def raw(self, request: bytes) -> bytes:
        """Send bytes, read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), _WAIT) as connection:
            connection.sendall(request)
            found = b""
            while piece := connection.recv(65536):
                found += piece
            return found

    def leave(self, path: str, headers: Iterable[tuple[str, str]] = (), after: int = 100_000) -> None:
        """Ask, read a part of the response, and go without a word."""
        lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), "", ""]
        with socket.create_connection(("127.0.0.1", self.port), _WAIT) as connection:
            connection.sendall("\r\n".join(lines).encode())
            while after > 0:
                after -= len(connection.recv(65536)) or after
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def new_trace(self, flags: str = "01") -> tuple[Trace, tuple[str, str]]:
        """A trace that the client begins, and the header that says so."""
        assert self._sink is not None
        number = next(_traces)
        trace_id = f"{number:08x}{os.getpid():08x}{time.time_ns():016x}"
        return Trace(self._sink, trace_id, {self.port: 9999}), ("traceparent", f"00-{trace_id}-{number:016x}-{flags}")

    def trace(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        until: Callable[[Trace], Any] = lambda trace: trace.transactions,
    ) -> tuple[Answer, Trace]:
        """Ask within a new trace, and wait until it has been reported.

        :param until: what has to have arrived; by default a transaction, with what goes with it.
        """
        trace, header = self.new_trace()
        answer = self.ask(method, path, [header, *headers], body)
        self.wait(lambda: until(trace))
        return answer, trace

    def wait(self, condition: Callable[[], Any]) -> None:
        """Until a condition on what was reported holds, and what came along with that is there too."""
        assert self._sink is not None
        self._sink.wait(lambda _: condition(), _WAIT)
        self._sink.wait_idle(0.05)


class Ended(Served):
    """A server that is ended by SIGTERM to its first process, as by a supervisor."""

    def processes(self) -> set[int]:
        """It and its children, of any generation."""
        found, left = set(), [self._process.pid]
        while left:
            found.add(pid := left.pop())
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as children:
                    left.extend(map(int, children.read().split()))
        return found

    def end(self) -> int:
        """Its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def flush(self) -> None:
        """What was left is sent by ``apm-run flush``."""
        command = [sys.executable, "-m", "apm_run", "flush", "--server-url", self._env["ELASTIC_APM_SERVER_URL"]]
        env = {name: value for name, value in self._env.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    @property
    def log(self) -> list[str]:
        """Its lines; others have pids and parts of seconds too, uWSGI's and Apache's the time in words."""
        varying = r"PID: \d+|^\(\d+\)|(?<= )\d+\.\d{3,6}$|\d+ seconds|(?:on |^)\[\w{3} \w{3} [^\]]*\]|pid \d+:tid \d+"
        return sorted(re.sub(varying, "NUMBER", line) for line in super().log)


def compare(
    command: Iterable[Any], requests: dict[tuple[Any, ...], str], kind: type[Served] = Served, **options: Any
) -> dict[tuple[Any, ...], str]:
    """Send the same requests to a server bare and traced; what the client and the log see must be the same.

    :param requests: arguments of :meth:`Served.ask` -> the line that is expected, as :meth:`Trace.line` makes it.
    :param kind: how the server is run and its log is read.
    :returns: the same with the lines that were reported.
    """
    with kind(*command, **options) as served:
        expected = [repr(served.answer(*request)) for request in requests]
        served.settle()
        log = served.log
    with Sink() as sink, kind(*command, sink=sink, **options) as served:
        traces: dict[tuple[Any, ...], Trace] = {}
        for request, bare in zip(requests, expected):
            method, path, headers, body = (*request, *((), None)[len(request) - 2 :])
            traces[request], header = served.new_trace()
            answer = repr(served.answer(method, path, [header, *headers], body))
            assert answer == bare, f"{method} {path}\n{bare}\n{answer}"
        served.settle()
        assert served.log == log, "\n".join(unified_diff(log, served.log, "bare", "traced"))
        served.wait(lambda: all(trace.transactions for trace in traces.values()))
        # Errors raised after a response come by themselves, and later.
        deadline = time.monotonic() + 3
        while (found := {request: trace.line() for request, trace in traces.items()}) != requests:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return found
