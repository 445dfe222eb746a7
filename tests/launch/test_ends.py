"""Ways to end (design 5a, "Ends"): ten requests were made, ten arrive, each once, and the end is as bare."""

from __future__ import annotations

import re
import sys

import pytest
from tests.launch.endings import ENDS, TEN, judge
from tests.traced import bare, traced


@pytest.mark.parametrize("way", ENDS)
def test_the_end(way, tmp_path):
    found = judge(sys.executable, way, tmp_path)
    assert found.differences == []
    assert found.transactions == TEN


FINALIZER = """
import sqlite3
class Late:
    run, say = sqlite3.connect(":memory:").execute, print
    def __del__(self):
        rows = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 300000) select count(*) from n"
        self.say(self.run(rows).fetchall())
late = Late()
"""


def test_a_finalizer_that_calls_what_is_traced(tmp_path):
    """It runs while the interpreter is taken down: a slow call's stack would want another import."""
    expected, found = (run("python", "-c", FINALIZER, cwd=tmp_path) for run in (bare, traced))
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert _anonymous(found.stderr) == _anonymous(expected.stderr)


def _anonymous(text):
    return re.sub("0x[0-9a-f]+", "ADDRESS", text)
