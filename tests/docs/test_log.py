"""Every slug of the agent's own log is documented, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_the_slugs_and_their_levels():
    written = set()
    for file in (ROOT / "src" / "apm_run").rglob("*.py"):
        written |= set(re.findall(r'\bwrite\(\s*"([a-z]+)",\s*"([a-z]+\.[a-z.]+)"', file.read_text()))
    page = (ROOT / "docs" / "reference" / "log.md").read_text()
    listed = {(level, slug) for slug, level in re.findall(r"^\| `([a-z.]+)` \| ([a-z]+) \|", page, re.MULTILINE)}
    assert written == listed
    assert len(listed) > 3
