"""A script that queries, and loads no HTTP: prints its resident kilobytes after its first query, and 5 s later."""

from __future__ import annotations

import sqlite3
import time

from resident import memory

connection = sqlite3.connect(":memory:")
connection.execute("create table items (id integer primary key, name text)")
print(memory())
until = time.perf_counter() + 5
while time.perf_counter() < until:
    connection.execute("select name from items where id = ?", (5,)).fetchone()
    time.sleep(0.01)
print(memory(), flush=True)
