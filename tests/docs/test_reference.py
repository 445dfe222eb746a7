"""The generated pages are up to date and whole; the README shows the two commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from apm_run.config import OPTIONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/configuration.md"


def generate(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "docs.generate", *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def test_pages_are_up_to_date() -> None:
    done = generate("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_page_is_named_and_then_written(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for file in (ROOT / "docs").glob("*.py"):
        (tmp_path / "docs" / file.name).write_bytes(file.read_bytes())
    checked = generate("--check", root=tmp_path)
    assert checked.returncode == 1
    pages = ("configuration.md", "api.md", "events.md", "supported.md")
    stale = [f"docs/reference/{page} is not up to date: run `make docs`\n" for page in pages]
    assert checked.stderr == "".join(stale)
    assert generate(root=tmp_path).returncode == 0
    assert (tmp_path / "docs/reference/configuration.md").read_bytes() == PAGE.read_bytes()
    assert generate("--check", root=tmp_path).returncode == 0
    (tmp_path / "docs/reference/configuration.md").write_text("old")
    assert generate("--check", root=tmp_path).returncode == 1


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_documented(option) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition(f"\n### `{option.name}`\n")[2].partition("\n### ")[0]
    assert option.help in section
    assert f"`{option.variable}`" in section
    assert option.default is None or f"`{option.default}`" in section
    assert f"`{option.example}`" in section
    assert len(option.help) > 20
    assert option.help.endswith(".")


def test_nothing_else_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^### `(.*)`$", page, re.MULTILINE) == [option.name for option in OPTIONS]
    assert "|  |" not in page


def test_the_readme_shows_both_commands() -> None:
    lines = [line.strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    assert "make demo" in lines
    assert "make test" in lines


def test_relative_links_of_the_readme_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", readme) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_option_is_read_by_something():
    """An option that nothing reads would promise what does not happen."""
    files = (ROOT / "src" / "apm_run").rglob("*.py")
    source = "\n".join(file.read_text() for file in files if file.parent.name != "config")
    unread = [option.name for option in OPTIONS if not re.search(rf"\b{option.name}\b", source)]
    assert unread == ["span_frames_min_duration"], "but for the one that sets its successor"
