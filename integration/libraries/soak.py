"""A million calls of a library in transactions: the memory of the process stays as it is.

    python integration/libraries/soak.py sqlite3 psycopg2 [--calls 1000000]

A library takes part with a program of its own in :data:`WORK`: it is given the number of calls, and says ``warm`` on a
line of its own once it has made a tenth of them. From there on the memory is looked at.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from integration.services.postgres import Postgres  # noqa: E402
from tests.traced import BOOTSTRAP, environment  # noqa: E402

#: How much more resident memory the last third may have than the one before it, in KiB.
ROOM = 1024


class Receiver(BaseHTTPRequestHandler):
    """Takes everything, keeps nothing but the number of events of each kind."""

    protocol_version = "HTTP/1.1"
    counted: Counter[str] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])) if self.headers["Content-Length"] else self.chunks()
        kind = self.headers.get("Content-Encoding")
        body = gzip.decompress(body) if kind == "gzip" else zlib.decompress(body) if kind == "deflate" else body
        for line in body.splitlines():
            self.counted[line[2:8].partition(b'"')[0].decode()] += 1
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self) -> None:
        body = b'{"version": "8.17.0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _postgres(stack: ExitStack) -> tuple[str, ...]:
    return (stack.enter_context(Postgres()).dsn,)


#: Library -> its program, and what it is given besides the number of calls.
WORK: dict[str, tuple[str, Callable[[ExitStack], tuple[str, ...]]]] = {
    "sqlite3": ("soak_sql.py", lambda _: ("sqlite3", ":memory:")),
    "psycopg2": ("soak_sql.py", lambda stack: ("psycopg2", *_postgres(stack))),
}


def main() -> int:
    """Run the programs of the given libraries; 0 where none has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", nargs="+", choices=sorted(WORK))
    parser.add_argument("--calls", type=int, default=1_000_000)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    grown = 0
    for library in arguments.libraries:
        program, given = WORK[library]
        with ExitStack() as stack:
            words = (program, str(arguments.calls), *given(stack))
            for traced in (False, True):
                grown += soak(library, words, f"http://127.0.0.1:{server.server_port}" if traced else None)
    return 1 if grown else 0


def soak(library: str, words: tuple[str, ...], url: str | None) -> bool:
    """Run a program to its end, traced where there is a server; whether its memory has grown."""
    Receiver.counted.clear()
    env = environment()
    if url:
        env.update(PYTHONPATH=str(BOOTSTRAP), APM_RUN_STRICT="1", ELASTIC_APM_SERVER_URL=url)
    began = time.monotonic()
    program = [sys.executable, str(Path(__file__).with_name(words[0])), *words[1:]]
    with subprocess.Popen(program, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "warm\n", "it says nothing"
        seen = []
        while process.poll() is None:
            seen.append(resident(process.pid))
            time.sleep(0.05)
    took = time.monotonic() - began
    seen = [one for one in seen[:-5] if one]  # what it frees at its end is no matter
    assert len(seen) > 10, "too short to be measured: more calls"
    third = len(seen) // 3
    middle, last = (statistics.median(part) for part in (seen[third : 2 * third], seen[2 * third :]))
    grown = process.returncode != 0 or last > middle + ROOM
    arrived = ", ".join(
        f"{Receiver.counted[kind]:,} {name}" for kind, name in (("transa", "transactions"), ("span", "spans"))
    )
    print(
        f"{library} {'traced' if url else 'bare'}: {took:.0f} s, exit {process.returncode}; resident memory "
        f"{seen[0] / 1024:.1f} MiB once warm, {middle / 1024:.1f} in the second third, {last / 1024:.1f} in the last, "
        f"at most {max(seen) / 1024:.1f}" + (f"; arrived: {arrived}" if url else "") + (" GROWN" if grown else ""),
        flush=True,
    )
    return grown


def resident(pid: int) -> int:
    """KiB of a process that are in memory, without the files it has mapped; 0 where it is gone.

    The outbox is such files: how many of its segments there are at a time depends on how busy the machine is.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    sys.exit(main())
