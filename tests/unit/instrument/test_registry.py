"""The table of triggers is what the instrumentation files say; a third party's files are found beside them."""

from __future__ import annotations

import pkgutil
import sys

import pytest

from apm_run import instrumentations
from apm_run.instrument import registry
from apm_run.instrument.vocabulary import Instrumentation

FILES = sorted(module.name for module in pkgutil.iter_modules(instrumentations.__path__))


def test_the_table_is_what_the_files_say():
    said: dict[str, set[str]] = {}
    for file in FILES:
        for trigger in registry.load(file).triggers():
            said.setdefault(trigger, set()).add(file)
    assert {trigger: set(files) for trigger, files in registry.BUILT_IN.items()} == said


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_one_instrumentation(file):
    instrumentation = registry.load(file)
    assert type(instrumentation) is Instrumentation
    assert instrumentation.library
    assert instrumentation.versions
    paths = [(type(target).__name__, target.path) for target in instrumentation.targets]
    assert paths
    assert len(paths) == len(set(paths)), "a target twice"
    for _, path in paths:
        assert all(path.partition(":")), path


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only entry of sys.path: a folder with a namespace folder for instrumentations."""
    folder = tmp_path / "site" / "apm_run_instrumentations"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    return folder


def third_parties():
    """What was found beside the built-in files."""
    return {
        trigger: [file for file in files if file.endswith(".py")]
        for trigger, files in registry.triggers().items()
        if any(file.endswith(".py") for file in files)
    }


def test_files_of_third_parties(path):
    for name in ("acme.py", "acme.db.py", "flask.app.py", "_private.py", "__init__.py", "notes.txt", "acme.pyc"):
        (path / name).touch()
    assert third_parties() == {
        "acme": [str(path / "acme.py")],
        "acme.db": [str(path / "acme.db.py")],
        "flask.app": [str(path / "flask.app.py")],
    }
    assert registry.triggers()["flask.app"][0] == "flask"


def test_the_first_on_the_path_hides_the_others(path, tmp_path, monkeypatch):
    other = tmp_path / "other"
    (other / "apm_run_instrumentations").mkdir(parents=True)
    for folder in (path, other / "apm_run_instrumentations"):
        (folder / "acme.py").touch()
    (other / "apm_run_instrumentations" / "more.py").touch()
    monkeypatch.setattr(sys, "path", [sys.path[0], sys.path[0], str(other)])
    assert third_parties() == {
        "acme": [str(path / "acme.py")],
        "more": [str(other / "apm_run_instrumentations" / "more.py")],
    }


def test_odd_entries_of_the_path(path, tmp_path, monkeypatch):
    (path / "acme.py").touch()
    file = tmp_path / "file.zip"
    file.touch()
    # An empty entry is the current directory: what lies in there is nobody's instrumentation.
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(sys, "path", ["", "/no/such/folder", str(file), "nul\0", 5, None])
    assert third_parties() == {}
    monkeypatch.setattr(sys, "path", [*sys.path, path.parent])
    assert third_parties() == {"acme": [f"{path.parent}/apm_run_instrumentations/acme.py"]}


def test_the_table_is_not_changed_by_what_is_found(path):
    (path / "flask.app.py").touch()
    registry.triggers()["flask.app"].append("more")
    assert registry.BUILT_IN["flask.app"] == ("flask",)


SOURCE = """
from apm_run.instrument.vocabulary import Instrumentation, SpanDraft, Target
INSTRUMENTATION = Instrumentation("acme", "1", (Target("acme.db:work", lambda call: SpanDraft("work", "db")),))
"""


def test_load_a_third_partys_file(path):
    file = path / "acme.db.py"
    file.write_text(SOURCE)
    before = set(sys.modules)
    instrumentation = registry.load(str(file))
    assert instrumentation.library == "acme"
    assert instrumentation.triggers() == {"acme.db"}
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise LookupError('broken')", LookupError),
        ("1 +", SyntaxError),
        ("import no_such_module", ModuleNotFoundError),
        ("OTHER = 1", AttributeError),
        (None, FileNotFoundError),
    ],
)
def test_its_failure_is_its_own(path, source, error):
    file = path / "acme.py"
    if source is not None:
        file.write_text(source)
    with pytest.raises(error):
        registry.load(str(file))
