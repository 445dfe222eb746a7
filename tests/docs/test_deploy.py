"""The page about deployment: what it names is there, what it quotes is what the examples say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/deploy.md"
EXAMPLES = ROOT / "examples/deploy"


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())
    assert len(links) > 5
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


@pytest.mark.parametrize(
    "name",
    ["Containerfile", "kubernetes/init-container.yaml", "kubernetes/flush.yaml", "systemd/shop.service.d/apm-run.conf"],
)
def test_what_is_quoted_is_in_the_example(name) -> None:
    """Every quoted line of the section that links to the example, comments aside."""
    sections = re.split(r"(?m)^## ", PAGE.read_text())
    (section,) = (section for section in sections if f"examples/deploy/{name})" in section)
    quoted = [line.split(" #")[0].strip() for line in section.splitlines() if line.startswith("    ")]
    example = {line.split(" #")[0].strip() for line in (EXAMPLES / name).read_text().splitlines()}
    assert len(quoted) >= 3
    assert [line for line in quoted if line and line not in example] == []


def test_every_example_is_told_of() -> None:
    page = PAGE.read_text()
    files = {path.name for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in files if name not in page} == set()


def test_the_options_of_bundle_are_told() -> None:
    from apm_run.cli.bundle import COMMAND

    page = PAGE.read_text()
    for option in COMMAND.params[1:]:
        assert f"`{option.opts[0]} {option.metavar}`" in page
