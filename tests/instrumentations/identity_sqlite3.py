"""A program that uses sqlite3 in every way that its type could be felt in; it prints what it sees.

Run bare and traced by test_sqlite3: both must print the same on both streams.
"""

from __future__ import annotations

import copy
import datetime
import inspect
import pickle
import re
import sqlite3
import sys
import threading
import traceback
import warnings
import weakref

warnings.simplefilter("default")

#: The wrapper's frame can be taken out from Python 3.11 on.
TRACEBACKS = sys.version_info >= (3, 11)


def show(title, call, frames=True):
    try:
        print(title, "->", call())
    except Exception as error:
        print(title, "raised", type(error).__module__, type(error).__name__, re.sub(r"\d{9,}", "ID", str(error)))
        if frames and TRACEBACKS:
            print("  in", [frame.name for frame in traceback.extract_tb(error.__traceback__)])


connection = sqlite3.connect(":memory:")
cursor = connection.cursor()
show("types", lambda: (type(connection), type(cursor), repr(connection)[:30], repr(cursor)[:26]))
show("names", lambda: (type(connection).__name__, type(connection).__qualname__, type(connection).__module__))
show("doc", lambda: (type(connection).__doc__, sqlite3.connect.__doc__, connection.execute.__doc__))
show("exactly", lambda: (type(connection) is sqlite3.Connection, type(cursor) is sqlite3.Cursor))
show("exactly pickled", lambda: pickle.loads(pickle.dumps(sqlite3.Connection)) is type(connection))
show("type's signature", lambda: inspect.signature(sqlite3.Connection))
show("no initialisation", lambda: sqlite3.Connection.__new__(sqlite3.Connection).execute("select 1"))
show("no cursor of", lambda: sqlite3.Cursor({}))
show("isinstance", lambda: (isinstance(connection, sqlite3.Connection), isinstance(cursor, sqlite3.Cursor)))
show(
    "connect", lambda: (sqlite3.connect is sqlite3.dbapi2.connect, sqlite3.connect.__name__, sqlite3.connect.__module__)
)
show("pickled connect", lambda: pickle.loads(pickle.dumps(sqlite3.connect)) is sqlite3.connect)
show("copied connect", lambda: copy.deepcopy(sqlite3.connect) is sqlite3.connect)
show("signature", lambda: inspect.signature(sqlite3.connect))
show("attribute", lambda: hasattr(connection, "__dict__"))
show("weak reference", lambda: isinstance(weakref.ref(cursor)(), sqlite3.Cursor))
for protocol in (2, 3, 4, 5):
    show(f"pickle {protocol}", lambda protocol=protocol: pickle.dumps(connection, protocol), frames=False)
show("pickled cursor", lambda: pickle.dumps(cursor), frames=False)
show("copy", lambda: copy.copy(connection), frames=False)
show("deepcopy", lambda: copy.deepcopy(connection), frames=False)
show("equal", lambda: (connection == connection, hash(connection) == hash(connection)))

show("no statement", lambda: connection.execute())
show("bytes", lambda: connection.execute(b"select 1"))
show("None", lambda: cursor.execute(None))
show("number", lambda: cursor.execute(5))
show("empty", lambda: cursor.execute("").fetchall())
show("broken", lambda: cursor.execute("selec 1"))
show("missing table", lambda: cursor.execute("select * from nowhere"))
show("two statements", lambda: cursor.execute("select 1; select 2"))
show("zero byte", lambda: cursor.execute("select 1\0").fetchall())
show("surrogate", lambda: cursor.execute("select '\ud800'"))
show("too few values", lambda: cursor.execute("select ?, ?", (1,)))
show("unknown keyword", lambda: sqlite3.connect(":memory:", nothing=1))
show("nothing", lambda: sqlite3.connect())
show("odd name", lambda: sqlite3.connect(5))
show("folder", lambda: sqlite3.connect("/"))
show(
    "row_factory",
    lambda: (
        setattr(connection, "row_factory", sqlite3.Row) or tuple(connection.execute("select 1 as a").fetchone().keys())
    ),
)
show(
    "text_factory",
    lambda: setattr(connection, "text_factory", bytes) or tuple(connection.execute("select 'a'").fetchone()),
)
connection.row_factory = None
connection.text_factory = str

show("create", lambda: connection.execute("create table t(a, b timestamp)").rowcount)
show("insert", lambda: connection.execute("insert into t(a) values (1), (2)").rowcount)
show("many", lambda: connection.executemany("insert into t(a) values (?)", iter([(3,), (4,)])).rowcount)
show("script", lambda: connection.executescript("insert into t(a) values (5); insert into t(a) values (6);").rowcount)
show("same cursor", lambda: cursor.execute("select a from t") is cursor)
show("rows", lambda: (cursor.fetchone(), cursor.fetchmany(2), list(cursor), cursor.description))
show("context", lambda: connection.__enter__() is connection)
show("in transaction", lambda: (connection.in_transaction, connection.total_changes))
show("isolation", lambda: (connection.isolation_level, getattr(connection, "autocommit", None)))


def failing():
    with connection:
        connection.execute("insert into t(a) values (7)")
        raise RuntimeError("rolled back")


show("rollback", failing)
show("count", lambda: connection.execute("select count(*) from t").fetchone())


class Sum:
    def __init__(self):
        self.total = 0

    def step(self, value):
        self.total += value

    def finalize(self):
        return self.total


seen = []
show(
    "function",
    lambda: connection.create_function("twice", 1, lambda x: 2 * x) or connection.execute("select twice(4)").fetchone(),
)
show(
    "failing function",
    lambda: connection.create_function("fail", 0, lambda: 1 / 0) or connection.execute("select fail()"),
)
show(
    "aggregate",
    lambda: (
        connection.create_aggregate("total_of", 1, Sum) or connection.execute("select total_of(a) from t").fetchone()
    ),
)
show(
    "collation",
    lambda: (
        connection.create_collation("back", lambda x, y: (x < y) - (x > y))
        or connection.execute("select 'a' < 'b' collate back").fetchone()
    ),
)
show(
    "nested",
    lambda: (
        connection.create_function("inner_query", 0, lambda: connection.execute("select 9").fetchone()[0])
        or connection.execute("select inner_query()").fetchone()
    ),
)
show("trace", lambda: connection.set_trace_callback(seen.append) or connection.execute("select 1").fetchone())
connection.set_trace_callback(None)
print(seen)
show(
    "authorizer",
    lambda: connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY) or connection.execute("select a from t"),
)
connection.set_authorizer(lambda *_: sqlite3.SQLITE_OK)
show("progress", lambda: connection.set_progress_handler(lambda: 0, 1) or connection.execute("select 1").fetchone())
show("dump", lambda: list(connection.iterdump()))

target = sqlite3.connect(":memory:")
show("backup", lambda: connection.backup(target) or target.execute("select count(*) from t").fetchone())
show("backup to itself", lambda: connection.backup(connection))
show("backup to nothing", lambda: connection.backup(None))
if hasattr(connection, "blobopen"):
    connection.execute("create table blobs(b blob)")
    connection.execute("insert into blobs values (zeroblob(3))")
    show("blob", lambda: connection.blobopen("blobs", "b", 1).read())
if hasattr(connection, "serialize"):
    show("serialize", lambda: len(connection.serialize()) > 100)

elsewhere = []
thread = threading.Thread(target=lambda: show("other thread", lambda: connection.execute("select 1")))
thread.start()
thread.join()


class Plain(sqlite3.Connection):
    pass


class Own(sqlite3.Connection):
    def __init__(self, database, *args, extra=None, **kwargs):
        super().__init__(database)
        self.extra = extra

    def cursor(self, *args):
        print("own cursor", args)
        return super().cursor(*args)

    def execute(self, statement, *values):
        print("own execute", statement, values)
        return super().execute(statement, *values)


class Small(sqlite3.Connection):
    def __init__(self, database):
        super().__init__(database)


class Noted(sqlite3.Connection):
    def __init_subclass__(cls, **kwargs):
        print("subclassed", cls)


class Reducing(sqlite3.Connection):
    def __reduce__(self):
        return Reducing, (":memory:",)


class MyCursor(sqlite3.Cursor):
    def execute(self, query, parameters=None):
        print("my execute", query, parameters)
        return super().execute(query) if parameters is None else super().execute(query, parameters)


opened = [connection, target]


def keep(made):
    opened.append(made)
    return made


def use(made):
    keep(made)
    made.execute("create table t(a)")
    found = made.cursor()
    found.execute("select 1")
    return (
        type(made),
        type(made) in (sqlite3.Connection, Plain, Own, Small, Noted),
        type(found),
        type(found) is sqlite3.Cursor,
        found.fetchone(),
        isinstance(made, sqlite3.Connection),
        getattr(made, "extra", "none"),
    )


show("subclass", lambda: use(sqlite3.connect(":memory:", factory=Plain)))
show("subclass called", lambda: use(Plain(":memory:")))
show("own", lambda: use(sqlite3.connect(":memory:", factory=Own)))
show("own called", lambda: use(Own(":memory:", extra=1)))
show("small", lambda: use(sqlite3.connect(":memory:", factory=Small)))
show("pickled small", lambda: pickle.dumps(keep(Small(":memory:"))))
show("reducing", lambda: keep(copy.copy(keep(sqlite3.connect(":memory:", factory=Reducing)))).total_changes)
show("reducing called", lambda: keep(pickle.loads(pickle.dumps(keep(Reducing(":memory:"))))).total_changes)
show("noted", lambda: use(sqlite3.connect(":memory:", factory=Noted)))
show("function", lambda: use(sqlite3.connect(":memory:", factory=lambda *args, **kwargs: Plain(*args))))
show("base", lambda: use(sqlite3.connect(":memory:", factory=sqlite3.Connection)))
show("again", lambda: use(sqlite3.connect(":memory:", factory=type(connection))))
show("no type", lambda: sqlite3.connect(":memory:", factory=5))
show("None", lambda: sqlite3.connect(":memory:", factory=None))
show("wrong type", lambda: sqlite3.connect(":memory:", factory=dict))
show("uri", lambda: use(sqlite3.connect("file::memory:", uri=True)))
show("pathlike", lambda: use(sqlite3.connect(__import__("pathlib").Path(":memory:"))))
show(
    "options",
    lambda: use(
        sqlite3.connect(":memory:", timeout=1, isolation_level=None, cached_statements=5, check_same_thread=False)
    ),
)
show("positional", lambda: use(sqlite3.connect(":memory:", 5.0)))
show("all positional", lambda: use(sqlite3.connect(":memory:", 5.0, 0, None, True, Plain, 10, True)))
show("too many", lambda: sqlite3.connect(":memory:", 5.0, 0, None, True, Plain, 10, True, 9, 9))
show("own positional", lambda: use(sqlite3.connect(":memory:", 5.0, 0, None, True, Own)))

show("cursor of a type", lambda: type(connection.cursor(MyCursor)))
show("cursor by keyword", lambda: connection.cursor(factory=MyCursor).execute("select ?", (3,)).fetchone())
show("cursor of a function", lambda: type(connection.cursor(lambda conn: MyCursor(conn))))
show("cursor of nothing", lambda: connection.cursor(None))
show("cursor of a wrong type", lambda: connection.cursor(lambda of: 5))
show("cursor of too much", lambda: connection.cursor(1, 2))
show("cursor called", lambda: sqlite3.Cursor(connection).execute("select 5").fetchone())
show("subclasses of what is open", lambda: type("Sub", (type(connection),), {})(":memory:").close())

connection.execute("insert into t(b) values (?)", (datetime.datetime(2020, 1, 2),))
show("adapter", lambda: connection.execute("insert into t(b) values (?)", (datetime.date(2020, 1, 2),)).rowcount)


def deep():
    warnings.warn("by the program", DeprecationWarning, stacklevel=2)
    return 1


connection.create_function("warn", 0, deep)
show("warning", lambda: connection.execute("select warn()").fetchone())
show("column names", lambda: connection.execute("select 1 as 'a [b]'").description)
for each in opened:
    each.close()
show("closed", lambda: connection.execute("select 1"))
show("closed cursor", lambda: cursor.execute("select 1"))
show("closed many", lambda: connection.cursor())
if TRACEBACKS:
    connection.execute("uncaught")
