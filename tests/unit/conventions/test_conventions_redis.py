"""What is said of Redis commands, whatever a program hands over."""

from __future__ import annotations

import enum
from types import SimpleNamespace

import pytest

from apm_run.conventions import redis
from apm_run.model import Call


class Shown(str):
    def __str__(self):
        raise AssertionError("the program's code is called")

    upper = __format__ = __repr__ = __str__


class Word(str, enum.Enum):
    GET = "get"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("GET", "GET"),
        ("get", "GET"),
        (b"get", "GET"),
        (Word.GET, "GET"),
        ("CONFIG GET", "CONFIG GET"),
        ("config  get save", "CONFIG GET"),
        (b"script load", "SCRIPT LOAD"),
        ("SET key secret", "SET"),
        ("AUTH secret", "AUTH"),
        (" ", ""),
        ("", ""),
        (b"\xe4", "Ä"),
        (42, None),
        (None, None),
        (bytearray(b"get"), None),
    ],
)
def test_names(word, name):
    assert redis.name(word) == name


def test_a_text_of_the_programs_own_is_not_called():
    assert redis.name(Shown("get")) == "GET"


def client(**options):
    return SimpleNamespace(connection_pool=SimpleNamespace(connection_kwargs=options))


@pytest.mark.parametrize(
    ("options", "address", "port"),
    [
        ({}, "localhost", 6379),
        ({"host": "db", "port": 1}, "db", 1),
        ({"host": "db", "port": "1"}, "db", 1),
        ({"path": "/run/redis.sock"}, "unix:///run/redis.sock", None),
        ({"connection_pool": "a sentinel's"}, None, None),
    ],
)
def test_addresses(options, address, port):
    draft = redis.command(Call(None, (client(**options), "GET", "key"), {}))
    assert (draft.name, draft.address, draft.port) == ("GET", address, port)
    assert draft.db == {"type": "redis"}


def test_what_cannot_be_sent_is_none():
    assert redis.command(Call(None, (client(),), {})) is None
    assert redis.command(Call(None, (client(), ""), {})) is None


def test_a_client_without_a_pool():
    draft = redis.command(Call(None, (object(), "GET"), {}))
    assert (draft.address, draft.port) == (None, None)


def test_what_a_sentinel_has_named():
    call = Call(None, (client(connection_pool=1), "GET"), {})
    draft = redis.command(call)
    redis.reached(call, None, draft)
    assert draft.address is None
    call.instance.connection_pool.master_address = ("db", 1)
    redis.reached(call, None, draft)
    assert (draft.address, draft.port) == ("db", 1)
    call.instance.connection_pool.master_address = ("other", 2)
    redis.reached(call, None, draft)
    assert draft.address == "db"
