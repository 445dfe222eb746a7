"""What is said of MongoDB commands, and their extended JSON, whatever a program hands over."""

from __future__ import annotations

import datetime
import json
import re
import uuid
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_run import config
from apm_run.conventions import extended_json, mongodb
from apm_run.sanitize import names

SETTINGS = config.load({})[0]
SECRET = names(SETTINGS.sanitize_field_names)


def draft(name, document, settings=SETTINGS):
    return mongodb.command(name, document, "shop", ("db", 27017), settings)


@pytest.mark.parametrize(
    ("name", "document", "shown"),
    [
        ("find", {"find": "users"}, "users.find"),
        ("getMore", {"getMore": 1 << 40, "collection": "users"}, "users.getMore"),
        ("killCursors", {"killCursors": "users", "cursors": [1]}, "users.killCursors"),
        ("aggregate", {"aggregate": 1}, "shop.aggregate"),
        ("listCollections", {"listCollections": 1}, "shop.listCollections"),
        ("dropUser", {"dropUser": "ada"}, "shop.dropUser"),
        ("getParameter", {"getParameter": "*"}, "shop.getParameter"),
        ("find", {}, "shop.find"),
        ("find", None, "shop.find"),
        ("find", "find", "shop.find"),
    ],
)
def test_names(name, document, shown):
    found = draft(name, document)
    assert (found.name, found.action, found.type, found.subtype) == (shown, name, "db", "mongodb")
    assert found.target() == ("mongodb", "shop")
    assert (found.address, found.port) == ("db", 27017)


@pytest.mark.parametrize(
    "name", ["hello", "isMaster", "ismaster", "saslStart", "saslContinue", "authenticate", "getnonce"]
)
def test_what_a_client_says_of_itself_is_none(name):
    assert draft(name, {name: 1}) is None


def test_a_socket_of_unix():
    found = mongodb.command("ping", {}, "shop", ("/tmp/mongodb.sock", None), SETTINGS)
    assert (found.address, found.port) == ("unix:///tmp/mongodb.sock", None)
    assert mongodb.unreachable(None).address is None


def test_statements_are_of_the_options_commands():
    document = {"find": "users", "filter": {"a": 1}, "lsid": {"id": uuid.uuid4()}, "$db": "shop", "$clusterTime": {}}
    assert draft("find", document).db["statement"] == '{"find":"users","filter":{"a":1}}'
    assert "statement" not in draft("insert", {"insert": "users"}).db
    nothing = config.load({"ELASTIC_APM_MONGODB_CAPTURE_STATEMENT_COMMANDS": "ins*"})[0]
    assert "statement" not in draft("find", document, nothing).db
    assert "statement" in draft("insert", {"insert": "users"}, nothing).db


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ({"ok": 1}, None),
        ({"ok": 1, "writeErrors": []}, None),
        ({"ok": 1, "writeErrors": [{"code": 11000}]}, "failure"),
        ({"ok": 1, "nErrors": 1}, "failure"),
        ({"ok": 1, "nErrors": 0}, None),
        (None, None),
    ],
)
def test_what_an_answer_says(reply, outcome):
    found = draft("insert", {})
    mongodb.answered(found, reply)
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        ({"errmsg": "no such command", "code": 59}, "failure"),
        ({"errmsg": "timed out", "errtype": "NetworkTimeout"}, "failure"),
        ({"errmsg": "", "errtype": "CancelledError"}, "unknown"),
        ({"errmsg": "", "errtype": "KeyboardInterrupt"}, "unknown"),
        ("odd", "failure"),
    ],
)
def test_how_it_failed(failure, outcome):
    found = draft("find", {})
    mongodb.failed(found, failure)
    assert found.outcome == outcome


# Extended JSON


class Theirs:
    def __getattr__(self, name):
        raise AssertionError("the program's code is called")

    __str__ = __repr__ = __iter__ = __getattr__


class Number(int):
    def __repr__(self):
        raise AssertionError("the program's code is called")

    __str__ = __format__ = __repr__


def bson(name, **attributes):
    module = ModuleType("bson.made_up")
    return type(name, (), {"__module__": module.__name__, **attributes})()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1.5, "1.5"),
        (float("nan"), '{"$numberDouble":"NaN"}'),
        (float("-inf"), '{"$numberDouble":"-Infinity"}'),
        ('say "Ada"\n', '"say \\"Ada\\"\\n"'),
        ([1, (2, [])], "[1,[2,[]]]"),
        ({"a": {"b": 1}, 7: "no key"}, '{"a":{"b":1}}'),
        (b"bytes", '{"$binary":{"base64":"Ynl0ZXM=","subType":"00"}}'),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), '{"$date":"2026-01-02T03:04:05Z"}'),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), '{"$date":"2026-01-02T00:00:00Z"}'),
        (uuid.UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (re.compile("^a"), '{"$regularExpression":{"pattern":"^a","options":""}}'),
        (bson("ObjectId", binary=b"\x01\x02"), '{"$oid":"0102"}'),
        (bson("DBRef", collection="users", id=1), '{"$ref":"users","$id":1}'),
        (bson("MinKey"), '{"$minKey":1}'),
        (bson("SomethingNew"), '"<SomethingNew>"'),
        (SimpleNamespace(a=1), '"<SimpleNamespace>"'),
    ],
)
def test_values(value, shown):
    assert extended_json.text(value, SECRET) == shown


def test_types_of_the_programs_own_are_not_called():
    assert extended_json.text([Number(7), Theirs()], SECRET) == '[7,"<Theirs>"]'


def test_what_is_secret_is_so_at_any_depth_below_the_command():
    document = {
        "distinct": "users",
        "key": "name",
        "query": {"password": 1, "a": [{"user.token": 2}], "Authorization": 3},
    }
    assert json.loads(extended_json.text(document, SECRET)) == {
        "distinct": "users",
        "key": "name",
        "query": {"password": "[REDACTED]", "a": [{"user.token": "[REDACTED]"}], "Authorization": "[REDACTED]"},
    }


def test_what_is_endless_ends():
    endless: list = []
    endless.append(endless)
    assert len(extended_json.text(endless, SECRET)) < 100
    wide: dict = {}
    wide.update(a=wide, b=wide)
    assert len(extended_json.text(wide, SECRET)) == 10_000


@pytest.mark.parametrize(
    "value", ["x" * 100_000, b"x" * 100_000, ["x" * 10] * 100_000, {str(n): n for n in range(99_999)}]
)
def test_it_is_cut(value):
    found = extended_json.text({"find": value}, SECRET, 1000)
    assert len(found) == 1000
    assert found.startswith('{"find":')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(0, 200))
def test_it_is_json_or_the_beginning_of_it(value, limit):
    whole = extended_json.text(value, SECRET, 1 << 30)
    json.loads(whole)
    assert len(extended_json.text(value, SECRET, limit)) <= limit
