"""The ways to end: what each program does after its first lines, and what has to be found afterwards.

``python integration/launch_matrix.py`` runs all of them on all interpreters, ``test_ends.py`` on the one it has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.receiver import Sink
from tests.traced import BOOTSTRAP, ROOT, environment

#: What every program begins with. Each request says in its path which process made it.
HEAD = """\
import os, signal, sys, time
sys.path.append({root!r})
from tests.launch.ending import requests
def work(number=0):
    print("worked", flush=True)
    requests(number, {each})
"""

TEN = 10
ONE = 1
_MAIN = "if __name__ == '__main__':\n"


def _multiprocessing(method: str) -> str:
    return (
        f"{_MAIN}    import multiprocessing\n    context = multiprocessing.get_context({method!r})\n"
        "    child = context.Process(target=work)\n    child.start()\n    child.join()\n    print(child.exitcode)\n"
    )


def _pool(make: str, each: str = "list(pool.map(work, range(10)))") -> str:
    return f"{_MAIN}    {make} as pool:\n        {each}\n    print('pool')\n"


_FORK = "child = os.fork()\nif not child:\n{}\nprint(os.waitpid(child, 0)[1])\n"
_BUSY = """\
import threading
stop = threading.Event()
def turn():
    while not stop.is_set():
        os.getpid()
threads = [threading.Thread(target=turn) for _ in range(4)]
for thread in threads:
    thread.start()
"""


class End:
    """One way to end.

    :ivar source: what the program does; :data:`HEAD` stands before it. :ivar each: requests per call of ``work``.
    :ivar flushed: whether ``apm-run flush`` may be needed, as nobody is left to send.
    """

    def __init__(self, source: str, each: int = TEN, flushed: bool = False) -> None:
        self.source = HEAD.format(root=str(ROOT), each=each) + source
        self.flushed = flushed


def _signal(name: str) -> str:
    return f"work()\nos.kill(os.getpid(), signal.{name})\ntime.sleep(60)\n"


#: Way -> what it is.
ENDS: dict[str, End] = {
    "return": End("work()\n"),
    "sys.exit(0)": End("work()\nsys.exit(0)\n"),
    "sys.exit(3)": End("work()\nsys.exit(3)\n"),
    "sys.exit('message')": End("work()\nsys.exit('message')\n"),
    "uncaught exception": End("work()\nraise ValueError('gone')\n"),
    "SIGINT": End(_signal("SIGINT")),
    "SIGTERM": End(_signal("SIGTERM"), flushed=True),
    "SIGHUP": End(_signal("SIGHUP"), flushed=True),
    "SIGKILL": End(_signal("SIGKILL"), flushed=True),
    "SIGTERM, handler with sys.exit": End(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nwork()\nos.kill(os.getpid(), 15)\ntime.sleep(60)\n"
    ),
    "SIGTERM, handler with os._exit": End(
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(5))\nwork()\nos.kill(os.getpid(), 15)\ntime.sleep(60)\n"
    ),
    "signal.raise_signal(SIGTERM)": End("work()\nsignal.raise_signal(signal.SIGTERM)\ntime.sleep(60)\n"),
    "os._exit": End("work()\nos._exit(4)\n"),
    "os.execv": End("work()\nos.execv('/bin/echo', ['echo', 'other'])\n"),
    "os.execvp": End("work()\nos.execvp('echo', ['echo', 'other'])\n"),
    "os.execve of a Python": End("work()\nos.execve(sys.executable, [sys.executable, '-c', 'print(1)'], os.environ)\n"),
    "os.abort": End("work()\nos.abort()\n", flushed=True),
    "fork, child by sys.exit": End(_FORK.format("    work()\n    sys.exit(2)")),
    "fork, child by os._exit": End(_FORK.format("    work()\n    os._exit(2)")),
    "fork, both work": End("work()\n" + _FORK.format("    work()\n    os._exit(0)"), each=5),
    "fork with busy threads": End(_BUSY + _FORK.format("    work()\n    os._exit(0)") + "stop.set()\n"),
    "multiprocessing fork": End(_multiprocessing("fork")),
    "multiprocessing spawn": End(_multiprocessing("spawn")),
    "multiprocessing forkserver": End(_multiprocessing("forkserver")),
    "Pool(maxtasksperchild=1)": End(
        _pool("import multiprocessing\n    with multiprocessing.get_context('fork').Pool(2, maxtasksperchild=1)"), ONE
    ),
    "Pool": End(_pool("import multiprocessing\n    with multiprocessing.get_context('fork').Pool(2)"), ONE),
    "ProcessPoolExecutor": End(
        _pool("from concurrent.futures import ProcessPoolExecutor\n    with ProcessPoolExecutor(2)"), ONE
    ),
    "ThreadPoolExecutor": End(
        _pool("from concurrent.futures import ThreadPoolExecutor\n    with ThreadPoolExecutor(4)"), ONE
    ),
    "daemon threads": End(
        "import threading\n"
        "def serve():\n    work()\n    done.set()\n    time.sleep(60)\n"
        "done = threading.Event()\nthreading.Thread(target=serve, daemon=True).start()\ndone.wait()\n"
    ),
    "requests in atexit": End("import atexit\natexit.register(work)\n"),
}


class Outcome:
    """What a program did and what was received of it."""

    def __init__(self, done: subprocess.CompletedProcess[bytes], bare: subprocess.CompletedProcess[bytes]) -> None:
        self.differences = [
            f"{name}: {getattr(bare, name)!r} bare, {getattr(done, name)!r} traced"
            for name in ("returncode", "stdout", "stderr")
            if _told(getattr(bare, name)) != _told(getattr(done, name))
        ]
        #: Arrived, 2 seconds after the end, and then after ``apm-run flush``.
        self.transactions = 0
        self.flushed = False

    @property
    def good(self) -> bool:
        return not self.differences


def _told(value: Any) -> Any:
    """Without the pid that Python 3.12 and newer name in a warning."""
    return re.sub(rb"\(pid=\d+\)", b"(pid=...)", value) if isinstance(value, bytes) else value


def judge(python: str, way: str, folder: Path) -> Outcome:
    """Run one way to end, bare and traced, on that interpreter."""
    end = ENDS[way]
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "program.py"
    script.write_text(end.source)
    env = environment(APM_RUN_STATE_DIR=str(folder / "state"))
    how: dict[str, Any] = {"capture_output": True, "timeout": 60, "check": False, "cwd": folder}
    bare = subprocess.run([python, str(script)], env=env, **how)
    with Sink() as sink:
        own = {"PYTHONPATH": str(BOOTSTRAP), "APM_RUN_STRICT": "1", "ELASTIC_APM_SERVER_URL": sink.url}
        outcome = Outcome(subprocess.run([python, str(script)], env={**env, **own}, **how), bare)
        _wait(sink, time.monotonic() + 2)
        if end.flushed and _requests(sink) < TEN:
            outcome.flushed = True
            flush = [sys.executable, "-m", "apm_run", "flush", "--server-url", sink.url]
            said = subprocess.run(flush, env=env, **how)
            if said.returncode:
                outcome.differences.append(said.stdout.decode() + said.stderr.decode())
            _wait(sink, time.monotonic() + 2)
        sink.wait_idle()
        outcome.transactions = _requests(sink)
        outcome.differences += _wrong(sink)
        left = os.listdir(folder / "state" / "outbox") if (folder / "state" / "outbox").is_dir() else []
        if left and not end.flushed:
            outcome.differences.append(f"left in the outbox: {left}")
    return outcome


def _requests(sink: Sink) -> int:
    return sum(transaction["type"] == "request" for transaction in sink.transactions)


def _wait(sink: Sink, until: float) -> None:
    while _requests(sink) < TEN and time.monotonic() < until:
        time.sleep(0.01)


def _wrong(sink: Sink) -> list[str]:
    """What is not as it has to be in what was received."""
    wrong = []
    ids = [event["id"] for _, event in sink.metadata]
    if len(ids) != len(set(ids)):
        wrong.append(f"{len(ids) - len(set(ids))} events came twice")
    requests = {t["id"]: metadata["process"]["pid"] for metadata, t in sink.metadata if t.get("type") == "request"}
    said = {t["id"]: t["context"]["request"]["url"]["pathname"] for t in sink.transactions if t["type"] == "request"}
    if len(requests) != TEN:
        wrong.append(f"{len(requests)} of {TEN} requests arrived")
    wrong += [
        f"{said[id]} came as from process {pid}" for id, pid in requests.items() if said[id].split("/")[1] != str(pid)
    ]
    spans = [span for span in sink.spans if span["transaction_id"] in requests]
    if len(spans) != len(requests):
        wrong.append(f"{len(spans)} spans for {len(requests)} requests")
    return wrong
