"""Events for the tests of the receiver, and a client that speaks HTTP as plainly as possible."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from typing import Any

NDJSON = {"Content-Type": "application/x-ndjson", "Accept": "application/json"}
_ids = itertools.count(1)


def identity(length: int = 16) -> str:
    return f"{next(_ids):0{length}x}"


def metadata(service: str = "shop", **more: Any) -> dict[str, Any]:
    agent = {"name": "python", "version": "0.1.0"}
    facts = {"name": service, "agent": agent, "runtime": {"name": "CPython", "version": "3.11.7"}, **more}
    return {"metadata": {"service": facts}}


def transaction(name: str = "GET /", **more: Any) -> dict[str, Any]:
    event = {
        "id": identity(),
        "trace_id": identity(32),
        "name": name,
        "type": "request",
        "timestamp": time.time_ns() // 1000,
        "duration": 10.0,
        "outcome": "success",
        "span_count": {"started": 0},
    }
    return {"transaction": {**event, **more}}


def span(parent: dict[str, Any], name: str = "SELECT FROM items", **more: Any) -> dict[str, Any]:
    (above,) = parent.values()
    event = {
        "id": identity(),
        "trace_id": above["trace_id"],
        "parent_id": above["id"],
        "transaction_id": above.get("transaction_id", above["id"]),
        "name": name,
        "type": "db",
        "subtype": "sqlite",
        "timestamp": above["timestamp"] + 1000,
        "duration": 5.0,
        "outcome": "success",
    }
    return {"span": {**event, **more}}


def error(parent: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": identity(32),
        "timestamp": time.time_ns() // 1000,
        "exception": {"type": "ValueError", "message": "no"},
    }
    if parent is not None:
        (above,) = parent.values()
        event.update(
            trace_id=above["trace_id"],
            parent_id=above["id"],
            transaction_id=above.get("transaction_id", above["id"]),
        )
    return {"error": {**event, **more}}


def body(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, payload: Any = None, headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, payload, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def send(port: int, *lines: dict[str, Any]) -> Answer:
    return ask(port, "POST", "/intake/v2/events?verbose", body(*lines), NDJSON)
