"""The page of the API names all of it; every example runs launched and without, and is typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.traced import bare, traced

import apm_run
from docs import api

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("reference/api.md", "how-to/use-the-api.md")

EXAMPLES = [
    pytest.param(code, id=f"{Path(page).stem}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    )
]
PROGRAM = ROOT / "tests" / "launch" / "api_program.py"


def test_every_name_is_on_the_page():
    assert set(api.NAMES) == set(apm_run.__all__) - {"__version__"}
    assert set(apm_run.__all__) <= set(dir(apm_run))
    page = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    for name in api.NAMES:
        section = page.partition(f"\n## `apm_run.{name}`\n")[2].partition("\n## ")[0]
        thing = getattr(apm_run, name)
        if isinstance(thing, type):
            members = [member for member in dir(thing) if not member.startswith("_")]
            assert members
            assert sorted(re.findall(r"^### `\w+\.(\w+)`$", section, re.MULTILINE)) == members
        else:
            assert "```python\nimport apm_run" in section or "\nimport apm_run" in section


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run_launched_and_without(code, tmp_path, sink):
    sink.own_types = True
    file = tmp_path / "example.py"
    file.write_text(code)
    without = bare("python", file)
    assert (without.returncode, without.stderr) == (0, "")
    launched = traced("python", file, url=sink.url)
    assert (launched.returncode, launched.stderr) == (0, "")
    if "is_running" not in code:
        assert launched.stdout == without.stdout
    assert sink.events or not re.search(r"start_transaction\(|capture_|\.name =", code)


def test_programs_that_use_it_are_typed(tmp_path):
    """mypy --strict takes the examples and a program that uses all of it, and sees what is wrong in another."""
    files = [str(PROGRAM)]
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(example.values[0])
        files.append(str(tmp_path / f"example_{number}.py"))
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import apm_run\n"
        'apm_run.current_transaction().outcome = "great"\n'
        'apm_run.add_filter("log", lambda event: event)\n'
        "apm_run.start_span(5)\n"
        '@apm_run.start_span("x")\n'
        "def work(number: int) -> int:\n"
        "    return number\n"
        'work("text")\n'
        'with apm_run.start_span("x") as span:\n'
        '    span.result = "none"\n'
    )
    # The project's own settings name what is to be checked.
    settings = ["--config-file", "", "--strict", "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *settings]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert re.findall(r"wrong\.py:(\d+): error", done.stdout) == ["2", "3", "4", "8", "10"], done.stdout


def test_relative_links_lead_somewhere():
    for page in (*PAGES, "how-to/migrate-from-elastic-apm.md"):
        path = ROOT / "docs" / page
        links = [link for link in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")) if "://" not in link]
        assert links
        assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_page_of_migration_names_what_there_is():
    """Every name of ours on it exists."""
    page = (ROOT / "docs" / "how-to" / "migrate-from-elastic-apm.md").read_text("utf-8")
    assert set(re.findall(r"\bapm_run\.(\w+)", page)) <= set(apm_run.__all__)
    members = set(re.findall(r"current_transaction\(\)\.(\w+)", page))
    assert members
    assert members <= set(dir(apm_run.Transaction))
