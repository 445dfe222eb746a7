"""Wildcards against the published checks and against a plain reading of the rule."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_run.config.wildcard import Matcher, any_match

FIXTURE = Path(__file__).parents[4] / "shared/fixtures/json-specs/wildcard_matcher_tests.json"


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is not there")
def test_published_checks() -> None:
    groups = json.loads(FIXTURE.read_text()).values()
    checks = [(p, t, want) for group in groups for p, texts in group.items() for t, want in texts.items()]
    assert len(checks) == 86
    assert [(p, t) for p, t, want in checks if Matcher(p).match(t) is not want] == []


@pytest.mark.parametrize(
    ("pattern", "text", "want"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*a", "aba", True),
        ("a*ab*a", "aba", False),
        ("*.css", "/x/y.CSS", True),
        ("a*b", "a\n\r\u2028b", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("(?-i)", "", True),
        ("(?-i)A*", "Abc", True),
        ("(?-i)A*", "abc", False),
        ("(?-I)a", "(?-i)A", True),
        ("\u00c4*", "\u00e4x", True),
    ],
)
def test_matching(pattern: str, text: str, want: bool) -> None:
    assert Matcher(pattern).match(text) is want
    assert any_match((Matcher("nothing"), Matcher(pattern)), text) is want


def test_equals_a_regular_expression_on_random_patterns() -> None:
    chance = random.Random(86)
    for _ in range(5000):
        pattern = "".join(chance.choices("aAb*", k=chance.randrange(7)))
        text = "".join(chance.choices("aAb", k=chance.randrange(9)))
        for prefix, flags in (("", re.IGNORECASE), ("(?-i)", re.NOFLAG if hasattr(re, "NOFLAG") else 0)):
            expression = re.compile(".*".join(map(re.escape, pattern.split("*"))), flags | re.DOTALL)
            want = expression.fullmatch(text) is not None
            assert Matcher(prefix + pattern).match(text) is want, (prefix + pattern, text)


# Letters of which lower case is another length, or whose cases are more than two, are no matter of the rule.
ANY = st.text(st.characters(max_codepoint=0x7F) | st.sampled_from("\u00e4\u00c4\u2028\U0001f600\x00"), max_size=30)


def reference(pattern: str) -> re.Pattern[str]:
    """The rule of spec section 22, by :mod:`re`."""
    flags = re.DOTALL | re.IGNORECASE
    if pattern.startswith("(?-i)"):
        pattern, flags = pattern[5:], re.DOTALL
    return re.compile("(?s:.*)".join(map(re.escape, pattern.split("*"))), flags)


@given(
    st.sampled_from(["", "(?-i)"]), st.lists(st.sampled_from("*?aA.\n[(\u00e4\u00c4\\"), max_size=8).map("".join), ANY
)
def test_22_equals_the_reference_on_any_text(prefix: str, pattern: str, text: str) -> None:
    pattern = prefix + pattern
    assert Matcher(pattern).match(text) is (reference(pattern).fullmatch(text) is not None)


@given(st.sampled_from(["", "(?-i)"]), st.lists(ANY, min_size=1, max_size=4), st.data())
def test_22_equals_the_reference_on_what_nearly_matches(prefix: str, pieces: list[str], data: st.DataObject) -> None:
    pieces = [piece.replace("*", "") for piece in pieces]
    pattern = prefix + "*".join(pieces)
    text = "".join(piece + data.draw(ANY) for piece in pieces[:-1]) + pieces[-1]
    text = data.draw(st.sampled_from([text, text.upper(), text[1:], text + "x"]))
    want = reference(pattern).fullmatch(text) is not None
    assert Matcher(pattern).match(text) is want
    assert any_match((Matcher("(?-i)\uffff"), Matcher(pattern)), text) is want


def test_many_stars_do_not_explode() -> None:
    began = perf_counter()
    assert not Matcher("*a" * 50 + "*b").match("a" * 100_000)
    assert perf_counter() - began < 1


def test_no_matcher_matches_nothing() -> None:
    assert any_match((), "") is False


def test_equality_and_repr() -> None:
    assert Matcher("a*") == Matcher("a*")
    assert Matcher("a*") != Matcher("A*")
    assert Matcher("a*") != "a*"
    assert len({Matcher("a"), Matcher("a"), Matcher("b")}) == 2
    assert repr(Matcher("a*")) == "Matcher('a*')"
