"""The applications that real servers serve: ``wsgi`` and ``asgi``, each with a query and nothing else to do."""

from __future__ import annotations

import sqlite3

from fastapi import FastAPI
from flask import Flask

connection = sqlite3.connect(":memory:", check_same_thread=False)
connection.execute("create table items (id integer primary key, name text)")
connection.execute("insert into items values (1, 'one')")

wsgi = Flask("bench")
asgi = FastAPI()


@wsgi.get("/items/<int:number>")
def flask_item(number: int) -> dict[str, str]:
    """One row."""
    return {"name": connection.execute("select name from items where id = ?", (number,)).fetchone()[0]}


@asgi.get("/items/{number}")
async def fastapi_item(number: int) -> dict[str, str]:
    """One row."""
    return {"name": connection.execute("select name from items where id = ?", (number,)).fetchone()[0]}
