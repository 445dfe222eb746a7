"""What the tests of the SQL drivers share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.receiver import Sink
from tests.traced import bare, traced

HERE = Path(__file__).parent


def whole(
    name: str,
    subtype: str,
    statement: str | None,
    *,
    instance: str = "postgres",
    user: str = "postgres",
    action: str = "query",
    outcome: str = "success",
    rows: int | None = None,
    sync: bool = True,
) -> dict[str, Any]:
    """A span of a statement as a snapshot has it."""
    db: dict[str, Any] = {"type": "sql", "instance": instance, "user": user}
    if statement is not None:
        db["statement"] = statement
    if rows is not None:
        db["rows_affected"] = rows
    return {
        "name": name,
        "type": "db",
        "subtype": subtype,
        "action": action,
        "outcome": outcome,
        "sync": sync,
        "sample_rate": 1.0,
        "context": {
            "db": db,
            "destination": {
                "address": "127.0.0.1",
                "port": 9999,
                "service": {"resource": f"{subtype}/{instance}", "name": "", "type": ""},
            },
            "service": {"target": {"type": subtype, "name": instance}},
        },
    }


def facts(recorder: Any) -> list[tuple[Any, ...]]:
    """Name, outcome and statement of each span; those that took long have stack traces, which are no matter here."""
    return [(span["name"], span["outcome"], span["context"]["db"].get("statement")) for span in recorder.spans]


def fast(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the stack traces that a busy machine makes them have."""
    return [{key: value for key, value in span.items() if key != "stacktrace"} for span in spans]


def same_program(name: str, sink: Sink, *args: Any) -> list[dict[str, Any]]:
    """Run a program of this folder bare and traced: it says the same; the spans that came of it."""
    alone = bare("python", HERE / name, *args)
    assert alone.returncode == 0, alone.stderr
    with_us = traced("python", HERE / name, *args, url=sink.url)
    assert _stable(with_us.stdout + with_us.stderr) == _stable(alone.stdout + alone.stderr)
    assert with_us.returncode == 0
    sink.wait(lambda sink: sink.transactions)
    return sorted(sink.spans, key=lambda span: span["timestamp"])


def _stable(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)
