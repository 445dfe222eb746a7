"""What a request and a query cost, in bytecodes: no time is measured, so that a busy machine says the same.

The bounds are about a fifth above what was counted when they were set; `make bench` measures times.
"""

from __future__ import annotations

import pytest
from tests.servers import Server
from tests.traced import ROOT, bare, traced

PROGRAM = ROOT / "benchmarks" / "programs" / "counting.py"


@pytest.mark.parametrize(
    ("case", "count", "bound"),
    [("plain", 50, 4200), ("raising", 50, 8000), ("script", 500, 900), ("flask", 50, 13_200)],
)
def test_bytecodes_added(case, count, bound):
    """Of one request of Flask's, empty or failing, of one sqlite3 query, and of a request with five and a call."""
    with Server() as server:
        words = ("python", PROGRAM, case, count, f"{server.url}/target")
        options = {
            "PYTHONHASHSEED": "0",
            # Counting is slow, and nothing here is to be found slow by it.
            "ELASTIC_APM_SPAN_STACK_TRACE_MIN_DURATION": "-1ms",
            "ELASTIC_APM_SPAN_COMPRESSION_EXACT_MATCH_MAX_DURATION": "10s",
            # As users have it: tests in general see each span by itself.
            "ELASTIC_APM_SPAN_COMPRESSION_ENABLED": "true",
            "ELASTIC_APM_BREAKDOWN_METRICS": "true",
        }
        found = []
        for run in (bare(*words, env=options), traced(*words, url=server.url, env=options)):
            assert run.returncode == 0, run.stderr
            found.append(int(run.stdout.splitlines()[-1]) / count)
    added = found[1] - found[0]
    print(f"{case}: {added:.0f} more than {found[0]:.0f}")
    assert 0 < added < bound
