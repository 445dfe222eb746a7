"""Routes written as regular expressions, as names show them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_run.conventions import routes


@pytest.mark.parametrize(
    "route",
    ["", "users/", "users/<int:pk>/", "wiki/Foo_(bar)/", "price$list/", "a[b]c/", "what?/", "1+1/"],
)
def test_what_is_no_pattern(route):
    assert not routes.is_pattern(route)


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("^$", ""),
        ("^users/$", "users/"),
        (r"^users/(?P<pk>[0-9]+)/$", "users/<pk>/"),
        (r"archive/(?P<year>[0-9]{4})/$", "archive/<year>/"),
        (r"^(?P<a>\d+)/(?P<b>(?:x|y(z))+)/\Z", "<a>/<b>/"),
        (r"^items\.(?P<format>[a-z0-9]+)/?$", "items.<format>/"),
        (r"^([^/()]+)/(\d+)$", "<var>/<var>"),
        (r"^page-(?:(?P<page>\d+)\.)?html$", "page-<page>.html"),
        (r"^(?i:Users)/(?P<pk>[]a)]+)$", "Users/<pk>"),
        (r"^(?=x)(?!y)(?<=z)(?<!z)(?#what)a$", "a"),
        (r"^a\b(?P<pk>\(\)[^])]*)+$", "a<pk>"),
        (r"^a[b)]c(d)*$", "a[b)]c<var>"),
        (r"^\d+/\w\-\$$", r"\d+/\w-$"),
        (r"^(?P<broken", ""),
        ("^[broken\\", "[broken\\"),
        ("^(((", "<var>"),
        ("^a\\", "a"),
    ],
)
def test_patterns(pattern, shown):
    assert routes.is_pattern(pattern)
    assert routes.plain(pattern) == shown


@given(st.text(alphabet=r"ab/(?P<:=!#>)[]^$\\d+*|."))
def test_any_text_gets_a_name(text):
    assert isinstance(routes.plain(text), str)


def _valid(text):
    try:
        re.compile(text)
    except re.error:
        return False
    return True


@given(st.text(alphabet="ab/<>:-_", max_size=20))
def test_what_holds_no_special_letters_stays(text):
    assert _valid(text)
    assert routes.plain(text) == text


def test_no_more_patterns_are_kept_than_a_program_has(monkeypatch):
    monkeypatch.setattr(routes, "_kept", {})
    monkeypatch.setattr(routes, "_MOST", 2)
    for number in range(5):
        assert routes.plain(f"^{number}/$") == routes.plain(f"^{number}/$") == f"{number}/"
        assert len(routes._kept) <= 2
