from __future__ import annotations

import pytest

from apm_run.intake.limits import KEYWORD, LONG, cut


@pytest.mark.parametrize("value", ["", "short", "x" * KEYWORD, "é" * KEYWORD, "🙂" * KEYWORD])
def test_what_fits_stays_as_it_is(value):
    assert cut(value) is value


@pytest.mark.parametrize("letter", ["x", "é", "🙂"])
def test_the_last_kept_character_becomes_an_ellipsis(letter):
    short = cut(letter * (KEYWORD + 1))
    assert short == letter * (KEYWORD - 1) + "…"
    assert len(short) == KEYWORD


def test_other_limits():
    assert cut("x" * 20_000, LONG) == "x" * 9_999 + "…"
    assert cut("abc", 1) == "…"
