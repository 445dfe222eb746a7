"""Objects of a type that no attribute can be set on are made of a subclass that nobody notices."""

from __future__ import annotations

import abc
import gc
import pickle
import sqlite3
import sys
import traceback
import types
import warnings
import weakref
from contextlib import contextmanager

import pytest
from tests.engine import Engine, exit_span

from apm_run import guard
from apm_run.instrument import factory as factories
from apm_run.instrument.factory import factory
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Factory, Instrumentation, Target
from apm_run.tracer import current

STATEMENTS = (Target("execute", exit_span), Target("executemany", exit_span), Target("no_such_method", exit_span))
CURSOR = Factory("cursor", "_sqlite3:Cursor", position=1, targets=STATEMENTS)
NO_SUCH = Factory("no_such_maker", "_sqlite3:Cursor", position=1)
CONNECT = Factory(
    "_sqlite3:connect",
    "_sqlite3:Connection",
    position=5,
    names=("_sqlite3:connect", "here:connect", "not_loaded:connect"),
    makes=(CURSOR, NO_SUCH),
    targets=STATEMENTS,
)


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


@pytest.fixture
def connect(engine):
    """sqlite3's function, wrapped, as a module of its own shows it."""
    connections = []
    wrapped = factory(sqlite3.connect, sqlite3.Connection, CONNECT, engine.tracer, CONNECT.path)

    def connect(*args, **kwargs):
        connection = wrapped(*args, **kwargs)
        connections.append(connection)
        return connection

    connect.wrapped = wrapped
    yield connect
    for connection in connections:
        sqlite3.Connection.close(connection)


def test_statements_are_spans_once(engine, connect):
    connection = connect(":memory:")
    with engine.transaction() as transaction:
        connection.execute("create table items (id)")
        cursor = connection.cursor()
        cursor.execute("select * from items")
        connection.executemany("insert into items values (?)", [(1,), (2,)])
    assert len(engine.sink.spans(transaction)) == 3


def test_the_types_look_like_what_they_stand_for(connect):
    connection = connect(":memory:")
    cursor = connection.cursor()
    for made, kind in ((connection, sqlite3.Connection), (cursor, sqlite3.Cursor)):
        assert isinstance(made, kind)
        assert repr(type(made)) == repr(kind)
        assert type(made).__doc__ == kind.__doc__
        with pytest.raises(AttributeError):
            made.anything = 1
    assert type(connection) is type(connect(":memory:"))
    assert type(cursor) is type(connect(":memory:").cursor())


@pytest.mark.parametrize("how", ["by name", "positional"])
def test_a_type_of_the_programs_keeps_its_say(engine, connect, how):
    class Mine(sqlite3.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.statements = []

        def execute(self, *args):
            self.statements.append(args[0])
            return super().execute(*args)

        def cursor(self, word=None):
            return word or super().cursor()

    if how == "by name":
        connection = connect(":memory:", factory=Mine)
    else:
        with _ignored_deprecations():
            connection = connect(":memory:", 5.0, 0, "", True, Mine)
    assert isinstance(connection, Mine)
    assert connection.cursor("mine") == "mine"
    connection.anything = 1
    with engine.transaction() as transaction:
        assert connection.execute("select 1").fetchall() == [(1,)]
    assert engine.one_span(transaction).outcome == "success"
    assert connection.statements == ["select 1"]


@contextmanager
def _ignored_deprecations():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_a_factory_that_is_no_type_is_left_alone(connect):
    made = []

    def make(*args, **kwargs):
        made.append(sqlite3.Connection(*args, **kwargs))
        return made[0]

    assert connect(":memory:", factory=make) is made[0]
    assert type(made[0]) is sqlite3.Connection


def test_a_type_of_ours_given_back_is_left_alone(connect):
    kind = type(connect(":memory:"))
    assert type(connect(":memory:", factory=kind)) is kind


def test_types_that_mind_their_subclasses_are_left_alone(connect):
    class Registered(sqlite3.Connection):
        known: list[type] = []

        def __init_subclass__(cls):
            Registered.known.append(cls)

    class Abstract(sqlite3.Connection, metaclass=abc.ABCMeta):
        pass

    assert type(connect(":memory:", factory=Registered)) is Registered
    assert type(connect(":memory:", factory=Abstract)) is Abstract
    assert Registered.known == []


def test_types_that_the_program_forgets_are_forgotten(connect):
    def once():
        class Passing(sqlite3.Connection):
            pass

        connection = connect.wrapped(":memory:", factory=Passing)
        again = connect.wrapped(":memory:", factory=Passing)
        assert type(connection) is type(again)
        connection.close()
        again.close()
        return weakref.ref(Passing)

    gone = once()
    gc.collect()
    assert gone() is None


def test_refused_types_raise_as_bare(connect):
    with pytest.raises(TypeError) as bare:
        sqlite3.connect(":memory:", factory=5)
    with pytest.raises(TypeError) as caught:
        connect.wrapped(":memory:", factory=5)
    assert str(caught.value) == str(bare.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 a traceback on its way can not be changed")
@pytest.mark.parametrize("args", [("/no/such/folder/file",), ("/no/such/folder/file", 1.0)])
def test_traceback_as_bare(connect, args):
    def names(function):
        with _ignored_deprecations(), pytest.raises(sqlite3.OperationalError) as caught:
            function(*args)
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert names(connect.wrapped) == names(sqlite3.connect)


def test_pickling_is_refused_as_bare(connect):
    connection = connect(":memory:")
    with sqlite3.connect(":memory:") as bare:
        for made, original in ((connection, bare), (connection.cursor(), bare.cursor())):
            with pytest.raises(TypeError) as expected:
                pickle.dumps(original)
            with pytest.raises(TypeError) as caught:
                pickle.dumps(made)
            assert str(caught.value) == str(expected.value)
    bare.close()


def test_what_the_program_derives_is_pickled_as_it_says(connect):
    made = type(connect(":memory:"))
    derived = type("Derived", (made,), {"__module__": __name__})
    plain = type("Derived", (sqlite3.Connection,), {"__module__": __name__})
    outcomes = []
    for kind in (derived, plain):
        connection = kind(":memory:")
        try:
            outcomes.append(connection.__reduce_ex__(2)[1:])
        except TypeError as error:
            outcomes.append(str(error))
        connection.close()
    assert outcomes[0] == outcomes[1]


def test_calls_at_the_place_of_another():
    """What it does there: where it runs nobody measures it."""
    assert factories._proceed(divmod, (7, 2), {}) == (3, 1)


def test_what_can_not_be_subclassed_is_made_as_it_is(engine, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})

    def make(factory=bool):
        return factory()

    target = Factory("here:make", "here:bool", position=0)
    wrapped = factory(make, bool, target, engine.tracer, target.path)
    assert wrapped() is False
    assert wrapped(bool) is False
    assert list(guard.failures) == ["here:make: factory"]


def test_types_with_a_dictionary_keep_it(engine):
    def make(factory=Base):
        return factory()

    target = Factory("here:make", "here:Base", position=0, targets=(Target("work", exit_span),))
    made = factory(make, Base, target, engine.tracer, target.path)()
    made.attribute = 1
    with engine.transaction() as transaction:
        assert made.work() == "worked"
    assert engine.one_span(transaction)


class Base:
    def work(self):
        return "worked"


def test_one_function_under_all_its_names(engine, monkeypatch):
    module = types.ModuleType("_sqlite3")
    module.connect, module.Connection = sqlite3.dbapi2.connect, sqlite3.Connection
    here = types.ModuleType("here")
    here.connect = module.connect
    monkeypatch.setitem(sys.modules, "here", here)
    monkeypatch.setitem(sys.modules, "_sqlite3", module)
    results: dict[str, str] = {}
    instrumentation = Instrumentation("sqlite3", "", (CONNECT,))
    instrument(instrumentation, module, engine.tracer, results)
    assert results == {"_sqlite3:connect": "wrapped"}
    assert module.connect is here.connect
    assert module.connect is not sqlite3.dbapi2.connect
    assert module.connect.__name__ == "connect"
    # A second name's module comes: it is wrapped already.
    before = module.connect
    instrument(instrumentation, module, engine.tracer, results)
    assert module.connect is before


def test_while_a_module_is_imported_its_types_are_replaced_too(engine, monkeypatch):
    module = types.ModuleType("_sqlite3")
    module.connect, module.Connection, module.Cursor = sqlite3.connect, sqlite3.Connection, sqlite3.Cursor
    here = types.ModuleType("here")
    here.connect, here.Connection, here.Cursor = sqlite3.connect, sqlite3.Connection, "another"
    module.__spec__ = types.SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "here", here)
    monkeypatch.setitem(sys.modules, "_sqlite3", module)
    instrument(Instrumentation("sqlite3", "", (CONNECT,)), module, engine.tracer, {})
    assert here.Connection is module.Connection is not sqlite3.Connection
    assert here.Cursor == "another"

    class Own(module.Connection):
        def execute(self, statement):
            return super().execute(statement)

    class OwnCursor(module.Cursor):
        pass

    for made, kind in (
        (here.connect(":memory:"), module.Connection),
        (module.Connection(":memory:"), module.Connection),
        (here.connect(":memory:", factory=Own), Own),
        (here.connect(":memory:", factory=sqlite3.Connection), module.Connection),
    ):
        with engine.transaction() as transaction:
            cursor = made.cursor()
            cursor.execute("select 1")
            made.execute("select 2")
            own = made.cursor(OwnCursor)
            own.execute("select 3")
        assert (type(made), type(cursor), type(own)) == (kind, module.Cursor, OwnCursor)
        assert len(engine.sink.spans(transaction)) == 3
        made.close()


def test_types_that_somebody_may_hold_stay(engine, monkeypatch):
    module = types.ModuleType("_sqlite3")
    module.connect, module.Connection, module.Cursor = sqlite3.connect, sqlite3.Connection, sqlite3.Cursor
    module.__spec__ = types.SimpleNamespace(_initializing=False)
    monkeypatch.setitem(sys.modules, "_sqlite3", module)
    instrument(Instrumentation("sqlite3", "", (CONNECT,)), module, engine.tracer, {})
    assert (module.Connection, module.Cursor) == (sqlite3.Connection, sqlite3.Cursor)
    connection = module.connect(":memory:")
    assert isinstance(connection, module.Connection)
    connection.close()
