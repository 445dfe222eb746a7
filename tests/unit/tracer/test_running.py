"""What runs here, as log records tell of it; and what is no error although it looks like one."""

from __future__ import annotations

from tests.engine import Engine

from apm_run.model import SpanDraft
from apm_run.tracer import current


def test_nothing_runs():
    engine = Engine()
    assert engine.tracer.running(ambient=True) is None


def test_the_programs_own_transaction_where_it_is_asked_for():
    engine = Engine()
    engine.tracer.begin_ambient("program", 1, 1, None)
    assert engine.tracer.running(ambient=True) is engine.tracer.ambient
    assert engine.tracer.running(ambient=False) is None


def test_what_is_current_unless_it_is_ignored_or_nothing_is_recorded():
    engine = Engine()
    with engine.transaction() as transaction:
        assert engine.tracer.running(ambient=False) is transaction
        span = engine.tracer.begin(SpanDraft("step", "custom", exit=False), transaction)
        current.set(span)
        assert engine.tracer.running(ambient=False) is span
        # It has ended in another task than it is current in.
        span.left = (transaction,)
        assert engine.tracer.running(ambient=False) is transaction
        span.left = (None,)
        assert engine.tracer.running(ambient=True) is engine.tracer.ambient
        current.set(transaction)
        engine.tracer.active = False
        assert engine.tracer.running(ambient=False) is None
        engine.tracer.active = True
        transaction.ignore()
        assert engine.tracer.running(ambient=False) is None


def test_an_error_that_is_dismissed_is_reported_by_nobody():
    engine = Engine()
    with engine.transaction() as transaction:
        error, other = ConnectionResetError("gone"), ConnectionResetError("gone")
        transaction.dismiss(error)
        transaction.capture(error, handled=False)
        engine.tracer.told(error, None, None)
        assert transaction.errors == []
        assert not transaction.failed
        transaction.capture(other, handled=False)
        assert len(transaction.errors) == 1
