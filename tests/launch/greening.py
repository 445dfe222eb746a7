"""Programs of greenlets: what each of them does, and what has to be found afterwards.

A server of gevent's, eventlet's or gunicorn's, in a program that is patched in its first line, after its imports, by
its worker class or never; greenlets of the same program ask it, fifty at once, and its handler asks an HTTPS server:
by itself, in a greenlet it starts, in one of a pool's and in a thread. ``test_greenlets.py`` runs all of them.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.launch.green import (
    ASK,
    CLIENTS,
    CONF,
    ENDS,
    FAILED,
    FIFTY,
    FIFTY_AT_ONCE,
    GUNICORN,
    HANDLER,
    HANGING,
    HEAD,
    KILLED,
    ONLY,
    PATCH,
    PLACES,
    PLAIN,
    WORDS,
)
from tests.receiver import Sink
from tests.servers import Server
from tests.traced import BOOTSTRAP, environment

if TYPE_CHECKING:
    from typing_extensions import Self

#: Time-outs within the program's life, so that what is done about them is seen too.
IMPATIENT = {
    "ELASTIC_APM_EXIT_TIMEOUT": "300ms",
    "ELASTIC_APM_LOG_FILE": "apm.log",
    "ELASTIC_APM_LOG_LEVEL": "debug",
    "ELASTIC_APM_SERVER_TIMEOUT": "1500ms",
}


class Green:
    """One program.

    :ivar files: the program and what else it needs. :ivar paths: the transactions that are expected, by their paths.
    :ivar places: the spans that are expected below each, by the end of their path.
    :ivar hanging: whether the server that it reports to never answers. :ivar flushed: whether nobody is left to send.
    """

    def __init__(
        self,
        source: str,
        paths: int,
        places: Iterable[str] = ("handler",),
        *,
        files: dict[str, str] | None = None,
        hanging: bool = False,
        flushed: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        self.files = {"program.py": source, **(files or {})}
        self.paths = [str(number) for number in range(paths)]
        self.places = list(places)
        self.hanging = hanging
        self.flushed = flushed
        self.env = env or {}


def _program(library: str, when: str, client: str, rest: str) -> str:
    head = HEAD.format(late=PATCH[library] if when == "last" else "", words=WORDS[library], client=CLIENTS[client])
    return "\n".join([PATCH[library] if when == "first" else "", head, rest])


def _programs() -> Iterator[tuple[str, Green]]:
    for library, patch in PATCH.items():
        for client in CLIENTS:
            for when in ("first", "last", "never"):
                source = _program(library, when, client, HANDLER + FIFTY_AT_ONCE)
                yield f"{library}, patched {when}, {client}", Green(source, FIFTY, PLACES)
            killed = _program(library, "first", client, KILLED)
            yield f"{library}, killed, {client}", Green(killed, FIFTY, ("slow", "killed/slow", "handler"))
        first = {"sitecustomize.py": patch + "\n"}
        source = _program(library, "never", "requests", HANDLER + FIFTY_AT_ONCE)
        # What eventlet handed on before we came starts greenlets of nobody's.
        places = PLACES if library == "gevent" else ("handler", "thread")
        yield f"{library}, patched by sitecustomize, requests", Green(source, FIFTY, places, files=first)
        hanging = {
            "patched first": Green(_program(library, "first", "requests", HANGING), 0, hanging=True),
            "patched by sitecustomize": Green(
                _program(library, "never", "requests", HANGING), 0, files=first, hanging=True
            ),
        }
        for name, green in hanging.items():
            yield f"{library}, {name}, APM Server hangs", green
        yield f"{library}, failing greenlets", Green(_program(library, "first", "requests", FAILED), 1)
        for name, end in {**ENDS, **ONLY[library]}.items():
            source = _program(library, "first", "requests", PLAIN + ASK.format(10) + end)
            yield f"{library}, {name}", Green(source, 10, flushed=name == "SIGTERM")
    for worker in ("gevent", "gevent_pywsgi"):
        for client in CLIENTS:
            application = _program("gevent", "never", client, HANDLER)
            files = {"conf.py": CONF, "application.py": application}
            yield f"gunicorn -k {worker}, {client}", Green(GUNICORN.format(worker), FIFTY, PLACES, files=files)


GREEN: dict[str, Green] = dict(_programs())


class Upstream:
    """An HTTPS server that answers with what it was asked for, and keeps the trace ids that came along."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        key = folder / "key.pem"
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        command = ["openssl", *words.split(), "-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.ca, key)
        self.traces: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(connection, server_side=True) as secure, secure.makefile("rb") as stream:
                path = stream.readline().split()[1].decode()
                for line in iter(stream.readline, b"\r\n"):
                    name, _, value = line.decode().partition(":")
                    if name.lower() == "traceparent":
                        self.traces[path, value.strip()] += 1
                if path.endswith("/slow"):
                    self._ended.wait()
                body = path.encode()
                secure.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (OSError, IndexError):
            connection.close()


class Outcome:
    """What a program did, bare and traced, and what was received of it."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.transactions = 0
        self.spans = 0
        #: As many of both as there have to be.
        self.expected = (0, 0)

    @property
    def good(self) -> bool:
        return not self.differences


def judge(python: str, way: str, folder: Path) -> Outcome:
    """Run one program, bare and traced, on that interpreter."""
    green, outcome = GREEN[way], Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in green.files.items():
        (folder / name).write_text(text)
    with Upstream(folder) as upstream, Sink() as sink, Server(["hang"]) as hanging:
        env = environment(APM_RUN_STATE_DIR=str(folder / "state"), PYTHONHASHSEED="0", PYTHONPATH=str(folder))
        env.update(UPSTREAM_CA=str(upstream.ca), UPSTREAM_PORT=str(upstream.port), **green.env)
        how: dict[str, Any] = {"capture_output": True, "timeout": 100, "check": False, "cwd": folder}

        def run(**more: str) -> tuple[int, str, str]:
            done = subprocess.run([python, "program.py"], env={**env, **more}, **how)
            return done.returncode, _told(done.stdout), _told(done.stderr)

        bare = run()
        url = hanging.url if green.hanging else sink.url
        own = {"PYTHONPATH": f"{BOOTSTRAP}:{folder}", "APM_RUN_STRICT": "1", "ELASTIC_APM_SERVER_URL": url}
        traced = run(**own, **(IMPATIENT if green.hanging else {}))
        for name, expected, found in zip(("exit status", "stdout", "stderr"), bare, traced):
            if green.hanging and name == "stderr":
                expected += f"apm-run: nothing was delivered to {url}: "
                found = found[: len(expected)]
            if expected != found:
                outcome.differences.append(f"{name}: {expected!r} bare, {found!r} traced")
        if green.flushed:
            flush = [sys.executable, "-m", "apm_run", "flush", "--server-url", sink.url]
            subprocess.run(flush, env=environment(APM_RUN_STATE_DIR=str(folder / "state")), **how).check_returncode()
        sink.wait_idle()
        outcome.transactions, outcome.spans = len(sink.transactions), len(sink.spans)
        outcome.expected = len(green.paths), len(green.paths) * len(green.places)
        outcome.differences += _wrong(green, sink, upstream)
    return outcome


def _told(output: bytes) -> str:
    """Without the addresses and times that a library writes."""
    return re.sub(r"0x[0-9a-f]+|\d{4}-\d\d-\d\dT[\d:]+Z|\bid=\d+", "...", output.decode())


def _wrong(green: Green, sink: Sink, upstream: Upstream) -> list[str]:
    """What is not as it has to be in what was received."""
    wrong = []
    requests = [event for event in sink.transactions if event["type"] == "request"]
    paths = {event["id"]: event["context"]["request"]["url"]["pathname"][1:] for event in requests}
    wrong += _compared("requests", Counter(green.paths), Counter(paths.values()))
    others = [event["name"] for event in sink.transactions if event["id"] not in paths]
    if others:
        wrong.append(f"other transactions: {others}")
    if len({event["trace_id"] for event in sink.transactions}) != len(sink.transactions):
        wrong.append("transactions share a trace")
    found: Counter[str] = Counter()
    for span in sink.spans:
        path = span["context"]["http"]["url"].partition(f":{upstream.port}/")[2]
        found[path] += 1
        owner = paths.get(span["transaction_id"])
        if path.partition("/")[0] != owner or span["parent_id"] != span["transaction_id"]:
            wrong.append(f"{path} is below {owner}")
        if path.endswith("/slow") and span["outcome"] != "unknown":
            wrong.append(f"{path} is a {span['outcome']}")
    expected = Counter(f"{path}/{place}" for path in green.paths for place in green.places)
    return wrong + _compared("spans", expected, found)


def _compared(what: str, expected: Counter[str], found: Counter[str]) -> list[str]:
    if found == expected:
        return []
    return [f"{what}: {dict(expected - found)} missing, {dict(found - expected)} too many"]
