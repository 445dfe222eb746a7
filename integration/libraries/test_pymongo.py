"""PyMongo, both its APIs, against an emulator of MongoDB: commands, cursors, transactions, and how they fail."""

from __future__ import annotations

import asyncio
import datetime
import gc
import json
import re
import socket
import threading
import uuid
import warnings

import bson
import pymongo
import pytest
from integration.services import free_port
from pymongo import monitoring
from tests.instrumentations.recorder import instrumented
from tests.traced import bare, traced

from apm_run.instrument.callbacks import under_way
from apm_run.tracer import current

AsyncMongoClient = getattr(pymongo, "AsyncMongoClient", None)
#: As of 4.13 it is stable.
needs_asyncio = pytest.mark.skipif(pymongo.version_tuple < (4, 13), reason="before AsyncMongoClient")


@pytest.fixture
def heard(monkeypatch):
    """What is registered is so for a test only."""
    monkeypatch.setattr(monitoring, "_LISTENERS", monitoring._Listeners([], [], [], [], []))


@pytest.fixture
def recorder(heard):
    with instrumented("pymongo") as recorder:
        yield recorder
    assert under_way.get() is None


@pytest.fixture
def client(recorder, mongodb_server):
    client = pymongo.MongoClient("127.0.0.1", mongodb_server.port)
    client.drop_database("shop")
    yield client
    client.close()


@pytest.fixture
def users(client):
    return client.shop.users


def names(recorder):
    """Names and outcomes of the spans; no transaction but the test's was made."""
    assert len(recorder.transactions) == 1
    assert all(span["parent_id"] == recorder.transactions[0]["id"] for span in recorder.spans)
    return [(span["name"], span["outcome"]) for span in recorder.spans]


def span(name, outcome="success", statement=None, database="shop", sync=True):
    action = name.rpartition(".")[2]
    db = {"type": "mongodb", "instance": database}
    if statement is not None:
        db["statement"] = statement
    resource = {"resource": f"mongodb/{database}", "name": "", "type": ""}
    return {
        "name": name,
        "type": "db",
        "subtype": "mongodb",
        "action": action,
        "outcome": outcome,
        "sync": sync,
        "sample_rate": 1.0,
        "context": {
            "db": db,
            "destination": {"address": "127.0.0.1", "port": 9999, "service": resource},
            "service": {"target": {"type": "mongodb", "name": database}},
        },
    }


# What is a span


def test_commands(recorder, users, mongodb_server):
    with recorder.running():
        users.insert_one({"_id": 1, "name": "Ada", "password": "geheim"})
        users.update_one({"_id": 1}, {"$set": {"age": 36}})
        users.find_one({"name": "Ada", "password": "geheim"})
        users.delete_one({"_id": 1})
    found = '{"find":"users","filter":{"name":"Ada","password":"[REDACTED]"},"limit":1,"singleBatch":true}'
    assert recorder.snapshot(mongodb_server.port) == [
        span("users.insert"),
        span("users.update"),
        span("users.find", statement=found),
        span("users.delete"),
    ]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda client: client.shop.users.distinct("name"), "users.distinct"),
        (lambda client: client.shop.users.create_index("name"), "users.createIndexes"),
        (lambda client: client.shop.users.find_one_and_update({}, {"$set": {"a": 1}}), "users.findAndModify"),
        (lambda client: client.shop.users.drop(), "users.drop"),
        (lambda client: list(client.shop.users.aggregate([{"$match": {}}])), "users.aggregate"),
        (lambda client: client.shop.list_collection_names(), "shop.listCollections"),
        (lambda client: client.shop.command("ping"), "shop.ping"),
        (lambda client: client.list_database_names(), "admin.listDatabases"),
        (lambda client: client.shop["c.d"].find_one(), "c.d.find"),
        (lambda client: client.drop_database("nothing"), "nothing.dropDatabase"),
    ],
)
def test_names(recorder, client, call, name):
    with recorder.running():
        call(client)
    assert names(recorder) == [(name, "success")]


def test_the_pages_of_a_cursor(recorder, users):
    with recorder.running():
        users.insert_many([{"number": number} for number in range(25)])
        assert len(list(users.find({"number": {"$lt": 20}}, batch_size=10))) == 20
        cursor = users.find({}, batch_size=10)
        next(cursor)
        cursor.close()
    done = [name for name, _ in names(recorder)]
    assert done[:4] == ["users.insert", "users.find", "users.getMore", "users.getMore"][: len(done[:4])]
    assert done[-2:] == ["users.find", "users.killCursors"]
    assert {outcome for _, outcome in names(recorder)} == {"success"}


def test_statements_say_what_is_asked_as_extended_json(recorder, users):
    document = {
        "id": bson.ObjectId("0123456789abcdef01234567"),
        "when": datetime.datetime(2026, 11, 26, 9, 0, 1, 500000),
        "big": bson.Int64(1 << 40),
        "data": b"bytes",
        "like": re.compile("^a"),
        "same": bson.Regex("^b"),
        "price": bson.Decimal128("1.50"),
        "stamp": bson.Timestamp(1, 2),
        "some": [1, 2.5, None, True, float("inf")],
        "login.token": "geheim",
        "user": {"password": {"$eq": "geheim"}, "name": 'say "Ada"'},
    }
    with recorder.running():
        list(users.find(document, sort=[("name", 1)]))
    statement = recorder.spans[0]["context"]["db"]["statement"]
    assert "geheim" not in statement
    assert json.loads(statement) == {
        "find": "users",
        "filter": {
            "id": {"$oid": "0123456789abcdef01234567"},
            "when": {"$date": "2026-11-26T09:00:01.500000Z"},
            "big": 1 << 40,
            "data": {"$binary": {"base64": "Ynl0ZXM=", "subType": "00"}},
            "like": {"$regularExpression": {"pattern": "^a", "options": ""}},
            "same": {"$regularExpression": {"pattern": "^b", "options": ""}},
            "price": {"$numberDecimal": "1.50"},
            "stamp": {"$timestamp": {"t": 1, "i": 2}},
            "some": [1, 2.5, None, True, {"$numberDouble": "Infinity"}],
            "login.token": "[REDACTED]",
            "user": {"password": "[REDACTED]", "name": 'say "Ada"'},
        },
        "sort": {"name": 1},
    }


def test_statements_are_cut(recorder, users):
    with recorder.running():
        list(users.find({"number": {"$in": list(range(100_000))}}))
        list(users.find({"text": "x" * 100_000}))
    for found in recorder.spans:
        assert len(found["context"]["db"]["statement"]) == 10_000


def test_the_program_goes_on_with_its_filter(recorder, users):
    """What is shown is what was sent."""
    asked = {"page": 1}
    with recorder.running():
        users.find_one(asked)
        asked["page"] = 2
    assert '"page":1' in recorder.spans[0]["context"]["db"]["statement"]
    assert asked == {"page": 2}


@pytest.mark.parametrize(
    ("option", "shown"), [("insert", ["users.insert"]), ("", []), ("*", ["users.insert", "users.find"])]
)
def test_whose_statements_are_shown(heard, mongodb_server, option, shown):
    with instrumented("pymongo", mongodb_capture_statement_commands=option or "nothing") as recorder:
        client = pymongo.MongoClient("127.0.0.1", mongodb_server.port)
        with recorder.running():
            client.shop.users.insert_one({"_id": uuid.uuid4().hex})
            client.shop.users.find_one()
        client.close()
    found = [span["name"] for span in recorder.spans if "statement" in span["context"]["db"]]
    assert found == shown


def test_what_a_client_does_by_itself_is_none(recorder, mongodb_server):
    """It greets, and looks at its servers again and again."""
    with recorder.running():
        client = pymongo.MongoClient("127.0.0.1", mongodb_server.port, heartbeatFrequencyMS=500)
        assert client.shop.command("ping")["ok"]
        threading.Event().wait(1.2)
    client.close()
    assert names(recorder) == [("shop.ping", "success")]


def test_a_transaction_of_the_database(recorder, client, users):
    with recorder.running(), client.start_session() as session, session.start_transaction():
        users.insert_one({"_id": 1}, session=session)
        users.find_one({"_id": 1}, session=session)
    done = [(name, "success") for name in ("users.insert", "users.find", "admin.commitTransaction")]
    assert names(recorder)[:3] == done
    statement = recorder.spans[1]["context"]["db"]["statement"]
    assert json.loads(statement) == {"find": "users", "filter": {"_id": 1}, "limit": 1, "singleBatch": True}


def test_a_client_with_listeners_of_its_own(recorder, mongodb_server):
    """They hear what they would, and may call the library themselves."""
    seen = []

    class Own(monitoring.CommandListener):
        def started(self, event):
            seen.append(("started", event.command_name))
            if event.command_name == "find":
                other.shop.command("ping")

        def succeeded(self, event):
            seen.append(("succeeded", event.command_name))

        failed = succeeded

    other = pymongo.MongoClient("127.0.0.1", mongodb_server.port)
    client = pymongo.MongoClient("127.0.0.1", mongodb_server.port, event_listeners=[Own()])
    with recorder.running():
        client.shop.users.find_one()
    client.close()
    other.close()
    assert seen[:2] == [("started", "find"), ("succeeded", "find")]
    assert names(recorder) == [("shop.ping", "success"), ("users.find", "success")]


def test_outside_a_transaction_nothing_is(recorder, users):
    users.find_one()
    assert recorder.spans == []


# How it fails


def test_a_key_that_is_there_already(recorder, users):
    """The server says that it has done what it could: it is the answer that tells."""
    users.insert_one({"_id": 1})
    with recorder.running():
        with pytest.raises(pymongo.errors.DuplicateKeyError):
            users.insert_one({"_id": 1})
        with pytest.raises(pymongo.errors.BulkWriteError):
            users.insert_many([{"_id": 2}, {"_id": 1}])
    assert names(recorder) == [("users.insert", "failure")] * 2


def test_a_bad_command(heard, mongodb_server):
    """The library's own exception, with what it says bare."""

    def call():
        client = pymongo.MongoClient("127.0.0.1", mongodb_server.port)
        with pytest.raises(pymongo.errors.OperationFailure) as caught:
            client.shop.command("noSuchCommand")
        client.close()
        return type(caught.value), str(caught.value)

    plain = call()
    with instrumented("pymongo") as recorder, recorder.running():
        assert call()[0] is plain[0]
    assert names(recorder)[0] == ("shop.noSuchCommand", "failure")


def test_the_server_is_down(recorder):
    client, before = pymongo.MongoClient("127.0.0.1", free_port(), serverSelectionTimeoutMS=300), current.get()
    with recorder.running(), pytest.raises(pymongo.errors.ServerSelectionTimeoutError):
        client.shop.users.find_one()
    client.close()
    assert current.get() is before
    assert names(recorder) == [("MongoDB connect", "failure")]
    assert recorder.spans[0]["duration"] > 250
    assert recorder.spans[0]["context"]["db"] == {"type": "mongodb"}
    assert recorder.spans[0]["context"]["destination"]["address"] == "127.0.0.1"


def test_no_connection_is_free(recorder, mongodb_server):
    client = pymongo.MongoClient("127.0.0.1", mongodb_server.port, maxPoolSize=1, waitQueueTimeoutMS=100)
    client.shop.command("ping")
    pool = next(iter(client._topology._servers.values())).pool
    if hasattr(pool, "checkout"):
        held = pool.checkout()
    else:
        held = pool.get_socket({}) if pymongo.version_tuple < (4, 1) else pool.get_socket()
    with held, recorder.running(), pytest.raises(pymongo.errors.ConnectionFailure):
        client.shop.command("ping")
    client.close()
    assert names(recorder) == [("MongoDB connect", "failure")]


@pytest.fixture
def slow(mongodb_server):
    """A way to the server that lets nothing back after ``slow.set()``."""
    with Gate(mongodb_server.port) as gate:
        yield gate


class Gate:
    """Passes on between client and server; once shut, what the server says stays here."""

    def __init__(self, port):
        self._target = port
        self.shut = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._all = []

    def __enter__(self):
        """Let clients in."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for one in (self._listening, *self._all):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                near = self._listening.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._all += [near, far]
            threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source, sink, back):
        try:
            while data := source.recv(65536):
                if not (back and self.shut.is_set()):
                    sink.sendall(data)
        except OSError:
            pass


def test_the_server_takes_too_long(recorder, slow):
    client = pymongo.MongoClient("127.0.0.1", slow.port, directConnection=True, socketTimeoutMS=200, retryReads=False)
    client.shop.command("ping")
    slow.shut.set()
    with recorder.running(), pytest.raises(pymongo.errors.NetworkTimeout):
        client.shop.users.find_one()
    client.close()
    assert names(recorder) == [("users.find", "failure")]


class Interrupted(BaseException):
    """As gevent's Timeout and KeyboardInterrupt are."""


def test_a_command_that_is_interrupted(recorder, slow):
    import signal

    def interrupt(*_):
        raise Interrupted

    client = pymongo.MongoClient("127.0.0.1", slow.port, directConnection=True)
    client.shop.command("ping")
    before = signal.signal(signal.SIGALRM, interrupt)
    slow.shut.set()
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with recorder.running(), pytest.raises(Interrupted):
            client.shop.users.find_one()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    client.close()
    assert names(recorder) == [("users.find", "unknown")]


# Threads and tasks


def test_threads_keep_their_own(recorder, client):
    def work(number):
        with recorder.running(f"work {number}"):
            for _ in range(20):
                client.shop.users.find_one({"number": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_separate(recorder, 10, 20)


def check_separate(recorder, transactions, spans):
    assert len({one["id"] for one in recorder.transactions}) == transactions
    for one in recorder.transactions:
        number = one["name"].rpartition(" ")[2]
        found = [span for span in recorder.spans if span["parent_id"] == one["id"]]
        assert len(found) == spans
        assert all(f'"number":{number}}}' in span["context"]["db"]["statement"] for span in found)


@needs_asyncio
def test_commands_of_asyncio(recorder, mongodb_server):
    async def main():
        client = AsyncMongoClient("127.0.0.1", mongodb_server.port)
        users = client.shop.tasks
        await users.drop()
        await users.insert_many([{"number": number} for number in range(5)])
        assert [found["number"] async for found in users.find({}, batch_size=3).sort("number")] == list(range(5))
        with pytest.raises(pymongo.errors.OperationFailure):
            await client.shop.command("noSuchCommand")
        await client.close()

    with recorder.running():
        asyncio.run(main())
    done = [(f"tasks.{name}", "success") for name in ("drop", "insert", "find", "getMore")]
    assert names(recorder)[:5] == [*done, ("shop.noSuchCommand", "failure")]
    assert recorder.snapshot(mongodb_server.port)[1] == span("tasks.insert", sync=False)


@needs_asyncio
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_command_of_asyncio_that_is_broken_off(recorder, slow, how):
    async def main():
        client = AsyncMongoClient("127.0.0.1", slow.port, directConnection=True)
        await client.shop.command("ping")
        slow.shut.set()
        waiting = asyncio.ensure_future(client.shop.users.find_one())
        if how == "cancelled":
            await asyncio.sleep(0.2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, 0.2)
        slow.close()
        await client.close()

    with recorder.running():
        asyncio.run(main())
    assert names(recorder)[:2] == [("shop.ping", "success"), ("users.find", "unknown")]
    assert recorder.spans[1]["duration"] < 3000


@needs_asyncio
def test_tasks_keep_their_own(recorder, mongodb_server):
    async def work(client, number):
        with recorder.running(f"work {number}"):
            for _ in range(4):
                await client.shop.users.find_one({"number": number})

    async def main():
        client = AsyncMongoClient("127.0.0.1", mongodb_server.port)
        await asyncio.gather(*(work(client, number) for number in range(50)))
        await client.close()

    asyncio.run(main())
    check_separate(recorder, 50, 4)


@needs_asyncio
def test_the_server_is_down_for_asyncio(recorder):
    async def main():
        client = AsyncMongoClient("127.0.0.1", free_port(), serverSelectionTimeoutMS=300)
        with pytest.raises(pymongo.errors.ServerSelectionTimeoutError):
            await client.shop.users.find_one()
        await client.close()

    with recorder.running():
        asyncio.run(main())
    assert names(recorder) == [("MongoDB connect", "failure")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # PyMongo forgets to close a socket that was refused
        gc.collect()


def test_motor(heard, mongodb_server):
    """It runs PyMongo in threads of its own: the span goes along into them."""
    motor = pytest.importorskip("motor.motor_asyncio")

    async def main():
        client = motor.AsyncIOMotorClient("127.0.0.1", mongodb_server.port)
        await client.shop.motors.drop()
        await client.shop.motors.insert_many([{"number": number} for number in range(5)])
        assert len(await client.shop.motors.find({}, batch_size=3).to_list(10)) == 5
        with pytest.raises(pymongo.errors.DuplicateKeyError):
            await client.shop.motors.insert_one(await client.shop.motors.find_one())
        client.close()

    with instrumented("pymongo", "concurrent_futures") as recorder, recorder.running():
        asyncio.run(main())
    done = [(f"motors.{name}", "success") for name in ("drop", "insert", "find", "getMore", "find")]
    assert names(recorder)[:6] == [*done, ("motors.insert", "failure")]


# A whole program

PROGRAM = """
import sys
import pymongo
from pymongo import MongoClient

client = MongoClient("127.0.0.1", int(sys.argv[1]))
users = client.bazaar.users
users.drop()
print(users.insert_one({"_id": 1, "name": "Ada"}).inserted_id, users.find_one({"name": "Ada"}))
try:
    users.insert_one({"_id": 1})
except pymongo.errors.DuplicateKeyError as error:
    print(type(error), error.code)
client.close()
"""


def test_a_program(sink, tmp_path, mongodb_server):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    plain = bare("python", program, mongodb_server.port)
    done = traced("python", program, mongodb_server.port, url=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
    sink.wait(lambda sink: sink.transactions and len(sink.spans) >= 5)
    assert [line.strip() for line in sink.tree().splitlines()] == [
        "program.py [script] success",
        "users.drop [db/mongodb/drop] success",
        "users.insert [db/mongodb/insert] success",
        "users.find [db/mongodb/find] success",
        "users.insert [db/mongodb/insert] failure",
        "admin.endSessions [db/mongodb/endSessions] success",
    ]
