"""Statements in transactions, a hundred in each, every other one a text of its own: the program of the soak."""

from __future__ import annotations

import importlib
import sys

import apm_run

EACH = 100

calls, module, where = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = importlib.import_module(module).connect(where)
cursor = connection.cursor()
cursor.execute("create temporary table items (id int, name text)")
for number in range(calls // EACH):
    with apm_run.start_transaction(f"round {number % 10}", "soak"):
        for statement in range(EACH // 2):
            cursor.execute("select count(*) from items")
            cursor.execute(f"select {number}, '{statement}' from items")
    if number % 100 == 0:
        connection.commit()
    if number == calls // EACH // 10:
        print("warm", flush=True)
