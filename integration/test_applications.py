"""Real applications as they come from the package index: under ``apm-run`` as bare, and traced sensibly.

A web application over SQLite in threads, an index of packages that brings its own web server, and a command line
client. None of them knows of us: they live in the environment of ``make services``, the agent in another.
"""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from integration.services import free_port, packaged
from tests.receiver import Sink
from tests.traced import environment

APM_RUN = Path(sys.executable).with_name("apm-run")


def started(words: list[str], folder: Path, sink: Sink | None) -> subprocess.Popen:
    env = environment(HOME=str(folder), PYTHONUNBUFFERED="1", PYTHONHASHSEED="0")
    if sink is not None:
        words = [str(APM_RUN), *words]
        env.update(ELASTIC_APM_SERVER_URL=sink.url, APM_RUN_STRICT="1")
    with open(folder / "out", "wb") as out:
        return subprocess.Popen(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: object) -> None:
        return None


def answer(port: int, path: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stays())
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def served(words: list[str], port: int, paths: list[str], folder: Path, sink: Sink | None, stop: int) -> list[object]:
    """Start a server, ask it for some paths, stop it: what it has answered, its exit code, what it has written."""
    folder.mkdir(exist_ok=True)
    process = started(words, folder, sink)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        found: list[object] = [plain(*answer(port, path)) for path in paths]
        if sink is not None:
            sink.wait(lambda sink: len(requests(sink)) >= len(paths))
        process.send_signal(stop)
        found.append(process.wait(30))
    finally:
        process.kill()
        process.wait()
    written = (folder / "out").read_text()
    # Neither numbers nor how wide a box is drawn around them.
    return [*found, re.sub(r"[\s\u2500-\u257f]+", " ", re.sub(r"0x[0-9a-f]+|\d+", "#", written))]


def plain(status: int, body: bytes) -> tuple[int, str]:
    """An answer without what differs each time: how long queries took, tokens."""
    text = re.sub(r'"query_ms": [\d.]+|Queries took [\d.]+ms|csrftoken[^>]+|:\d{4,5}', "#", body.decode())
    return status, text


def compared(words: list[str], paths: list[str], tmp_path: Path, sink: Sink, stop: int) -> Counter[str]:
    """The names of its transactions, once it has behaved as bare."""
    port = free_port()
    words = [word.format(port=port) for word in words]
    bare = served(words, port, paths, tmp_path / "bare", None, stop)
    traced = served(words, port, paths, tmp_path / "traced", sink, stop)
    for one, other in zip(traced, bare):
        assert one == other
    # What a program does before it serves is a transaction too, where it takes long.
    return Counter(found["name"] for found in requests(sink))


def requests(sink: Sink) -> list[dict]:
    return [found for found in sink.transactions if found["type"] == "request"]


@pytest.mark.timeout(180)
def test_datasette(tmp_path, sink):
    """ASGI by uvicorn, queries in threads of its own."""
    database = tmp_path / "shop.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table items (id integer primary key, name text)")
        connection.executemany("insert into items values (?, ?)", [(number, f"item {number}") for number in range(50)])
    words = [packaged("datasette"), str(database), "--port", "{port}"]
    paths = ["/", "/shop/items", "/shop/items/3.json", "/shop/items.csv", "/shop/none", "/-/versions.json"]
    names = compared(words, paths, tmp_path, sink, signal.SIGINT)
    assert sum(names.values()) == len(paths)
    by_path = {found["context"]["request"]["url"]["pathname"]: found for found in requests(sink)}
    assert by_path["/shop/none"]["result"] == "HTTP 4xx"
    assert {found["outcome"] for found in sink.transactions} == {"success"}
    rows = [span for span in sink.spans if span["transaction_id"] == by_path["/shop/items"]["id"]]
    assert {(span["type"], span["subtype"]) for span in rows} == {("db", "sqlite"), ("template", "jinja2")}
    assert any(span["name"] == "SELECT FROM items" for span in rows)


@pytest.mark.timeout(180)
def test_pypiserver(tmp_path, sink):
    """A WSGI application with the server that it brings along."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "acme-1.0.tar.gz").write_bytes(b"sdist")
    words = [packaged("pypi-server"), "run", "-i", "127.0.0.1", "-p", "{port}", str(tmp_path / "packages")]
    paths = ["/", "/simple/", "/simple/acme/", "/packages/acme-1.0.tar.gz", "/simple/none", "/health"]
    names = compared(words, paths, tmp_path, sink, signal.SIGTERM)
    assert sum(names.values()) == len(paths)
    results = Counter(found["result"] for found in requests(sink))
    assert results.keys() <= {"HTTP 2xx", "HTTP 3xx", "HTTP 4xx"}
    assert sink.errors == []


def test_httpie(tmp_path, sink):
    """A program that asks something and ends: it is one transaction itself."""
    target = f"{sink.url}/"
    words = [packaged("http"), "--ignore-stdin", "--body", target]
    found = []
    for each in (None, sink):
        folder = tmp_path / str(each is None)
        config = folder / ".config" / "httpie" / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text('{"disable_update_warnings": true}')
        process = started(words, folder, each)
        assert process.wait(60) == 0
        found.append((folder / "out").read_text())
    assert found[0] == found[1] != ""
    sink.wait(lambda sink: sink.transactions)
    (transaction,) = sink.transactions
    assert (transaction["name"], transaction["type"], transaction["outcome"]) == ("http", "script", "success")
    assert sink.tree() == "http [script] success\n  GET 127.0.0.1 [external/http] success"
