from __future__ import annotations

import os

from tests.unit.export.support import lines, outbox, stamp, waiting

from apm_run.export import leftovers


def test_a_batch_that_ends_with_a_segment_does_not_touch_the_next(tmp_path):
    dead = stamp(start=1)
    made = outbox(tmp_path, stamp=dead)
    for number in range(100):
        made.put(lines(number, size=1000), 1)
    first, second = made.segments
    made.close()
    (left,) = leftovers.find(str(tmp_path), dead, set())
    batch = left.batch()
    sent = sum(events for _, (_, events) in zip(range(first.waiting), batch))
    batch.close()
    left.advance(sent)
    left.unpin()
    assert (sent, left.waiting) == (first.waiting, second.waiting)
    assert [path.name for path in tmp_path.iterdir()] == [os.path.basename(second.path)]
    assert waiting(left) == list(range(sent, 100))
