"""What a request and a query cost, in bytecodes: no time is measured, so that a busy machine says the same.

The bounds are about a fifth above what was counted when they were set; `make bench` measures times.
"""

from __future__ import annotations

import pytest
from tests.servers import Server
from tests.traced import BOOTSTRAP, ROOT, bare, traced

PROGRAM = ROOT / "benchmarks" / "programs" / "counting.py"


@pytest.mark.parametrize(
    ("case", "count", "bound"),
    [("plain", 50, 3600), ("raising", 50, 7200), ("script", 500, 830), ("flask", 50, 11_600)],
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


BUSY = """
import os, signal, sys, time
import apm_run

made, until = 0, time.perf_counter() + 4
while time.perf_counter() < until:
    with apm_run.start_transaction("busy"):
        pass
    made += 1
print(made, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_that_never_waits_does_not_hold_up_what_is_sent(tmp_path):
    """Every system call of the agent thread costs it its turn for 5 ms: one for each event would be far too many."""
    with Server() as server:
        options = {"PYTHONPATH": f"{BOOTSTRAP}:{ROOT / 'src'}", "APM_RUN_STATE_DIR": str(tmp_path)}
        run = traced("python", "-c", BUSY, url=server.url, env=options)
        assert run.returncode == -9, run.stderr
        made, sent = int(run.stdout), len(server.events)
    print(f"{sent} of {made} sent before the end")
    assert sent > made / 3
