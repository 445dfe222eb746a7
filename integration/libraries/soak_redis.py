"""A million commands of redis-py in one process: what the agent keeps of them must not grow.

    python integration/libraries/soak_redis.py [commands [bare|traced]]

Starts a Redis of its own, runs the same program bare and under the agent, two commands to a transaction, against a
server that takes everything, and prints the resident memory of both after each tenth.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from integration.services.redis import Redis  # noqa: E402
from tests.traced import BOOTSTRAP, environment  # noqa: E402

PROGRAM = """
import gc, sys, time
import redis

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def work(client, number):
    client.set("key", number)
    client.get("key")

if sys.argv[3] == "traced":
    import apm_run
    plain = work
    def work(client, number):
        with apm_run.start_transaction("work", "test"):
            plain(client, number)

client, total = redis.Redis(port=int(sys.argv[1])), int(sys.argv[2])
begin = time.perf_counter()
for tenth in range(10):
    for number in range(total // 20):
        work(client, number)
    gc.collect()
    print(f"{(tenth + 1) * 10:3} %  {resident():6.1f} MiB  {time.perf_counter() - begin:6.1f} s", flush=True)
"""


class Taking(BaseHTTPRequestHandler):
    """An APM Server that takes what comes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, b'{"version": "9.0.0"}')

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(202, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Run both, one after the other."""
    total = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}"
    with tempfile.TemporaryDirectory() as folder, Redis() as server:
        program = Path(folder, "program.py")
        program.write_text(PROGRAM, "utf-8")
        for how in sys.argv[2:] or ("bare", "traced"):
            print(how, flush=True)
            own = {"PYTHONPATH": str(BOOTSTRAP)} if how == "traced" else {}
            env = environment(ELASTIC_APM_SERVER_URL=url, **own)
            command = [sys.executable, str(program), str(server.port), total, how]
            subprocess.run(command, env={**env, "APM_RUN_STATE_DIR": folder}, check=True)


if __name__ == "__main__":
    main()
