"""What a program can do with PyMySQL, and see of its functions: all of it the same with us and without."""

from __future__ import annotations

import inspect
import sys
import traceback

import pymysql
import pymysql.cursors

WHERE = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "root", "database": "shop"}


def attempt(function, *args, **kwargs):
    """Say what a call raises, and through which functions it came."""
    try:
        print("returned", type(function(*args, **kwargs)))
    except Exception as error:
        print(type(error).__module__, type(error).__qualname__, str(error), error.__cause__, error.__context__)
        if sys.version_info >= (3, 11):
            print([frame.name for frame in traceback.extract_tb(error.__traceback__)])


for kind in (pymysql.cursors.Cursor, pymysql.cursors.DictCursor, pymysql.connections.Connection):
    for name in ("execute", "executemany", "callproc", "query", "connect"):
        function = getattr(kind, name, None)
        if function is not None:
            print(inspect.signature(function), function.__qualname__, function.__module__, function.__doc__)
connection = pymysql.connect(**WHERE)
print(type(connection), sorted(vars(connection)))
with connection.cursor() as cursor:
    print(type(cursor), cursor.execute("create temporary table items (id int, name text)"))
    print(cursor.execute("insert into items values (%s, %s)", args=(1, "a")), cursor.lastrowid, cursor.rowcount)
    cursor.execute(query="select * from items")
    print(cursor.fetchall(), sorted(vars(cursor)))
    attempt(cursor.execute, "select * from nowhere")
    attempt(cursor.execute, "select %s", (1, 2))
    attempt(cursor.execute)
    attempt(cursor.execute, 5)
connection.close()
attempt(pymysql.connect, **{**WHERE, "port": 1})
