"""Programs of greenlets: what each of them does, and what has to be found afterwards.

A server of gevent's, eventlet's or gunicorn's, in a program that is patched in its first line, after its imports, by
its worker class or never; greenlets of the same program ask it, fifty at once, and its handler asks an HTTPS server:
by itself, in a greenlet it starts, in one of a pool's and in a thread. ``test_greenlets.py`` runs all of them.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.receiver import Sink
from tests.servers import Server
from tests.traced import BOOTSTRAP, environment

if TYPE_CHECKING:
    from typing_extensions import Self

FIFTY = 50
#: Where a handler asks from.
PLACES = ("handler", "spawn", "pool", "later", "raw", "native", "thread")

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}

#: The same words for both libraries.
WORDS = {
    "gevent": """\
import gevent, gevent.pool, gevent.pywsgi, gevent.event
from gevent import socket as green, spawn, spawn_later as later, sleep, Timeout
pool = gevent.pool.Pool(20)
def result(started):
    return started.get()
def raw(work, *args):
    done = gevent.event.AsyncResult()
    gevent.spawn_raw(lambda: done.set(work(*args)))
    return done
def native(work, *args):
    return gevent.get_hub().threadpool.spawn(work, *args)
def hub():
    return gevent.get_hub()
def serve(app):
    server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    return server.server_port, server.stop
""",
    "eventlet": """\
import eventlet, eventlet.event, eventlet.tpool, eventlet.wsgi
from eventlet import spawn, spawn_after as later, sleep, Timeout
from eventlet.green import socket as green
pool = eventlet.GreenPool(20)
def result(started):
    return started.wait()
def raw(work, *args):
    done = eventlet.event.Event()
    eventlet.spawn_n(lambda: done.send(work(*args)))
    return done
def native(work, *args):
    return spawn(eventlet.tpool.execute, work, *args)
def hub():
    return eventlet.hubs.get_hub().greenlet
def serve(app):
    listener = eventlet.listen(("127.0.0.1", 0))
    running = spawn(eventlet.wsgi.server, listener, app, log_output=False)
    return listener.getsockname()[1], running.kill
""",
}

CLIENTS = {
    "http.client": """\
def get(path):
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
""",
    "urllib.request": """\
def get(path):
    with urllib.request.urlopen(URL + path, context=context) as answer:
        return answer.read()
""",
    "requests": """\
def get(path):
    return requests.get(URL + path, verify=CA).content
""",
    "urllib3": """\
def get(path):
    with urllib3.PoolManager(ca_certs=CA) as manager:
        return manager.request("GET", URL + path).data
""",
    "httpx": """\
def get(path):
    return httpx.get(URL + path, verify=context).content
""",
}

#: What every program begins with, after what it is patched by.
HEAD = """\
import gc, http.client, os, signal, ssl, sys, threading, time, urllib.request
import flask, greenlet, httpx, requests, urllib3
{late}
{words}
CA, PORT = sys.argv[1], int(sys.argv[2])
URL = f"https://127.0.0.1:{{PORT}}"
context = ssl.create_default_context(cafile=CA)
{client}
def fetch(path):
    try:
        return get(path).decode()
    except Exception as error:
        return type(error).__name__
def ask(port, number):
    with green.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{{number}} HTTP/1.0\\r\\n\\r\\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.rpartition(b"\\r\\n")[2].decode()
def living():
    gc.collect()
    return sum(isinstance(found, greenlet.greenlet) and found.parent is hub() and not found.dead for found in gc.get_objects())
"""

HANDLER = """\
def handler(environ, start_response):
    number = environ["PATH_INFO"][1:]
    sleep(int(number) % 7 / 100)
    thread = threading.Thread(target=fetch, args=(f"/{number}/thread",))
    thread.start()
    started = [
        spawn(fetch, f"/{number}/spawn"),
        pool.spawn(fetch, f"/{number}/pool"),
        later(0.01, fetch, f"/{number}/later"),
        raw(fetch, f"/{number}/raw"),
        native(fetch, f"/{number}/native"),
    ]
    sleep(int(number) % 5 / 100)
    answers = [fetch(f"/{number}/handler"), *map(result, started)]
    thread.join()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(answers).encode()]
"""

FIFTY_AT_ONCE = f"""\
port, stop = serve(handler)
asking = [spawn(ask, port, number) for number in range({FIFTY})]
for asked in asking:
    print(result(asked))
stop()
sleep(0.1)
print(living(), threading.active_count())
"""


class Green:
    """One program.

    :ivar source: what it does. :ivar paths: the transactions that are expected, by their paths.
    :ivar places: the spans that are expected below each, by the end of their path.
    """

    def __init__(self, source: str, paths: Iterable[str], places: Iterable[str], hanging: bool = False) -> None:
        self.source = source
        self.paths = list(paths)
        self.places = list(places)
        self.hanging = hanging


def _program(library: str, first: bool, late: bool, client: str, rest: str) -> str:
    head = HEAD.format(late=PATCH[library] if late else "", words=WORDS[library], client=CLIENTS[client])
    return "\n".join([PATCH[library] if first else "", head, rest])


def _matrix() -> dict[str, Green]:
    found = {}
    for library in PATCH:
        for when in ("first", "last", "never"):
            for client in CLIENTS:
                source = _program(library, when == "first", when == "last", client, HANDLER + FIFTY_AT_ONCE)
                found[f"{library}, patched {when}, {client}"] = Green(source, map(str, range(FIFTY)), PLACES)
    return found


GREEN: dict[str, Green] = _matrix()


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
        self.seconds: list[float] = []
        self.output = b""

    @property
    def good(self) -> bool:
        return not self.differences


def judge(python: str, way: str, folder: Path) -> Outcome:
    """Run one program, bare and traced, on that interpreter."""
    green, outcome = GREEN[way], Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "program.py"
    script.write_text(green.source)
    env = environment(APM_RUN_STATE_DIR=str(folder / "state"), PYTHONHASHSEED="0")
    with Upstream(folder) as upstream, Sink() as sink, Server(["hang"]) as hanging:
        command = [python, str(script), str(upstream.ca), str(upstream.port)]

        def run(**more: str) -> tuple[int, bytes, bytes]:
            begun = time.monotonic()
            done = subprocess.run(command, env={**env, **more}, capture_output=True, timeout=100, check=False, cwd=folder)
            outcome.seconds.append(time.monotonic() - begun)
            return done.returncode, done.stdout, done.stderr

        bare = run()
        outcome.output = bare[1]
        url = hanging.url if green.hanging else sink.url
        traced = run(PYTHONPATH=str(BOOTSTRAP), APM_RUN_STRICT="1", ELASTIC_APM_SERVER_URL=url)
        for name, expected, found in zip(("exit status", "stdout", "stderr"), bare, traced):
            if expected != found:
                outcome.differences.append(f"{name}: {expected!r} bare, {found!r} traced")
        sink.wait_idle()
        outcome.transactions, outcome.spans = len(sink.transactions), len(sink.spans)
        outcome.differences += _wrong(green, sink, upstream)
    return outcome


def _wrong(green: Green, sink: Sink, upstream: Upstream) -> list[str]:
    """What is not as it has to be in what was received."""
    wrong = []
    paths = {event["id"]: event["context"]["request"]["url"]["pathname"][1:] for event in sink.transactions if event["type"] == "request"}
    if Counter(paths.values()) != Counter(green.paths):
        wrong.append(f"requests: {Counter(green.paths) - Counter(paths.values())} missing, {Counter(paths.values()) - Counter(green.paths)} too many")
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
    expected = Counter(f"{path}/{place}" for path in green.paths for place in green.places)
    if found != expected:
        wrong.append(f"spans: {dict(expected - found)} missing, {dict(found - expected)} too many")
    return wrong
