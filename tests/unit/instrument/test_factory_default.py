"""Makers that take None for the default, which the object itself may name, and the library's own derived types."""

from __future__ import annotations

import sys
import types

import pytest
from tests.engine import Engine, exit_span

from apm_run import guard
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Factory, Instrumentation, Target
from apm_run.tracer import current

CURSOR = Factory(
    "cursor",
    "driver:Cursor",
    position=2,
    keyword="cursor_factory",
    default="cursor_factory",
    targets=(Target("execute", exit_span),),
)
CONNECT = Factory(
    "driver:connect",
    "driver:Connection",
    position=1,
    keyword="connection_factory",
    default="",
    names=("driver_front:connect",),
    makes=(CURSOR,),
)


@pytest.fixture
def engine():
    yield Engine()
    assert current.get() is None


def written_in_c():
    """A module with types as a C driver has them: the factory of a cursor is an argument or an attribute."""
    module = types.ModuleType("driver")

    class Cursor:
        __slots__ = ("connection",)
        __module__ = "driver"

        def __init__(self, connection, name=None):
            self.connection = connection

        def execute(self, query):
            return query

    class ReplicationCursor(Cursor):
        __slots__ = ()
        __module__ = "driver"

    class Connection:
        __slots__ = ("cursor_factory",)
        __module__ = "driver"

        def __init__(self):
            self.cursor_factory = None

        def cursor(self, name=None, cursor_factory=None):
            return (cursor_factory or self.cursor_factory or Cursor)(self, name)

    class ReplicationConnection(Connection):
        __slots__ = ()
        __module__ = "driver"

    def connect(dsn, connection_factory=None):
        return (connection_factory or Connection)()

    for made in (Cursor, ReplicationCursor, Connection, ReplicationConnection):
        made.__qualname__ = made.__name__
        setattr(module, made.__name__, made)
    module.connect = connect
    return module


@pytest.fixture(params=["while it is imported", "later"])
def driver(request, engine, monkeypatch):
    module = written_in_c()
    module.__spec__ = types.SimpleNamespace(_initializing=request.param == "while it is imported")
    front = types.ModuleType("driver_front")
    front.connect = module.connect
    monkeypatch.setitem(sys.modules, "driver", module)
    monkeypatch.setitem(sys.modules, "driver_front", front)
    results = {}
    instrument(Instrumentation("driver", "", (CONNECT,)), module, engine.tracer, results)
    assert results == {"driver:connect": "wrapped"}
    assert front.connect is module.connect
    return module


def used(engine, cursor):
    with engine.transaction() as transaction:
        assert cursor.execute("select") == "select"
    return len(engine.sink.spans(transaction))


@pytest.mark.parametrize("arguments", [((), {}), ((None,), {}), ((), {"connection_factory": None})])
def test_none_is_the_default(engine, driver, arguments):
    connection = driver.connect("dsn", *arguments[0], **arguments[1])
    assert isinstance(connection, driver.Connection)
    for cursor in (connection.cursor(), connection.cursor("name"), connection.cursor("name", None)):
        assert isinstance(cursor, driver.Cursor)
        assert used(engine, cursor) == 1
    assert used(engine, connection.cursor(cursor_factory=None)) == 1


def test_the_objects_own_default(engine, driver):
    class Mine(driver.Cursor):
        def execute(self, query):
            return super().execute(query)

    connection = driver.connect("dsn")
    connection.cursor_factory = Mine
    for cursor in (connection.cursor(), connection.cursor("name", None), connection.cursor(cursor_factory=None)):
        assert isinstance(cursor, Mine)
        assert used(engine, cursor) == 1
    cursor = connection.cursor(cursor_factory=driver.Cursor)
    assert not isinstance(cursor, Mine)
    assert used(engine, cursor) == 1


def test_types_that_the_library_derives_are_still_derived(engine, driver):
    assert issubclass(driver.ReplicationConnection, driver.Connection)
    assert issubclass(driver.ReplicationCursor, driver.Cursor)
    connection = driver.connect("dsn", driver.ReplicationConnection)
    assert isinstance(connection, driver.ReplicationConnection)
    cursor = connection.cursor(cursor_factory=driver.ReplicationCursor)
    assert isinstance(cursor, driver.ReplicationCursor)
    assert used(engine, cursor) == 1
    for name in ("Connection", "ReplicationConnection", "Cursor", "ReplicationCursor"):
        kind = getattr(driver, name)
        assert (kind.__module__, kind.__qualname__, "__dict__" in dir(kind)) == ("driver", name, False)


def test_while_it_is_imported_the_names_are_ours(engine, driver):
    if driver.__spec__._initializing:
        assert type(driver.connect("dsn")) is driver.Connection
        assert type(driver.connect("dsn").cursor()) is driver.Cursor
        assert used(engine, driver.ReplicationCursor(None)) == 1


def test_what_can_not_be_looked_up_is_left(driver, monkeypatch):
    monkeypatch.setattr(guard, "STRICT", False)
    monkeypatch.setattr(guard, "failures", {})

    class Odd(driver.Connection):
        @property
        def cursor_factory(self):
            raise KeyError("mine")

        @cursor_factory.setter
        def cursor_factory(self, value):
            pass

    connection = driver.connect("dsn", Odd)
    with pytest.raises(KeyError):
        connection.cursor()
    assert list(guard.failures) == ["driver:Connection.cursor: factory"]


def test_called_without_an_instance_it_raises_as_bare(driver):
    with pytest.raises(TypeError):
        driver.Connection.cursor()
