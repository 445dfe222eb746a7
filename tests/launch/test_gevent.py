"""``gevent.monkey.patch_all()`` first, late or never: traced, delivered, and nothing of gevent's is disturbed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.traced import bare, traced

pytest.importorskip("gevent", reason="gevent is not installed")

PATCH = "from gevent import monkey; monkey.patch_all()"
PROGRAM = """
import warnings; warnings.simplefilter("error")
{first}
import sqlite3, sys, threading, urllib.request
{late}
def work(number):
    sqlite3.connect(":memory:").execute("select 1")
    with urllib.request.urlopen(sys.argv[1] + str(number)) as answer:
        answer.read()
workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print("done")
"""


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("first", "late"), [(PATCH, ""), ("", PATCH), ("", "")], ids=["first", "late", "never"])
def test_patched(server, sink, tmp_path, first, late):
    program = PROGRAM.format(first=first, late=late)
    expected = bare("python", "-c", program, server)
    env = {"APM_RUN_STATE_DIR": str(tmp_path)}
    found = traced("python", "-c", program, server, url=sink.url, env=env)
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
    assert found.stdout == "done\n"
    sink.wait(lambda events: events.transactions)
    names = sorted(span["name"] for span in sink.spans)
    assert names == ["GET 127.0.0.1"] * 4 + ["SELECT"] * 4
