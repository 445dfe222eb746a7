"""The ways to serve: each server answers twenty requests, some at once, and is ended by SIGTERM right afterwards.

The matrix of all of them is what :data:`SERVERS` and :func:`judge` give; ``test_servers.py`` runs those that take
nothing but what ``make setup`` installs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from pathlib import Path
from typing import Any

from tests.instrumentations.served import Ended
from tests.receiver import Sink
from tests.traced import ROOT

TWENTY = 20
_HALF = TWENTY // 2

#: The application, for every protocol: each answer says which process gave it, and has taken a database span.
APPLICATION = """\
import os, sqlite3

def answer():
    connection = sqlite3.connect(":memory:")
    connection.execute("select 1")
    connection.close()
    return str(os.getpid()).encode()

def application(environ, start_response):
    body = answer()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return iter([body])

async def asgi(scope, receive, send):
    while scope["type"] == "lifespan":
        kind = (await receive())["type"]
        await send({"type": kind + ".complete"})
        if kind == "lifespan.shutdown":
            return
    body = answer()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
FLASK = """\
import flask
from application import answer
app = flask.Flask(__name__)

@app.route("/<number>")
def number(number):
    return answer()

if __name__ == "__main__":
    app.run(port=0)
"""
WSGIREF = """\
from wsgiref.simple_server import make_server
from application import application
server = make_server("127.0.0.1", 0, application)
server.RequestHandlerClass.log_message = lambda *_: None
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
APACHE = """\
ServerRoot /usr/lib/apache2
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule wsgi_module modules/mod_wsgi.so
ServerName 127.0.0.1
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
{user}
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess application processes=2 threads=3
WSGIProcessGroup application
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {folder}/application.py
<Directory {folder}>
Require all granted
</Directory>
"""
FILES = {"application.py": APPLICATION, "flask_app.py": FLASK, "serve.py": WSGIREF}


def _restart(served: Serving) -> None:
    """gunicorn's workers are replaced by others."""
    served.signal(signal.SIGHUP)
    served.until(lambda: served.output.count("Booting worker") >= 4 and served.output.count("Worker exiting") >= 2)


def _change(text: str) -> Callable[[Serving], None]:
    """The application's file changes; whoever serves it has written ``text`` once more when it serves again."""

    def change(served: Serving) -> None:
        before = served.output.count(text)
        later = time.time() + 10
        os.utime(served.folder / "application.py", (later, later))
        served.until(lambda: served.output.count(text) > before)

    return change


class Server:
    """One way to serve.

    :ivar command: the words after the interpreter. :ivar ready: as for ``Served``: text, and how often it is written.
    :ivar flushed: whether ``apm-run flush`` may be needed: the server, or its workers, are killed by the signal.
    :ivar midway: what happens after half of the requests. :ivar needs: the modules that have to be there.
    :ivar packages: what an environment of its own has.
    """

    def __init__(
        self,
        *command: str,
        ready: tuple[str, int] = ("", 0),
        flushed: bool = False,
        midway: Callable[[Serving], None] | None = None,
        needs: str = "",
        packages: tuple[str, ...] = (),
    ) -> None:
        self.command = command
        self.ready = ready
        self.flushed = flushed
        self.midway = midway
        self.needs = needs
        self.packages = packages


def _gunicorn(*words: str, workers: int = 2, app: str = "application", needs: str = "gunicorn", **more: Any) -> Server:
    command = ("-m", "gunicorn", "-b", "127.0.0.1:0", "-w", str(workers), *words, f"application:{app}")
    return Server(*command, ready=("Booting worker", workers), needs=needs, **more)


def _uvicorn(*words: str, workers: int = 1, **more: Any) -> Server:
    command = ("-m", "uvicorn", "--port", "0", "--no-access-log", *words, "application:asgi")
    return Server(*command, ready=("Application startup complete", workers), needs="uvicorn", **more)


def _granian(interface: str, app: str, workers: int) -> Server:
    command = ("-m", "granian", "--port", "{port}", "--interface", interface, "--workers", str(workers))
    return Server(*command, f"application:{app}", ready=("Started worker", workers), needs="granian")


def _uwsgi(*words: str, ready: tuple[str, int], app: tuple[str, str] = ("--module", "application")) -> Server:
    run = ("-c", "import sys, pyuwsgi; sys.exit(pyuwsgi.run())", "--http-socket", "127.0.0.1:0", "--die-on-term")
    return Server(*run, "--need-app", "--disable-logging", *words, *app, ready=ready, flushed=True, needs="pyuwsgi")


_MASTER = ("--master", "--processes", "2")
_SPAWNED = ("spawned uWSGI worker", 2)
_LOADED = ("WSGI app 0", 1)
_FLASK = ("-m", "flask", "--app", "flask_app", "run", "--port", "0")

#: Way -> what it is.
SERVERS: dict[str, Server] = {
    "gunicorn sync": _gunicorn(),
    "gunicorn gthread": _gunicorn("--threads", "4"),
    "gunicorn gevent": _gunicorn("-k", "gevent", needs="gevent"),
    # Newer gunicorns have none.
    "gunicorn eventlet": _gunicorn("-k", "eventlet", needs="", packages=("gunicorn==23.0.0", "eventlet==0.41.3")),
    "gunicorn uvicorn worker": _gunicorn(
        *("-k", "uvicorn.workers.UvicornWorker"), app="asgi", needs="uvicorn.workers, gunicorn"
    ),
    "gunicorn --preload": _gunicorn("--preload"),
    "gunicorn, HUP": _gunicorn(midway=_restart),
    "gunicorn --preload, HUP": _gunicorn("--preload", midway=_restart),
    "gunicorn --max-requests 6": _gunicorn("--max-requests", "6", workers=1),
    "uvicorn": _uvicorn(),
    "uvicorn --workers 2": _uvicorn("--workers", "2", workers=2),
    "uvicorn --reload": _uvicorn("--reload", midway=_change("Application startup complete")),
    "hypercorn": Server(
        *("-m", "hypercorn", "-b", "127.0.0.1:0", "-w", "2", "application:asgi"),
        ready=("Running on", 2),
        needs="hypercorn",
    ),
    "daphne": Server(
        *("-m", "daphne", "-b", "127.0.0.1", "-p", "0", "application:asgi"),
        ready=("Listening on TCP", 1),
        needs="daphne",
    ),
    "waitress": Server(
        *("-m", "waitress", "--listen", "127.0.0.1:0", "application:application"), flushed=True, needs="waitress"
    ),
    "granian WSGI": _granian("wsgi", "application", 2),
    "granian ASGI": _granian("asginl", "asgi", 2),
    "uWSGI": _uwsgi(ready=_LOADED),
    "uWSGI --enable-threads": _uwsgi("--enable-threads", ready=_LOADED),
    "uWSGI --master": _uwsgi(*_MASTER, ready=_SPAWNED),
    "uWSGI --master --enable-threads --threads 2": _uwsgi(
        *_MASTER, "--enable-threads", "--threads", "2", ready=_SPAWNED
    ),
    "uWSGI --master --lazy-apps": _uwsgi(*_MASTER, "--lazy-apps", ready=("WSGI app 0", 2)),
    "uWSGI --master --lazy-apps --enable-threads": _uwsgi(
        *_MASTER, "--lazy-apps", "--enable-threads", ready=("WSGI app 0", 2)
    ),
    "uWSGI --wsgi-file": _uwsgi(*_MASTER, app=("--wsgi-file", "application.py"), ready=_SPAWNED),
    "uWSGI --mount": _uwsgi("--manage-script-name", app=("--mount", "/=application:application"), ready=_LOADED),
    "mod_wsgi": Server("/usr/sbin/apache2", "-DFOREGROUND", "-f", "{folder}/apache.conf"),
    "Flask run": Server(*_FLASK, flushed=True, needs="flask"),
    "Flask run --debug": Server(
        *_FLASK,
        "--debug",
        ready=("Debugger PIN", 1),
        flushed=True,
        midway=_change("Debugger PIN"),
        needs="flask",
    ),
    "Werkzeug": Server("flask_app.py", flushed=True, needs="flask"),
    "wsgiref": Server("serve.py", flushed=True),
}


def missing(python: str, way: str) -> str:
    """Why a way can not be gone with that interpreter: what is not installed; empty if it can."""
    server = SERVERS[way]
    if server.command[0].startswith("/"):
        absent = [
            path for path in (server.command[0], "/usr/lib/apache2/modules/mod_wsgi.so") if not Path(path).exists()
        ]
        return f"{absent[0]} is not installed" if absent else ""
    words = f"import {server.needs or 'os'}"
    done = subprocess.run([python, "-W", "ignore", "-c", words], capture_output=True, check=False)
    return f"{server.needs} is not installed" if done.returncode else ""


class Serving(Ended):
    """A server of the matrix at work."""

    def __init__(self, server: Server, python: str, sink: Sink | None, apache: str = APACHE) -> None:
        super().__init__(*server.command, sink=sink, ready=server.ready, files=FILES)
        with socket.socket() as free:  # for a server that does not tell which port it has been given
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.server = server
        self.command = [word.format(port=port, folder=self.folder) for word in server.command]
        self.state = self.folder
        if self.command[0].startswith("/"):
            self._apache(port, apache)
        else:
            self.command.insert(0, python)

    def _apache(self, port: int, configuration: str) -> None:
        """It may read nothing but its own folder where it gives up root, and so may what traces it."""
        user = ""
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = "User nobody\nGroup nogroup"
            self.folder.chmod(0o755)
            os.chown(self.state, nobody.pw_uid, nobody.pw_gid)
        (self.folder / "apache.conf").write_text(configuration.format(folder=self.folder, port=port, user=user))
        hidden = shutil.ignore_patterns("__pycache__", "local", "cli")
        shutil.copytree(ROOT / "src" / "apm_run", self.folder / "src" / "apm_run", ignore=hidden)
        shutil.copytree(ROOT / "bootstrap", self.folder / "bootstrap", ignore=hidden)
        if "APM_RUN_STATE_DIR" in self._env:
            self._env["APM_RUN_STATE_DIR"] = str(self.state)
            self._env["PYTHONPATH"] = str(self.folder / "bootstrap")
        self.port = port

    def _listens(self) -> bool:
        if not self.port:
            return super()._listens()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def signal(self, number: int) -> None:
        """To the process that was started."""
        self._process.send_signal(number)

    def number(self, number: int) -> str:
        """The pid of the process that has answered this request."""
        answer = self.ask("GET", f"/{number}")
        assert answer.status == 200, answer
        return answer.body.decode()

    def twenty(self) -> list[str]:
        """Who answered which request: ten in turn, then ten of which four are made at once.

        What the first ten reported has arrived before the others are made: at the end then no request to the receiver
        is under way, which whoever finds it unanswered would send again.
        """
        self._rest()
        found = [self.number(number) for number in range(_HALF)]
        if self._sink is not None:
            _wait(self._sink, _HALF)
            self._sink.wait_idle(0.05)
        if self.server.midway is not None:
            self.server.midway(self)
        with ThreadPoolExecutor(4) as pool:
            return [*found, *pool.map(self.number, range(_HALF, TWENTY))]

    def _rest(self) -> None:
        """Until its processes have done what they do at their start: told to end before, bare gevent workers stay."""
        before = None
        while before != (spent := [self._spent(pid) for pid in sorted(self.processes())]):
            before = spent
            time.sleep(0.2)

    def _spent(self, pid: int) -> list[str]:
        """The processor time of a process, of all its threads."""
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    def left(self) -> list[str]:
        """What lies in the outbox."""
        outbox = self.state / "outbox"
        return os.listdir(outbox) if outbox.is_dir() else []

    @property
    def log(self) -> list[str]:
        """Without what depends on time alone.

        That is also whether the lines of the last requests are written, and whether gunicorn's second signal finds a
        worker that has not quite ended.
        """
        chance = ('"GET /', "was sent SIGTERM!")
        return [line for line in super().log if not any(part in line for part in chance)]


class Outcome:
    """What a server did and what was received of it.

    :ivar transactions: arrived, 2 seconds after the end, and then after ``apm-run flush`` if that was ``flushed``.
    :ivar differences: what is not as it has to be.
    """

    def __init__(self) -> None:
        self.transactions = 0
        self.flushed = False
        self.differences: list[str] = []

    @property
    def good(self) -> bool:
        return not self.differences


def judge(python: str, way: str, folder: Path) -> Outcome:
    """Run one way to serve, bare and traced, on that interpreter; ``folder`` is for what it takes beside."""
    server, outcome = SERVERS[way], Outcome()
    if server.packages:
        python = _environment(python, folder, server.packages)
    with Serving(server, python, None) as served:
        served.twenty()
        status, log = served.end(), served.log
    with Sink() as sink, Serving(server, python, sink) as served:
        pids = served.twenty()
        ended = served.end()
        _wait(sink)
        if server.flushed and _requests(sink) < TWENTY:
            outcome.flushed = True
            served.flush()
            _wait(sink)
        sink.wait_idle()
        if ended != status:
            outcome.differences.append(f"exit status {status} bare, {ended} traced")
        outcome.differences += unified_diff(log, served.log, "bare", "traced", lineterm="", n=0)
        if served.left() and not server.flushed:
            outcome.differences.append(f"left in the outbox: {served.left()}")
        outcome.transactions = _requests(sink)
        outcome.differences += _wrong(sink, pids)
    return outcome


def _environment(python: str, folder: Path, packages: tuple[str, ...]) -> str:
    made = folder / "venv"
    subprocess.run([python, "-m", "venv", made], check=True)
    install = [made / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True, capture_output=True)
    return str(made / "bin" / "python")


def _requests(sink: Sink) -> int:
    return sum(transaction["type"] == "request" for transaction in sink.transactions)


def _wait(sink: Sink, count: int = TWENTY) -> None:
    until = time.monotonic() + 2
    while _requests(sink) < count and time.monotonic() < until:
        time.sleep(0.01)


def _wrong(sink: Sink, pids: list[str]) -> list[str]:
    """What is not as it has to be in what was received."""
    wrong = []
    ids = [event["id"] for _, event in sink.metadata if "id" in event]
    if len(ids) != len(set(ids)):
        wrong.append(f"{len(ids) - len(set(ids))} events came twice")
    others = [t["name"] for t in sink.transactions if t["type"] != "request"]
    if others:
        wrong.append(f"other transactions: {others}")
    found = [(metadata, event) for metadata, event in sink.metadata if event.get("type") == "request"]
    if len(found) != TWENTY:
        wrong.append(f"{len(found)} of {TWENTY} requests arrived")
    for metadata, transaction in found:
        number = int(transaction["context"]["request"]["url"]["pathname"].strip("/"))
        if pids[number] != str(metadata["process"]["pid"]):
            wrong.append(f"request {number} came as from process {metadata['process']['pid']}, not {pids[number]}")
    requests = {transaction["id"] for _, transaction in found}
    spans = [span for span in sink.spans if span["transaction_id"] in requests]
    if len(spans) != len(found):
        wrong.append(f"{len(spans)} spans for {len(found)} requests")
    return wrong
