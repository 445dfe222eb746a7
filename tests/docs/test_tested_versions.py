"""The page of tested releases has a row for each that is to be tested."""

from __future__ import annotations

from collections import Counter

from integration.libraries.versions import RELEASES
from integration.library_versions import PAGE


def test_a_row_per_release():
    rows = [line.split("|")[1:3] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    tested = {(library.strip(), release.strip()) for library, release in rows}
    named = Counter((each.library, each.release) for each in RELEASES)
    assert [each for each, times in named.items() if times > 1] == []  # its row would be written twice
    assert {each for each in named if each[1]} - tested == set()
    # The newest of a library has a row of its own, whichever it was.
    every, of_page = (Counter(library for library, _ in each) for each in (named, tested))
    assert every - of_page == Counter()
