"""What log records say of the transaction they are logged in (spec 25), and that the program's own stays."""

from __future__ import annotations

import copy
import inspect
import io
import logging
import pickle
import types

import pytest
from tests.engine import Engine

from apm_run import guard
from apm_run.instrument import reports
from apm_run.instrument.correlation import ATTRIBUTES, Correlation, correlated
from apm_run.model import SpanDraft
from apm_run.tracer import current

IDS = ATTRIBUTES[:3]
SERVICE = {"elasticapm_service_name": "shop", "elasticapm_service_environment": "test"}


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def asked(engine, monkeypatch):
    """Listen in ``logging`` for the length of a test: whether the attributes were asked for, each time."""
    found = []

    def facts(wanted):
        found.append(wanted)
        running = engine.tracer.running(ambient=wanted)
        return (running, "shop", "test") if running or wanted else None

    for holder, name in ((logging.Logger, "callHandlers"), (logging.Formatter, "__init__")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    results: dict[str, str] = {}
    reports.listen(logging, lambda *_, **__: None, results, facts)
    assert results == {"logging:Logger.callHandlers": "wrapped", "logging:Formatter.__init__": "wrapped"}
    return found


@pytest.fixture
def logger():
    class Kept(logging.StreamHandler):
        def emit(self, record):
            made.records.append(record)
            super().emit(record)

    made = logging.Logger("shop")
    made.records = []
    made.addHandler(Kept(io.StringIO()))
    return made


def attributes(record):
    return {name: value for name, value in record.__dict__.items() if name in ATTRIBUTES}


def test_outside_a_transaction_nothing(asked, logger):
    logger.info("text")
    assert attributes(logger.records[0]) == {}
    assert asked == [False]


def test_in_a_transaction_and_in_a_span(asked, logger, engine):
    with engine.transaction() as transaction:
        logger.info("text")
        span = engine.tracer.begin(SpanDraft("step", "custom", exit=False), transaction)
        current.set(span)
        logger.info("text")
        current.set(transaction)
    first, second = map(attributes, logger.records)
    ids = {"elasticapm_transaction_id": transaction.id, "elasticapm_trace_id": transaction.trace_id}
    assert first == {**ids, **SERVICE}
    assert second == {**ids, "elasticapm_span_id": span.id, **SERVICE}
    for each in (copy.copy(logger.records[1]), pickle.loads(pickle.dumps(logger.records[1]))):
        assert attributes(each) == second


@pytest.mark.parametrize("way", ["%", "{", "$", "named", "ecs"])
def test_a_formatter_that_asks_has_them_always(asked, logger, way):
    if way == "ecs":
        kind = type("StdlibFormatter", (logging.Formatter,), {"__module__": "ecs_logging._stdlib"})
        type("Own", (kind,), {})()
    elif way == "named":
        logging.Formatter(fmt="%(elasticapm_trace_id)s")
    else:
        text = {"%": "%(elasticapm_span_id)s", "{": "{elasticapm_span_id}", "$": "${elasticapm_span_id}"}[way]
        logging.Formatter(text, None, way)
    logger.info("text")
    assert asked == [True]
    assert attributes(logger.records[0]) == {**dict.fromkeys(IDS), **SERVICE}


def test_other_formatters_ask_for_nothing(asked, logger):
    logging.Formatter()
    logging.Formatter("%(message)s")
    with pytest.raises(ValueError, match="Invalid format") as caught:
        logging.Formatter("nothing")
    assert caught.value.__traceback__.tb_next.tb_frame.f_code.co_filename == logging.__file__
    logger.info("text")
    assert asked == [False]


def test_what_the_program_has_set_stays(asked, logger, engine):
    class Record(logging.LogRecord):
        elasticapm_trace_id = "of the class"

    with engine.transaction() as transaction:
        logger.info("text", extra={"elasticapm_transaction_id": "own", "trace.id": "mine"})
        logger.handle(Record("shop", 20, "", 1, "text", (), None))
    first, second = logger.records
    assert attributes(first)["elasticapm_transaction_id"] == "own"
    assert first.__dict__["trace.id"] == "mine"
    assert second.elasticapm_trace_id == "of the class"
    assert attributes(second)["elasticapm_transaction_id"] == transaction.id


def test_records_are_the_factorys(asked, logger, engine):
    """Neither the factory nor what is made without a logger is ours."""
    assert logging.getLogRecordFactory() is logging.LogRecord
    with engine.transaction():
        assert attributes(logging.makeLogRecord({"msg": "text"})) == {}
        logger.callHandlers(odd := types.SimpleNamespace(levelno=1, name="odd"))
    assert not attributes(odd)


def test_a_failure_is_recorded_and_the_record_is_logged(logger, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    correlation = Correlation(lambda wanted: 1 / 0, logging.LogRecord)
    correlation.stamp(logging.makeLogRecord({}))
    correlation.meet(object(), (), None)  # type: ignore[arg-type]
    assert set(guard.failures) == {"logging: correlate", "logging: formatter"}


def test_functions_stay_what_they_are(asked):
    parameters = inspect.signature(logging.Formatter).parameters
    assert list(parameters)[:3] == ["fmt", "datefmt", "style"]
    assert logging.Formatter.__init__.__code__.co_filename == logging.Formatter.format.__code__.co_filename


def test_a_logging_of_another_kind_is_left_alone():
    assert correlated(types.ModuleType("logging"), lambda wanted: None) is None
    results: dict[str, str] = {}
    reports.listen(types.ModuleType("logging"), lambda *_, **__: None, results, lambda wanted: None)
    assert results == {"logging:Logger.callHandlers": "skipped: no Logger.callHandlers"}
