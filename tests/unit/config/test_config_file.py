"""The configuration file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apm_run import config
from apm_run.config.wildcard import Matcher

SOURCE = str(Path(config.__file__).parents[2])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "apm-run.toml"


def load(file: Path, **environ: str) -> tuple[config.Settings, list[str]]:
    settings, problems = config.load({"APM_RUN_CONFIG": str(file), **environ})
    return settings, [str(problem) for problem in problems]


FULL = """
service_name = "shop"
recording = false
server_timeout = "3s"
api_request_time = 4
transaction_sample_rate = 0.5
transaction_max_spans = 7
transaction_ignore_urls = ["/a,b", "*.css"]
sanitize_field_names = "a, b"
server_url = ""
[global_labels]
team = "pay,ments"
tier = 2
"""


def test_values_of_every_toml_type(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    settings, problems = load(file)
    assert problems == []
    assert (settings.service_name, settings.recording, settings.server_timeout) == ("shop", False, 3.0)
    assert (settings.api_request_time, settings.transaction_sample_rate) == (4.0, 0.5)
    assert settings.transaction_max_spans == 7
    assert settings.transaction_ignore_urls == (Matcher("/a,b"), Matcher("*.css"))
    assert settings.sanitize_field_names == (Matcher("a"), Matcher("b"))
    assert settings.global_labels == {"team": "pay,ments", "tier": "2"}
    assert settings.origin("service_name") == f"file {file}"
    assert settings.origin("server_url") == "default"


def test_the_environment_wins(file: Path) -> None:
    file.write_text('service_name = "file"\nenvironment = "file"\n')
    settings, problems = load(file, ELASTIC_APM_SERVICE_NAME="env")
    assert (settings.service_name, settings.environment, problems) == ("env", "file", [])


def test_a_bad_environment_falls_to_the_file_and_a_bad_file_to_the_default(file: Path) -> None:
    file.write_text("transaction_max_spans = 10\ntransaction_sample_rate = 3\n")
    settings, problems = load(file, ELASTIC_APM_TRANSACTION_MAX_SPANS="many", ELASTIC_APM_TRANSACTION_SAMPLE_RATE="all")
    assert (settings.transaction_max_spans, settings.transaction_sample_rate) == (10, 1.0)
    assert problems == [
        'transaction_sample_rate: "all" (environment ELASTIC_APM_TRANSACTION_SAMPLE_RATE) '
        "is not a number from 0 to 1; using 1.0 (default)",
        f'transaction_sample_rate: "3" (file {file}) is not a number from 0 to 1; using 1.0 (default)',
        'transaction_max_spans: "many" (environment ELASTIC_APM_TRANSACTION_MAX_SPANS) '
        f"is not a whole number of -1 or more; using 10 (file {file})",
    ]


def test_values_of_the_wrong_toml_type(file: Path) -> None:
    file.write_text('service_name = ["a"]\nenabled = 1979-05-27\nglobal_labels = [1]\nlog_level = {a = 1}\n')
    settings, problems = load(file)
    assert len(problems) == 4
    assert (settings.service_name, settings.enabled, settings.global_labels) == (None, True, {})


def test_the_table_of_a_shared_file(file: Path) -> None:
    file.write_text(
        'version = 1\nenvironment = "top"\nservice_name = "top"\n[apm-run]\nservice_name = "table"\nenvironmnt = 2\n'
        "[tool.x]\ny = 1\n"
    )
    settings, problems = load(file)
    assert (settings.service_name, settings.environment) == ("table", "top")
    assert problems == [f"environmnt (file {file}) is not an option of apm-run; did you mean environment?"]


def test_unknown_names(file: Path) -> None:
    file.write_text('service-name = "x"\n"a b\\nc" = 1\nSERVICE_NAME = "x"\n')
    settings, problems = load(file)
    assert settings.service_name is None
    assert problems == [
        f"service-name (file {file}) is not an option of apm-run; did you mean service_name?",
        f"a b\\nc (file {file}) is not an option of apm-run",
        f"SERVICE_NAME (file {file}) is not an option of apm-run; did you mean service_name?",
    ]


def test_unusable_files(file: Path) -> None:
    cases = {
        b"service_name = \n": "is not valid TOML: ",
        b"a" * 2_000_000: "is larger than 1 MiB",
        b'service_name = "\xff"\n': "is not UTF-8",
        b"apm-run = 1\n": "is not usable: `apm-run` is not a table",
        b"transaction_max_spans = 1" + b"0" * 5000: "is not valid TOML: ",
        b"a = " + b"[" * 100_000: "is not valid TOML: ",
    }
    for content, reason in cases.items():
        file.write_bytes(content)
        settings, problems = load(file, ELASTIC_APM_ENVIRONMENT="still")
        assert settings.environment == "still"
        assert len(problems) == 1
        assert problems[0].startswith(f'configuration file: "{file}" (APM_RUN_CONFIG or --config) {reason}')
        assert len(problems[0]) < 500
        assert problems[0].isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = {tmp_path / "none": "does not exist", tmp_path: "is not a file", pipe: "is not a file"}
    for path, reason in cases.items():
        assert load(path)[1] == [f'configuration file: "{path}" (APM_RUN_CONFIG or --config) {reason}']


def test_a_file_without_permission(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        file.write_text("")
        file.chmod(0)
        path, reason = file, "Permission denied"
    else:  # root may read everything, but not this file of the kernel
        path, reason = Path("/proc/self/mem"), "Input/output error"
    assert load(path)[1] == [f'configuration file: "{path}" (APM_RUN_CONFIG or --config) cannot be read: {reason}']


OLD = [
    path
    for path in (
        shutil.which("python3.9"),
        shutil.which("python3.10"),
        *map(str, Path.home().glob(".pyenv/versions/3.[19]*/bin/python")),
    )
    if path is not None
]


def old_python() -> str:
    """An interpreter without tomllib, which has to get by with tomli."""
    for path in OLD:
        if subprocess.run([path, "-c", "import tomllib"], capture_output=True, check=False).returncode == 1:
            return path
    pytest.skip("no Python 3.9 or 3.10 here")


CODE = """
import sys, apm_run.config as c
settings, problems = c.load()
print(settings.service_name, [str(p) for p in problems], sorted(m for m in sys.modules if m.startswith("tomli")))
"""


def run_old(folder: Path, path: list[str], code: str = CODE) -> str:
    (folder / "c.toml").write_text('service_name = "shop"\n')
    done = subprocess.run(
        [old_python(), "-S", "-c", code],
        env={"APM_RUN_CONFIG": str(folder / "c.toml"), "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def fake_tomli(folder: Path, name: str) -> None:
    package = folder / "tomli"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("from ._part import loads\n")
    package.joinpath("_part.py").write_text(f"def loads(text): return {{'service_name': {name!r}}}\n")


class TestBelowPython311:
    def test_tomli_beside_the_agent_is_used_and_not_left_to_the_program(self, tmp_path: Path) -> None:
        shutil.copytree(Path(SOURCE) / "apm_run", tmp_path / "site/apm_run")
        fake_tomli(tmp_path / "site", "beside")
        fake_tomli(tmp_path / "theirs", "theirs")
        out = run_old(tmp_path, [str(tmp_path / "theirs"), str(tmp_path / "site")])
        assert out == "beside [] []\n"

    def test_tomli_of_the_program_else(self, tmp_path: Path) -> None:
        fake_tomli(tmp_path / "theirs", "theirs")
        assert run_old(tmp_path, [SOURCE, str(tmp_path / "theirs")]) == "theirs [] []\n"

    def test_tomli_that_is_loaded_already_stays(self, tmp_path: Path) -> None:
        fake_tomli(tmp_path / "theirs", "theirs")
        out = run_old(tmp_path, [SOURCE, str(tmp_path / "theirs")], "import tomli" + CODE)
        assert out == "theirs [] ['tomli', 'tomli._part']\n"

    def test_without_any(self, tmp_path: Path) -> None:
        out = run_old(tmp_path, [SOURCE])
        assert out == (
            f'None [\'configuration file: "{tmp_path}/c.toml" (APM_RUN_CONFIG or --config) cannot be read: '
            "it needs Python 3.11, or the package tomli beside apm-run'] []\n"
        )

    def test_one_that_is_broken(self, tmp_path: Path) -> None:
        package = tmp_path / "theirs"
        package.mkdir()
        package.joinpath("tomli.py").write_text("raise RuntimeError('broken')")
        out = run_old(tmp_path, [SOURCE, str(package)])
        assert out == (
            f'None [\'configuration file: "{tmp_path}/c.toml" (APM_RUN_CONFIG or --config) cannot be read: '
            "tomli cannot be loaded: broken'] []\n"
        )


class TestInThisInterpreter:
    """The same as above without another interpreter: what counts as loaded is this process."""

    @pytest.fixture(autouse=True)
    def _no_tomllib(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tomllib", None)
        monkeypatch.delitem(sys.modules, "tomli", raising=False)

    @pytest.mark.parametrize("loaded", [False, True])
    def test_tomli(self, file: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool) -> None:
        file.write_text("x = 1")
        monkeypatch.setattr(sys, "path", [str(file.parent)])
        fake_tomli(file.parent, "theirs")
        monkeypatch.setattr("apm_run.config.file.__file__", str(file.parent / "a/b/c.py"))
        if loaded:
            import tomli  # type: ignore[import-not-found,unused-ignore]

            del sys.modules["tomli"]  # or it would be what is restored at the end
            monkeypatch.setitem(sys.modules, "tomli", tomli)
        assert load(file)[0].service_name == "theirs"
        assert ("tomli" in sys.modules) is loaded

    def test_none(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("x = 1")
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.setattr("apm_run.config.file.__file__", str(file.parent / "a/b/c.py"))
        assert load(file)[1][0].endswith("it needs Python 3.11, or the package tomli beside apm-run")

    def test_broken(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("x = 1")
        (file.parent / "tomli.py").write_text("import nonexistent_module")
        monkeypatch.setattr(sys, "path", [str(file.parent)])
        monkeypatch.setattr("apm_run.config.file.__file__", str(file.parent / "a/b/c.py"))
        assert load(file)[1][0].endswith("tomli cannot be loaded: No module named 'nonexistent_module'")
        assert "tomli" not in sys.modules
