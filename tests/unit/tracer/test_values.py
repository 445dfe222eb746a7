"""What of a value is shown (spec 9, 22): within the limits, by name, and never by running the program's code."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import pathlib
import sys
import time
import uuid

import pytest
from tests.engine import settings

from apm_run import sanitize
from apm_run.tracer import values
from apm_run.tracer.errors import message
from apm_run.tracer.values import Values, clean, clean_source


def show(value, **options):
    found = Values(settings(**options)).of(value)
    json.dumps(found, allow_nan=False)
    return found


def variables(namespace, **options):
    return Values(settings(**options)).variables(namespace)


class Trap:
    """An object that nothing may be asked of: it says so by every way that Python has to ask."""

    def _sprung(self, *_):
        raise AssertionError("the program's code has run")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __hash__ = __eq__ = __format__ = __bytes__ = _sprung
    __getattr__ = __getattribute__ = __index__ = __float__ = __int__ = __contains__ = __getitem__ = _sprung

    @property
    def __class__(self):
        raise AssertionError("the program's code has run")


class Meta(type):
    """A metaclass that is asked nothing either."""

    def __getattribute__(cls, name):
        raise AssertionError("the program's code has run")

    def __repr__(cls):
        raise AssertionError("the program's code has run")

    def __instancecheck__(cls, other):
        raise AssertionError("the program's code has run")

    __subclasscheck__ = __instancecheck__


class Made(metaclass=Meta):
    pass


def make():
    class Local(Trap):
        pass

    return Local()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Trap, f"<{__name__}.Trap>"),
        (lambda: Made(), f"<{__name__}.Made>"),
        (lambda: Made, f"<class {__name__}.Made>"),
        (make, f"<{__name__}.Local>"),
        (lambda: [Trap()], [f"<{__name__}.Trap>"]),
        (lambda: {"a": Trap()}, {"a": f"<{__name__}.Trap>"}),
        (object, "<object>"),
        (lambda: len, "<builtin_function_or_method>"),
        (lambda: make, "<function make>"),
        (lambda: sys, "<module sys>"),
        (lambda: ValueError("x"), "<ValueError>"),
        (lambda: iter([1]), "<list_iterator>"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_of_objects_only_the_type_is_shown(made, expected):
    """Spec 9: a repr that raises, blocks, recurses or is huge costs nothing and breaks nothing."""
    assert show(made()) == expected


def test_lazy_objects_are_not_evaluated():
    """Spec 9: LocalProxy, lazy texts and the like stay lazy."""
    from werkzeug.local import LocalProxy

    def evaluated():
        raise AssertionError("evaluated")

    assert show(LocalProxy(evaluated)) == "<werkzeug.local.LocalProxy>"


def test_subclasses_of_plain_types_run_no_code_of_theirs():
    class Text(str):
        __str__ = __repr__ = __len__ = __getitem__ = Trap._sprung

    class Whole(int):
        __str__ = __repr__ = __index__ = __add__ = Trap._sprung

    class Real(float):
        __str__ = __repr__ = __add__ = Trap._sprung

    class Bytes(bytes):
        __repr__ = __len__ = __getitem__ = Trap._sprung

    class Mapping(dict):
        __repr__ = __len__ = __iter__ = items = keys = __getitem__ = Trap._sprung

    class Sequence(list):
        __repr__ = __len__ = __iter__ = __getitem__ = Trap._sprung

    assert show(Text("abc")) == "abc"
    assert show(Whole(5)) == 5
    assert show(Real(1.5)) == 1.5
    assert show(Bytes(b"ab")) == "b'ab'"
    assert show(Mapping(a=1)) == {"a": 1}
    assert show(Sequence([1, 2, 3])) == [1, 2, 3]
    assert show({Text("abc"): 1}) == {"abc": 1}
    assert show(collections.OrderedDict(a=1)) == {"a": 1}
    assert show(enum.IntEnum("Level", "LOW HIGH").HIGH) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1j, "1j"),
        (range(3), "range(0, 3)"),
        (..., "Ellipsis"),
        (b"a\xff", "b'a\\xff'"),
        (bytearray(b"ab"), "b'ab'"),
        ((1, 2, 3), [1, 2, 3]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        (collections.deque([1]), [1]),
        ({1: 2, b"k": 3, (1,): 4}, {"1": 2, "k": 3, "<tuple>": 4}),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc), "2024-01-02 00:00:00+00:00"),
        (datetime.datetime(2024, 1, 2, 3, 4), "2024-01-02 03:04:00"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
    ],
)
def test_plain_values_are_shown(value, expected):
    assert show(value) == expected


def test_numbers_that_python_refuses_to_write_out():
    assert show(10**10_000) == "<int of 33220 bits>"


def test_a_time_zone_of_the_programs_is_not_asked():
    class Zone(datetime.tzinfo):
        utcoffset = tzname = dst = __repr__ = Trap._sprung

    assert show(datetime.datetime(2024, 1, 2, tzinfo=Zone())) == "<datetime.datetime>"


def test_modules_that_are_not_loaded_are_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "_datetime")
    monkeypatch.delitem(sys.modules, "uuid")
    assert show(datetime.datetime(2024, 1, 2)) == "<datetime.datetime>"
    assert "uuid" not in sys.modules


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 1000, "x" * 199 + "\u2026"),
        ("x" * 200, "x" * 200),
        (b"x" * 1000, "b'" + "x" * 197 + "\u2026"),
        ([0] * 1000, [0] * 10 + ["\u2026 990 more"]),
        (dict.fromkeys(range(1000)), {**{str(key): None for key in range(10)}, "\u2026": "990 more"}),
        ([[[[[[1]]]]]], [[[["<list of 1>"]]]]),
        ({1: {1: {1: {1: {1: 1}}}}}, {"1": {"1": {"1": {"1": "<dict of 1>"}}}}),
    ],
)
def test_limits(value, expected):
    """Spec 4.2: local_var_max_length 200, local_var_list_max_length 10, local_var_dict_max_length 10."""
    assert show(value) == expected


def test_limits_are_options():
    options = {"local_var_max_length": 3, "local_var_list_max_length": 2, "local_var_dict_max_length": 1}
    assert show("abcd", **options) == "ab\u2026"
    assert show([1, 2, 3], **options) == [1, 2, "\u2026 1 more"]
    assert show({"a": 1, "b": 2}, **options) == {"a": 1, "\u2026": "1 more"}
    assert show("abcd", local_var_max_length=0) == ""


def test_cycles_and_hosts_of_values_are_bounded():
    endless: list = []
    endless.extend([endless] * 10)
    wide = {str(number): dict.fromkeys(map(str, range(10)), [0] * 10) for number in range(10)}
    started = time.perf_counter()
    found = variables({f"name{number}": [endless, wide] for number in range(1000)})
    assert time.perf_counter() - started < 1
    assert len(found) == 100
    assert len(json.dumps(found)) < 100_000


def test_what_changes_meanwhile(monkeypatch):
    def changed(*_):
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(values, "islice", changed)
    assert show({"a": 1}) == "<dict>"


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "pwd", "secret", "api_key", "my_token_2", "session_id", "credit", "card", "authorization",
     "user.password", "principal", "HTTP_COOKIE", "cookie", "PASSWORD"],
)  # fmt: skip
def test_sanitised_by_name(name):
    """Spec 22: sanitize_field_names, also of nested keys, of headers and of other pairs."""
    hidden = {
        "direct": {name: "gem"},
        "nested": [{"a": {name: "gem"}}],
        "header": [(name, "gem"), (name.encode(), b"gem")],
        name: {"any": ["gem"]},
    }
    assert "gem" not in json.dumps(variables(hidden))
    assert variables({name: "gem"}) == {name: "[REDACTED]"}
    assert variables({"header": (name, "gem")}) == {"header": [name, "[REDACTED]"]}


def test_the_names_are_an_option():
    assert variables({"password": 1, "pin": 2}, sanitize_field_names="pin") == {"password": 1, "pin": "[REDACTED]"}


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:gem@host/db",
        "could not reach https://user:gem@host/x, sorry",
        "https://host/x?token=gem&a=1",
        "Max retries exceeded with url: /x?api_key=gem (Caused by y)",
        "token=gem&a=1",
        "host=h password=gem dbname=d",
    ],
)
def test_secrets_of_urls_and_connection_strings(text):
    """Spec 18, 22: user info and secret parameters, wherever a URL stands."""
    assert "gem" not in show(text)
    assert "gem" not in show(text.encode())
    assert "gem" not in message(ValueError(text), settings())
    assert "gem" not in message(ValueError([text, 1]), settings())


def test_what_is_no_secret_stays():
    secret = sanitize.names(settings().sanitize_field_names)
    for text in ("a = b", "x=1", "mail@example.com", "SELECT * FROM t WHERE a = ?", "https://host/x?a=1&b=2"):
        assert clean(text, secret) == text
    for line in ('raise ValueError("no money")', "x = 'y'", "password = ask()", 'print(f"{a}={b}")'):
        assert clean_source(line, secret) == line


@pytest.mark.parametrize(
    "line",
    ['password = "gem"', "d = {'token': 'gem', 'a': 'b'}", 'connect(api_key="gem")', 'password: str = "gem"',
     'config["secret"] = "gem"', "api_key='gem", 'dsn = "postgres://u:gem@h/d"', "secret = b'ge\\'gem'"],
)  # fmt: skip
def test_literals_of_secret_names_in_source_lines(line):
    assert "gem" not in clean_source(line, sanitize.names(settings().sanitize_field_names))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: ValueError("plain"), "plain"),
        (lambda: ValueError(), ""),
        (lambda: ValueError("a", 5), "('a', 5)"),
        (lambda: KeyError("k"), "'k'"),
        (lambda: OSError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (lambda: RuntimeError(ValueError("inner")), "inner"),
        (lambda: ValueError(Trap()), f"<{__name__}.Trap>"),
        (lambda: KeyError(Trap()), f"<{__name__}.Trap>"),
        (lambda: ValueError("a", Trap()), f"(a, <{__name__}.Trap>)"),
        (lambda: ValueError({"a": Trap()}), f"{{'a': '<{__name__}.Trap>'}}"),
        (lambda: ValueError([1, [2, {3: (4,)}]]), "[1, [2, {3: (4,)}]]"),
        (lambda: ValueError(pathlib.PurePosixPath("/x")), "/x"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_messages_evaluate_nothing(made, expected):
    """Spec 8: the message of an exception says what its class says; its arguments are asked nothing."""
    assert message(made(), settings()) == expected


def test_messages_of_exceptions_with_words_of_their_own():
    class Mine(Exception):
        def __str__(self):
            return "my words"

    class Leaving(Exception):
        def __str__(self):
            raise SystemExit(3)

    class Text(str):
        __str__ = Trap._sprung

    assert message(Mine(), settings()) == "my words"
    assert message(Leaving(), settings()) == "<unprintable Leaving object>"
    assert message(ValueError(Text("said")), settings()) == "said"


def test_messages_of_endless_arguments():
    error = ValueError("x")
    error.args = (error,)
    assert message(error, settings()) == "<ValueError>"
    assert len(message(ValueError("x" * 10**6), settings())) == 20_000


def test_names_of_types_that_are_none():
    kind = type("Kind", (), {})
    kind.__module__ = 5  # type: ignore[assignment]
    assert values.name_of(kind) == ("", "Kind")
