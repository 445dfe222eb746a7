"""One program that leaves tasks, streams and generators half way in every manner, bare and launched."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.instrumentations.peer import peer
from tests.traced import bare, traced

PROGRAM = Path(__file__).with_name("async_program.py")
QUERY = "SELECT FROM sqlite_master [db/sqlite/query] success"
CALL = "GET 127.0.0.1 [external/http] success"


WORK = "  work [custom] success", f"    {QUERY}"
GONE = "  work [custom] unknown"
FAILED = "  work [custom] failure", f"    {QUERY}"
EXPECTED = {
    "left_early": (
        "  rows [custom] success",
        "    inside [custom] success",
        *[f"      {QUERY}"] * 2,
        f"  {QUERY}",
    ),
    "streams": (*[f"  {CALL}"] * 2, f"  {QUERY}"),
    "cancelled": (GONE, *WORK, GONE, *WORK),
    "groups": (*((GONE, GONE, *FAILED, GONE) if sys.version_info >= (3, 11) else ()), GONE, GONE),
    "threads": (
        "  block [custom] success",
        *[f"    {QUERY}"] * 2,
        *[f"  {line}" for line in WORK],
        *[f"    {QUERY}"] * 2,
    ),
    "left_behind": ("  plain [custom] success", f"  {QUERY}"),
    "async_program.py": (
        "  rows [custom] success",
        "    inside [custom] success",
        f"      {QUERY}",
        GONE,
    ),
}


def test_as_bare_and_each_span_in_its_place(sink, tmp_path):
    log = tmp_path / "log"
    with peer() as server:
        command = ("python", "-W", "always", PROGRAM, server.url)
        expected = bare(*command)
        options = {"ELASTIC_APM_LOG_LEVEL": "warning", "ELASTIC_APM_LOG_FILE": str(log)}
        done = traced(*command, url=sink.url, env=options)
    assert (expected.returncode, expected.stderr, expected.stdout.splitlines()[-1]) == (0, "", "end")
    assert "complaint" not in expected.stdout
    assert (done.returncode, done.stdout, done.stderr) == (0, expected.stdout, "")
    assert not log.exists(), log.read_text()
    found = {transaction["name"]: sink.tree(transaction["trace_id"]) for transaction in sink.transactions}
    kinds = {name: "script" if name.endswith(".py") else "part" for name in EXPECTED}
    assert found == {name: "\n".join((f"{name} [{kinds[name]}] success", *lines)) for name, lines in EXPECTED.items()}
    assert sink.errors == []
