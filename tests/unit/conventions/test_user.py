"""Who a request is from: what lies in the object, nothing computed."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest
from tests.engine import Engine

from apm_run.conventions import user

ADA = {"id": "7", "username": "ada", "email": "ada@example.com"}


class Lazy:
    """A lazy object of Django's kind; to look into it is a query to the database."""

    def __init__(self, wrapped=None):
        self.__dict__["_wrapped"] = object() if wrapped is None else wrapped

    def __getattr__(self, name):
        pytest.fail(f"looked at {name}")

    __class__ = property(lambda self: pytest.fail("looked at its class"))


class Computed:
    def __init__(self):
        self.username = "ada"

    @property
    def id(self):
        pytest.fail("computed")


def noted(found, **names):
    transaction = Engine().begin()
    user.note(transaction, found, **names)
    return transaction.context.get("user")


def test_what_lies_in_the_object():
    assert noted(SimpleNamespace(id=7, username="ada", email="ada@example.com", password="secret")) == ADA
    assert noted(SimpleNamespace(id=UUID(int=7))) == {"id": str(UUID(int=7))}
    assert noted(SimpleNamespace(id=True, username=None, email=b"x")) is None
    assert noted(Computed()) == {"username": "ada"}
    for none in (None, "ada", 7, object()):
        assert noted(none) is None


def test_other_names():
    found = SimpleNamespace(number=7, login="ada", mail="ada@example.com")
    assert noted(found, id="number", username="login", email="mail") == ADA


def test_what_was_said_before_stays():
    transaction = Engine().begin()
    transaction.context["user"] = {"id": "mine"}
    user.note(transaction, SimpleNamespace(id=7))
    assert transaction.context["user"] == {"id": "mine"}


def test_lazy_objects():
    ada = SimpleNamespace(id=7)
    assert user.found(ada) is ada
    assert user.found(Lazy(ada)) is ada
    assert user.found(Lazy(Lazy(ada))) is ada
    assert user.found(Lazy()) is None
    assert user.found(Lazy(Lazy())) is None
    assert user.found(None) is None
    endless = Lazy()
    endless.__dict__["_wrapped"] = endless
    assert user.found(endless) is None
