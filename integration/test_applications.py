"""Whole applications of the package index, as they are: they start, answer and end as without us, and are traced."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import threading

import pytest
from integration.services import PACKAGES, packaged
from tests.instrumentations.served import Served
from tests.receiver import Sink

PATHS = (
    "/",
    "/shop",
    "/shop/items?_sort=price&_size=2",
    "/shop/items/3.json",
    "/shop.json?sql=select+count(*)+as+n+from+items",
    "/shop.json?sql=select+*+from+missing",
    "/shop/items.csv?_stream=1",
    "/nowhere",
    "/-/versions.json",
)


class Datasette(Served):
    """Datasette, which is served by uvicorn and reads its databases in threads of its own."""

    def __init__(self, sink=None):
        super().__init__("-m", "datasette", "serve", "shop.db", "--port", "0", sink=sink)
        packaged("datasette/__init__.py")
        self.command[0] = str(PACKAGES / "bin" / "python")
        with sqlite3.connect(self.folder / "shop.db") as database:
            database.execute("create table items (id integer primary key, name text, price integer)")
            database.executemany("insert into items (name, price) values (?, ?)", [(f"i{i}", i) for i in range(9)])
        database.close()

    def stop(self):
        """End it by Ctrl-C, as its user does; its exit code."""
        os.kill(self._process.pid, signal.SIGINT)
        return self._process.wait(20)


def answers(served):
    """What each page is, without what differs each time."""
    found = []
    for path in PATHS:
        answer = served.ask("GET", path)
        body = re.sub(rb"\d+\.\d+( ?ms)?|" + str(served.port).encode(), b"N", answer.body)
        headers = sorted((name, value) for name, value in answer.headers if name != "content-length")
        found.append((path, answer.status, headers, body))
    return found


def test_datasette_is_as_bare():
    with Datasette() as served:
        expected = answers(served)
        code, bare = served.stop(), served.log
    assert [status for _, status, _, _ in expected] == [200, 200, 200, 200, 200, 400, 200, 404, 200]
    with Sink() as sink, Datasette(sink) as served:
        assert answers(served) == expected
        assert served.stop() == code
        assert served.log == bare


@pytest.fixture
def served():
    with Sink() as sink, Datasette(sink) as served:
        yield served


def test_datasette_is_traced(served):
    answer, trace = served.trace("GET", "/shop/items?_sort=price&_size=2")
    assert answer.status == 200
    assert trace.transaction["outcome"] == "success"
    assert trace.transaction["context"]["request"]["url"]["pathname"] == "/shop/items"
    served.wait(lambda: len(trace.spans) > 3)
    assert {(span["type"], span["subtype"]) for span in trace.spans} == {("db", "sqlite")}
    assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}
    assert "SELECT FROM items" in {span["name"] for span in trace.spans}
    answer, trace = served.trace("GET", "/shop.json?sql=select+*+from+missing")
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "no such table: missing"
    assert trace.transaction["result"] == "HTTP 4xx"
    served.wait(lambda: [span for span in trace.spans if span["outcome"] == "failure"])


def test_datasette_under_load(served):
    """Each request's statements are its own, whichever thread runs them."""
    traces, threads = [], []

    def ask(number):
        traces.append((number, served.trace("GET", f"/shop/items/{number}.json")))

    for number in range(1, 9):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(traces) == 8
    for number, (answer, trace) in traces:
        assert json.loads(answer.body)["rows"][0][0] == number
        assert len(trace.transactions) == 1
        assert len([span for span in trace.spans if "items" in span["name"]]) >= 1
