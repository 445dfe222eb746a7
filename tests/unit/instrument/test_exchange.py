"""A span over several calls on one object, however those come or fail to come."""

from __future__ import annotations

import copy
import gc
import types
import weakref

import pytest
from tests.engine import Engine, exit_span

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Exchange, Instrumentation
from apm_run.instrument.wrap import TOLERATED
from apm_run.tracer import current


class Connection:
    """As http.client's: a request in steps, its response, and an end."""

    def __init__(self):
        self.sent = []
        self.fail = ""

    def _step(self, name):
        if self.fail == name:
            raise OSError(name)

    def put(self, path):
        self._step("put")
        self.sent = [path]
        return "put"

    def header(self, name, value):
        self.sent.append((name, value))

    def end(self, body=None):
        self._step("end")
        self.sent.append(body)
        return "end"

    def response(self):
        self._step("response")
        return {"status": 200}

    def close(self):
        self._step("close")
        return "closed"


def inject(call, headers):
    for name, value in headers.items():
        call.instance.header(name, value)


class Case:
    def __init__(self, engine, describe=exit_span, rewrite=inject, observe=None, base=Connection):
        self.engine = engine
        module = types.ModuleType("library")
        module.Connection = self.kind = type("Connection", (base,), dict(vars(Connection)))
        target = Exchange(
            "library:Connection.put",
            describe,
            inject="end",
            finish="response",
            abandon="close",
            rewrite=rewrite,
            observe=observe,
        )
        results: dict[str, str] = {}
        instrument(Instrumentation("library", "", (target,)), module, engine.tracer, results)
        assert results == {"library:Connection.put": "wrapped"}


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


@pytest.fixture
def lenient(monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})
    return guard.failures


def test_one_span_from_the_first_call_to_the_result(engine):
    seen = []
    case = Case(engine, observe=lambda call, result, draft: seen.append((call.args, call.kwargs, result)))
    with engine.transaction() as transaction:
        connection = case.kind()
        assert connection.put("/path") == "put"
        assert current.get() is transaction
        engine.clock.advance(5)
        assert connection.end(b"body") == "end"
        assert connection.response() == {"status": 200}
        assert connection.close() == "closed"
    span = engine.one_span(transaction)
    assert span.outcome == "success"
    assert span.end_ns - span.start_ns >= 5_000_000
    assert connection.sent == [
        "/path",
        ("traceparent", f"00-{transaction.trace_id}-{span.id}-01"),
        ("tracestate", "es=s:1"),
        b"body",
    ]
    assert seen == [((connection, "/path"), {}, {"status": 200})]
    assert vars(connection).keys() == {"sent", "fail"}


def test_outside_of_transactions_nothing_happens(engine):
    connection = Case(engine).kind()
    assert (connection.put("/"), connection.end(), connection.response()) == ("put", "end", {"status": 200})
    assert connection.sent == ["/", None]
    assert vars(connection).keys() == {"sent", "fail"}


@pytest.mark.parametrize("step", ["put", "end", "response", "close"])
def test_a_step_that_raises_ends_the_span(engine, step):
    case = Case(engine)
    connection = case.kind()
    connection.fail = step
    with engine.transaction() as transaction, pytest.raises(OSError, match=step):
        connection.put("/")
        connection.end()
        if step != "close":
            connection.response()
        connection.close()
    assert engine.one_span(transaction).outcome == ("unknown" if step == "close" else "failure")
    assert vars(connection).keys() == {"sent", "fail"}


@pytest.mark.parametrize("after", ["put", "end"])
def test_abandoned(engine, after):
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/")
        if after == "end":
            connection.end()
        assert connection.close() == "closed"
    assert engine.one_span(transaction).outcome == "unknown"


def test_the_next_request_ends_one_without_a_response(engine):
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/1")
        connection.put("/2")
        connection.end()
        connection.response()
    assert [span.outcome for span in engine.sink.spans(transaction)] == ["unknown", "success"]


def test_a_request_that_is_refused_leaves_the_one_under_way(engine):
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/1")
        connection.fail = "put"
        with pytest.raises(OSError, match="put"):
            connection.put("/2")
        connection.response()
    assert [span.outcome for span in engine.sink.spans(transaction)] == ["failure", "success"]


def test_the_next_request_outside_of_transactions_ends_it_too(engine):
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/1")
    connection.put("/2")
    connection.response()
    assert engine.sink.spans(transaction) == []
    assert [span.outcome for span in engine.sink.late] == ["unknown"]


def test_below_a_leaf_only_the_headers_are_added(engine):
    case = Case(engine)
    connection = case.kind()

    def call():
        connection.put("/")
        connection.end()
        return connection.response()

    with engine.transaction() as transaction:
        assert engine.wrap(call, exit_span)() == {"status": 200}
    span = engine.one_span(transaction)
    assert connection.sent[1] == ("traceparent", f"00-{transaction.trace_id}-{span.id}-01")


def test_no_span_but_headers_where_nothing_is_sampled():
    engine = Engine(transaction_sample_rate="0")
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/")
        connection.end()
        connection.response()
    assert connection.sent[1] == ("traceparent", f"00-{transaction.trace_id}-{transaction.id}-00")


def test_a_dropped_connection_is_freed_at_once(engine):
    connection = Case(engine).kind()
    with engine.transaction():
        connection.put("/")
        gone = weakref.ref(connection)
        gc.disable()
        try:
            del connection
            assert gone() is None
        finally:
            gc.enable()


def test_a_copy_ends_the_span_once(engine):
    connection = Case(engine).kind()
    with engine.transaction() as transaction:
        connection.put("/")
        other = copy.copy(connection)
        connection.response()
        other.response()
    assert engine.one_span(transaction).outcome == "success"


def test_objects_without_a_dictionary(engine):
    class Slotted:
        __slots__ = ("fail", "sent")

    module = types.ModuleType("library")
    namespace = {name: value for name, value in vars(Connection).items() if name not in ("__dict__", "__weakref__")}
    module.Connection = type("Connection", (Slotted,), {**namespace, "__slots__": ()})
    target = Exchange("library:Connection.put", exit_span, inject="end", finish="response", abandon="close")
    instrument(Instrumentation("library", "", (target,)), module, engine.tracer, {})
    connection = module.Connection()
    with engine.transaction() as transaction:
        assert [connection.put("/"), connection.end(), connection.response(), connection.close()]
    assert engine.sink.spans(transaction) == []


def test_called_with_nothing_it_raises_as_bare(engine):
    case = Case(engine)
    with engine.transaction():
        for name in ("put", "end", "response", "close"):
            with pytest.raises(TypeError, match=f"{name}.. missing 1 required positional argument: 'self'|{name}"):
                getattr(case.kind, name)()


def test_rewrite_may_return_other_arguments(engine):
    case = Case(engine, rewrite=lambda call, headers: ((*call.args, "rewritten"), {}))
    connection = case.kind()
    with engine.transaction():
        connection.put("/")
        connection.end()
    assert connection.sent == ["/", "rewritten"]


def test_without_rewrite(engine):
    connection = Case(engine, rewrite=None).kind()
    with engine.transaction() as transaction:
        connection.put("/")
        connection.end()
        connection.response()
    assert connection.sent == ["/", None]
    assert engine.one_span(transaction)


def failing(*args):
    raise LookupError


@pytest.mark.parametrize("step", ["describe", "rewrite", "observe"])
def test_functions_that_fail_are_switched_off(engine, lenient, step):
    case = Case(engine, **{step: failing})
    with engine.transaction():
        for _ in range(TOLERATED + 2):
            connection = case.kind()
            connection.put("/")
            assert connection.end("body") == "end"
            assert connection.response() == {"status": 200}
            assert connection.sent[-1] == "body"
    assert lenient == {f"library:Connection.put: {step}": [TOLERATED, "LookupError: "]}


def test_an_attribute_of_the_programs_own_is_no_exchange(engine):
    connection = Case(engine).kind()
    connection.__dict__ = type("Namespace", (dict,), {})(connection.__dict__)
    with engine.transaction() as transaction:
        connection.put("/")
        connection.response()
    assert engine.sink.spans(transaction) == []
