"""Instrumentations of third parties, as distributions that are built and installed: a good one and a broken one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.traced import BOOTSTRAP, bare, traced

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"

[tool.hatch.build.targets.wheel]
only-include = ["apm_run_instrumentations"]
"""

GOOD = """
from apm_run.instrument.vocabulary import Instrumentation, SpanDraft, Target


def work(call):
    return SpanDraft(f"WORK {call.argument(0, 'what', 'work')}", "custom", "acme")


def many(call):
    return SpanDraft("MANY", "custom", "acme", exit=False)


INSTRUMENTATION = Instrumentation("acme", "1", (Target("acme.good:work", work), Target("acme.good:many", many)))
"""

BROKEN = {
    "acme.raises": "raise LookupError('broken at import')",
    "acme.syntax": "INSTRUMENTATION = = 1",
    "acme.nothing": "OTHER = 1",
    "acme.imports": "import a_library_that_is_not_there",
    # Beside it, what it names and is there is instrumented.
    "acme.missing": """
from apm_run.instrument.vocabulary import Instrumentation, SpanDraft, Target
INSTRUMENTATION = Instrumentation("acme", "1", (
    Target("acme.missing:no_such_function", lambda call: None),
    Target("acme.missing:NoSuchClass.method", lambda call: None),
    Target("acme.missing:there", lambda call: SpanDraft("THERE", "custom")),
))
""",
    # It fails at each call.
    "acme.fails": """
from apm_run.instrument.vocabulary import Instrumentation, Target
INSTRUMENTATION = Instrumentation("acme", "1", (Target("acme.fails:work", lambda call: 1 / 0),))
""",
    # It knows something else of a library that we instrument ourselves.
    "sqlite3": "raise LookupError('broken beside a built-in one')",
}

LIBRARY = """
def work(what="work"):
    return what

def many():
    return [work("a"), work("b")]

def there():
    return "there"
"""

PROGRAM = """
import sqlite3
from acme import fails, good, imports, missing, nothing, raises, syntax

print(good.work(), good.many(), missing.there(), [fails.work() for _ in range(10)])
print(raises.work(), syntax.work(), nothing.work(), imports.work())
connection = sqlite3.connect(":memory:")
print(connection.execute("select 1").fetchall())
connection.close()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with both distributions, and one with the program and its library."""
    folder = tmp_path_factory.mktemp("third-party")
    for name, files in (("acme-apm", {"acme.good": GOOD}), ("acme-broken-apm", BROKEN)):
        source = folder / name / "apm_run_instrumentations"
        source.mkdir(parents=True)
        (folder / name / "pyproject.toml").write_text(PROJECT.format(name=name))
        for trigger, text in files.items():
            (source / f"{trigger}.py").write_text(text)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-build-isolation", "--no-deps", "--target", str(folder / "site")]
    done = subprocess.run(
        [*command, str(folder / "acme-apm"), str(folder / "acme-broken-apm")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    library = folder / "program" / "acme"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    for trigger in ("acme.good", *BROKEN):
        (library / f"{trigger.rpartition('.')[2]}.py").write_text(LIBRARY)
    (folder / "program" / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def run(installed, sink, tmp_path):
    def run(**options):
        environ = {
            "PYTHONPATH": f"{BOOTSTRAP}:{installed / 'site'}",
            "APM_RUN_STRICT": "0",  # as in a program: a third party's failure is its own
            "APM_RUN_REPORT": str(tmp_path / "report.json"),
            "APM_RUN_STATE_DIR": str(tmp_path / "state"),
            **options,
        }
        done = traced("python", installed / "program" / "program.py", url=sink.url, env=environ)
        plain = bare("python", installed / "program" / "program.py")
        assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
        assert plain.returncode == 0
        return json.loads((tmp_path / "report.json").read_text())

    return run


def table(report):
    """What became of each library (by its name or its file's) and of its targets."""
    found = {}
    for library in report["instrumentations"]:
        found[library["library"].rpartition("/")[2]] = (library["state"], library["detail"])
        for target in library["targets"]:
            found[target["path"]] = (target["state"], target["detail"])
    return found


def test_the_good_one_traces_and_the_broken_one_disables_nothing_else(run, sink):
    report = run()
    sink.wait(lambda sink: sink.transactions and len(sink.spans) == 6)
    assert [line.partition(" [")[0] for line in sink.tree().splitlines()] == [
        "program.py",
        "  WORK work",
        "  MANY",
        "    WORK a",
        "    WORK b",
        "  THERE",
        "  SELECT",
    ]
    found = table(report)
    assert {name: found[name] for name in found if ":" in name and name.startswith("acme")} == {
        "acme.good:work": ("wrapped", ""),
        "acme.good:many": ("wrapped", ""),
        "acme.missing:no_such_function": ("skipped", "no no_such_function"),
        "acme.missing:NoSuchClass.method": ("skipped", "no NoSuchClass.method"),
        "acme.missing:there": ("wrapped", ""),
        "acme.fails:work": ("switched off", found["acme.fails:work"][1]),
    }
    reasons = {
        "acme.raises.py": "LookupError: broken at import",
        "acme.syntax.py": "SyntaxError: ",
        "acme.nothing.py": "AttributeError: ",
        "acme.imports.py": "ModuleNotFoundError: No module named 'a_library_that_is_not_there'",
        "sqlite3.py": "LookupError: broken beside a built-in one",
    }
    for name, reason in reasons.items():
        state, detail = found[name]
        assert state == "failed"
        assert detail.startswith(reason), detail
    assert found["sqlite3:connect"] == ("wrapped", "")


def test_one_of_them_can_be_disabled(run, sink):
    found = table(run(ELASTIC_APM_DISABLE_INSTRUMENTATIONS="acme"))
    sink.wait(lambda sink: sink.transactions and sink.spans)
    assert [line.partition(" [")[0] for line in sink.tree().splitlines()] == ["program.py", "  SELECT"]
    assert "acme.good:work" not in found or found["acme.good:work"][0] != "wrapped"
