"""The life of a receiver: start, port, store, summary, end."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from tests.local.traffic import ask, error, metadata, send, span, transaction

from apm_run.local import LocalExtraMissing
from apm_run.local.server import Receiver, listen


def test_the_next_free_port_is_taken():
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    try:
        with Receiver(port=port) as receiver:
            assert receiver.port > port
            assert receiver.url == f"http://127.0.0.1:{receiver.port}"
            assert ask(receiver.port, "GET", "/").status == 200
    finally:
        taken.close()


def test_when_no_port_can_be_had():
    with pytest.raises(OSError):
        listen("127.0.0.1", 70_000)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_only_loopback_is_listened_on(host):
    with pytest.raises(ValueError, match="loopback address only"):
        Receiver(host=host)


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Receiver(host="::1", port=0) as receiver:
        assert receiver.url == f"http://[::1]:{receiver.port}"
        with socket.create_connection(("::1", receiver.port), timeout=10) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: [::1]:{receiver.port}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_start_does_not_wait_for_the_server():
    code = (
        "import sys, time; from apm_run.local.server import Receiver; before = time.perf_counter()\n"
        "receiver = Receiver(port=0); receiver.start(); print(time.perf_counter() - before)\n"
        "receiver.wait_ready(); receiver.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 0.2


def test_the_summary():
    with Receiver(port=0) as receiver:
        assert receiver.summary() == {"services": {}, "rejected": 0, "reasons": {}}
        failed = transaction(outcome="failure")
        send(receiver.port, metadata("shop"), failed, span(failed), error(failed), transaction())
        send(receiver.port, metadata("prices"), transaction(), {"metricset": {"samples": {"a": {"value": 1}}}})
        send(receiver.port, metadata("shop"), {"log": {"message": "m"}}, {"tennis": 1})
        summary = receiver.summary()
        zero = dict.fromkeys(("transactions", "spans", "errors", "failures", "metricsets", "logs"), 0)
        assert summary["services"] == {
            "shop": {**zero, "transactions": 2, "spans": 1, "errors": 1, "failures": 1, "logs": 1},
            "prices": {**zero, "transactions": 1, "metricsets": 1},
        }
        assert (summary["rejected"], summary["reasons"]) == (1, {'did not recognize object type: "tennis"': 1})


def test_wait_idle():
    with Receiver(port=0) as receiver:
        assert receiver.wait_ready()
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
            connection.sendall(
                f"POST /intake/v2/events HTTP/1.1\r\nHost: localhost:{receiver.port}\r\n"
                "Content-Length: 5\r\n\r\n".encode()
            )
            while receiver.wait_idle(0, 0):
                time.sleep(0.01)
            assert not receiver.wait_idle(0, 0.1)
            connection.sendall(b"     ")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
            before = time.monotonic()
            assert receiver.wait_idle(0.2, 5)
            assert time.monotonic() - before < 2
            assert not receiver.wait_idle(60, 0.05)


def test_a_temporary_store_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Receiver(port=0) as receiver:
        send(receiver.port, metadata(), transaction())
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
    receiver.close()


def test_a_named_store_stays(tmp_path):
    path = tmp_path / "events.sqlite"
    with Receiver(port=0, store_path=str(path)) as receiver:
        send(receiver.port, metadata(), transaction("first"))
    assert path.stat().st_mode & 0o077 == 0
    with Receiver(port=0, store_path=str(path)) as receiver:
        send(receiver.port, metadata(), transaction("second"))
        (service,) = ask(receiver.port, "GET", "/api/services").json
        assert service["count"] == 2
        assert receiver.summary()["services"]["shop"]["transactions"] == 1


def test_an_accepted_event_survives_a_kill(tmp_path):
    path = tmp_path / "events.sqlite"
    code = (
        "import sys; from apm_run.local.server import Receiver\n"
        f"receiver = Receiver(port=0, store_path={str(path)!r}); receiver.start()\n"
        "print(receiver.port, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert send(int(process.stdout.readline()), metadata(), transaction()).status == 202
    finally:
        process.kill()
        process.communicate(timeout=30)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM transactions").fetchone() == (1,)
    connection.close()


def test_a_foreign_file_is_left_alone(tmp_path):
    for content in (b"some text of the user, long enough to be no SQLite header at all" * 40, None):
        path = tmp_path / f"{content is None}"
        if content is None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE theirs (a)")
            connection.close()
            content = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match="is not a store of apm-run"):
            Receiver(port=0, store_path=str(path)).start()
        assert path.read_bytes() == content


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(
        "apm_run.local.server.find_spec",
        lambda name: None if name == "uvicorn" else importlib.util.find_spec(name),
    )
    with pytest.raises(LocalExtraMissing) as caught:
        Receiver()
    assert str(caught.value) == "the local receiver needs uvicorn: pip install 'apm-run[local]'"


def test_a_server_that_cannot_load_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "apm_run.local.serving", None)
    receiver = Receiver(port=0)
    receiver.start()
    with pytest.raises(RuntimeError, match="could not start"):
        receiver.wait_ready()
    receiver.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_alone_ends_cleanly(number, tmp_path):
    code = "from apm_run.local.serve import serve; raise SystemExit(serve(port=0))"
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stderr.readline()
        port = int(line.split("127.0.0.1:")[1].split()[0])
        assert send(port, metadata(), transaction()).status == 202
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait(30)
    assert (process.returncode, rest) == (0, "")
    assert line.startswith("apm-run: receiving on http://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


def test_what_waited_for_the_server_to_load_counts_as_busy():
    receiver = Receiver(port=0)
    try:
        # The quiet before requests could be answered is no sign that none is coming.
        time.sleep(0.3)
        receiver.start()
        assert receiver.wait_ready()
        assert not receiver.wait_idle(0.3, 0)
    finally:
        receiver.close()
