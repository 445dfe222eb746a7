"""A web application and the requests to it, in one process: ``web.py CASE COUNT TARGET``.

Prints one line of JSON: seconds of CPU of the requesting thread and of the process up to the requests, per what they
took; memory before and after. What the agent does at the exit is seen from outside.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable

from resident import memory

CASE, COUNT, TARGET = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WARM = 50


def database() -> sqlite3.Connection:
    """A table of a few rows."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("create table items (id integer primary key, name text)")
    connection.executemany("insert into items values (?, ?)", [(number, f"item {number}") for number in range(10)])
    return connection


def queries(connection: sqlite3.Connection) -> list[str]:
    """Five of them."""
    return [connection.execute("select name from items where id = ?", (n,)).fetchone()[0] for n in range(5)]


def flask() -> Callable[[], None]:
    """Five queries and an outgoing call; a route without anything; one that raises; five objects of an ORM."""
    import requests
    from flask import Flask

    app = Flask("bench")
    connection, session = database(), requests.Session()

    @app.get("/work/<int:number>")
    def work(number: int) -> dict[str, object]:
        return {"names": queries(connection), "answer": session.get(TARGET).text}

    @app.get("/plain/<int:number>")
    def plain(number: int) -> str:
        return "hello"

    @app.get("/raising/<int:number>")
    def raising(number: int) -> str:
        raise ValueError(f"no such number: {number}")

    if CASE == "orm":
        _orm(app)
    path = {"flask": "work", "raising": "raising", "orm": "orm"}.get(CASE, "plain")
    return _wsgi(app, f"/{path}/5", 500 if CASE == "raising" else 200)


def _orm(app: object) -> None:
    from sqlalchemy import Column, Integer, String, create_engine
    from sqlalchemy.orm import Session, declarative_base
    from sqlalchemy.pool import StaticPool

    Base = declarative_base()

    class Item(Base):  # type: ignore[misc, valid-type]
        __tablename__ = "items"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(id=number, name=f"item {number}") for number in range(10)])
        session.commit()

    @app.get("/orm/<int:number>")  # type: ignore[attr-defined, untyped-decorator]
    def orm(number: int) -> list[str]:
        with Session(engine) as session:
            return [session.get(Item, each).name for each in range(5)]  # type: ignore[union-attr]


def _wsgi(app: Callable[..., object], path: str, wanted: int) -> Callable[[], None]:
    import logging

    from werkzeug.test import EnvironBuilder

    logging.getLogger("bench").setLevel(logging.CRITICAL)
    environ = EnvironBuilder(path=path, headers={"User-Agent": "bench", "Accept": "*/*"}).get_environ()
    answered: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> None:
        answered.append(status)

    def once() -> None:
        answered.clear()
        body = app(dict(environ), start_response)
        for _ in body:  # type: ignore[attr-defined]
            pass
        getattr(body, "close", lambda: None)()
        assert int(answered[0][:3]) == wanted, answered

    return once


def measured(once: Callable[[], None]) -> None:
    """Make the requests and tell what they took."""
    for _ in range(WARM):
        once()
    before = memory()
    process, thread = time.process_time(), time.thread_time()
    for _ in range(COUNT):
        once()
    told(process, thread, before)


def told(process: float, thread: float, before: int) -> None:
    """Tell what the requests took."""
    found = {"foreground": time.thread_time() - thread, "begin": process, "before": before, "after": memory()}
    print(json.dumps(found), flush=True)


async def fastapi() -> None:
    """The same work as :func:`flask`, with FastAPI and httpx."""
    import httpx
    from fastapi import FastAPI

    app = FastAPI()
    connection = database()
    async with httpx.AsyncClient() as client:

        @app.get("/work/{number}")
        async def work(number: int) -> dict[str, object]:
            return {"names": queries(connection), "answer": (await client.get(TARGET)).text}

        async def once() -> None:
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
                "path": "/work/5", "raw_path": b"/work/5", "query_string": b"", "root_path": "",
                "headers": [(b"host", b"localhost"), (b"user-agent", b"bench")],
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            }  # fmt: skip
            answers: list[int] = []

            async def receive() -> dict[str, object]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: dict[str, object]) -> None:
                if message["type"] == "http.response.start":
                    answers.append(message["status"])  # type: ignore[arg-type]

            await app(scope, receive, send)  # type: ignore[arg-type]
            assert answers == [200], answers

        for _ in range(WARM):
            await once()
        before = memory()
        process, thread = time.process_time(), time.thread_time()
        for _ in range(COUNT):
            await once()
        told(process, thread, before)


def script() -> None:
    """A program of so many queries, and nothing else."""
    connection = database()
    process, thread, before = time.process_time(), time.thread_time(), memory()
    for _ in range(COUNT):
        connection.execute("select name from items where id = ?", (5,)).fetchone()
    told(process, thread, before)


def outside() -> None:
    """So many queries of a program that has served a request, outside of any other."""
    flask()()
    script()


if CASE == "fastapi":
    asyncio.run(fastapi())
elif CASE in ("script", "outside"):
    {"script": script, "outside": outside}[CASE]()
else:
    measured(flask())
