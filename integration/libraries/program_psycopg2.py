"""What a program can do with psycopg2, and see of its types: all of it the same with us and without."""

from __future__ import annotations

import copy
import io
import pickle
import sys
import uuid

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
from psycopg2 import sql

extensions, extras = psycopg2.extensions, psycopg2.extras
DSN = sys.argv[1]


def attempt(function, *args, **kwargs):
    """Say what a call raises."""
    try:
        print("returned", function(*args, **kwargs))
    except Exception as error:
        print(type(error).__module__, type(error).__qualname__, str(error))


def types(connection):
    print(type(connection), type(connection) is extensions.connection, isinstance(connection, extensions.connection))
    cursor = connection.cursor()
    print(type(cursor), type(cursor) is extensions.cursor, cursor.name, cursor.connection is connection)
    for kind in (extensions.connection, extensions.cursor):
        print(repr(kind), kind.__doc__, kind.__name__, kind.__qualname__, kind.__module__)
    print(issubclass(extras.LogicalReplicationConnection, extensions.connection))
    print(issubclass(extras.ReplicationCursor, extensions.cursor), issubclass(extras.DictCursor, extensions.cursor))
    for made in (connection, cursor):
        print(re_address(repr(made)))
        attempt(pickle.dumps, made)
        attempt(copy.copy, made)


def re_address(text):
    return text.partition(" at ")[0]


def statements(connection):
    extras.register_uuid(conn_or_curs=connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("create temp table items (id int, name text)")
        cursor.execute("insert into items values (%s, %s), (2, 'b')", (1, "a"))
        cursor.executemany("insert into items values (%s, %s)", [(3, "a"), (4, "c")])
        composed = sql.SQL("select {} from {} where id = {} and name = {}").format(
            sql.Identifier("id"), sql.Identifier("items"), sql.Literal(1), sql.Placeholder()
        )
        cursor.execute(composed, ("a",))
        print(cursor.fetchall(), cursor.query, cursor.statusmessage, cursor.rowcount)
        cursor.execute(b"select 1")
        cursor.execute("select %(id)s::uuid", {"id": uuid.UUID(int=5)})
        print(cursor.fetchone())
        cursor.callproc("abs", [-5])
        print(cursor.fetchone())
        cursor.copy_from(io.StringIO("5\tz\n"), "items")
        out = io.StringIO()
        cursor.copy_to(out, "items")
        cursor.copy_expert("copy items to stdout", out)
        print(len(out.getvalue()))
        extras.execute_values(cursor, "insert into items values %s", [(6, "x"), (7, "y")])
        extras.execute_batch(cursor, "update items set name = %s where id = %s", [("q", 1), ("r", 2)])


class Mine(extensions.cursor):
    def execute(self, query, vars=None):
        return super().execute(query + " -- mine", vars)


class MyConnection(extensions.connection):
    pass


def factories(connection):
    with connection.cursor(cursor_factory=extras.DictCursor) as cursor:
        cursor.execute("select 1 as x")
        print(cursor.fetchone()["x"], type(cursor) is extras.DictCursor)
    with connection.cursor("named") as cursor:
        cursor.execute("select generate_series(1, 5)")
        print(list(cursor), cursor.name)
    with connection.cursor(cursor_factory=Mine) as cursor:
        cursor.execute("select 7")
        print(cursor.fetchone(), type(cursor) is Mine, cursor.query)
    connection.cursor_factory = extras.RealDictCursor
    for arguments in ((), (None,), (None, None)):
        with connection.cursor(*arguments) as cursor:
            cursor.execute("select 8 as y")
            print(cursor.fetchone(), type(cursor) is extras.RealDictCursor)
    attempt(connection.cursor, cursor_factory=dict)
    attempt(connection.cursor, cursor_factory=5)
    attempt(connection.cursor, no_such=5)
    for factory in (MyConnection, extras.DictConnection, extras.NamedTupleConnection):
        other = psycopg2.connect(DSN, connection_factory=factory, cursor_factory=extras.NamedTupleCursor)
        with other.cursor() as cursor:
            cursor.execute("select 9 as y")
            print(type(other) is factory, type(cursor), cursor.fetchone())
        other.close()
    attempt(psycopg2.connect, DSN, connection_factory=dict)


def directly():
    connection = extensions.connection(DSN)
    cursor = extensions.cursor(connection)
    cursor.execute("select 10")
    print(cursor.fetchone())
    attempt(cursor.execute, "select * from nowhere")
    attempt(cursor.execute)
    attempt(cursor.execute, 1, 2, 3, 4)
    attempt(cursor.execute, "select %s", vars=(1,))
    connection.rollback()
    attempt(cursor.execute, query="select %s", vars=(1,))
    attempt(cursor.execute, 5)
    attempt(cursor.execute, "")
    connection.rollback()
    connection.close()
    attempt(cursor.execute, "select 1")
    attempt(connection.cursor)
    replication = psycopg2.connect(DSN, connection_factory=extras.LogicalReplicationConnection)
    print(type(replication), type(replication.cursor()))
    replication.close()


def pool():
    pool = psycopg2.pool.ThreadedConnectionPool(1, 2, DSN)
    connection = pool.getconn()
    with connection, connection.cursor() as cursor:
        cursor.execute("select 11")
    pool.putconn(connection)
    pool.closeall()


attempt(psycopg2.connect, "host=127.0.0.1 port=1 user=x connect_timeout=3")
attempt(psycopg2.connect, "nonsense")
attempt(psycopg2.connect)
attempt(psycopg2.connect, DSN, no_such_option=1)
connection = psycopg2.connect(DSN)
types(connection)
statements(connection)
factories(connection)
directly()
pool()
