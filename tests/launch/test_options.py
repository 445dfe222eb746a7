"""The launcher's own options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.launch.support import environment, run

from apm_run.cli import options
from apm_run.version import __version__

SHOW = [
    sys.executable,
    "-S",
    "-c",
    "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('ELASTIC', 'APM_RUN'))}))",
]


@pytest.fixture(params=["sh", "python"])
def launcher(request, plain, script):
    if request.param == "python":
        return [str(plain / "bin" / "python"), "-m", "apm_run"]
    return [script]


def given(launcher, *options, **variables):
    """Return our variables as the program has them, without those that are always there."""
    done = run([*launcher, *options, *SHOW], env=environment(**variables))
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    for name in ("APM_RUN_LAUNCHED", "APM_RUN_STRICT", "ELASTIC_APM_DISABLE_SEND"):
        del found[name]
    return found


@pytest.mark.parametrize("name", ["service_name", "environment", "server_url", "secret_token", "api_key", "log_level"])
def test_settings(launcher, name):
    option = "--" + name.replace("_", "-")
    expected = {f"ELASTIC_APM_{name.upper()}": "a value", "APM_RUN_OPTIONS": name}
    assert given(launcher, option, "a value") == expected
    assert given(launcher, f"{option}=a value") == expected
    assert given(launcher, f"{option}=a value", **{f"ELASTIC_APM_{name.upper()}": "other"}) == expected


def test_no_option_no_variable(launcher):
    assert given(launcher) == given(launcher, "--") == {}


def test_values_are_not_judged(launcher):
    """A bad value is the agent's to tell; the program starts."""
    assert given(launcher, "--log-level", "loud", "--service-name=")["ELASTIC_APM_LOG_LEVEL"] == "loud"
    assert given(launcher, "--service-name=")["ELASTIC_APM_SERVICE_NAME"] == ""


def test_set(launcher):
    found = given(
        launcher, "--set", "transaction_sample_rate=0.5", "--set=span-min-duration=a=b,c", "--set", "CAPTURE_BODY="
    )
    assert found == {
        "ELASTIC_APM_TRANSACTION_SAMPLE_RATE": "0.5",
        "ELASTIC_APM_SPAN_MIN_DURATION": "a=b,c",
        "ELASTIC_APM_CAPTURE_BODY": "",
        "APM_RUN_OPTIONS": "transaction_sample_rate,span_min_duration,capture_body",
    }


def test_the_last_one_wins(launcher):
    assert given(launcher, "--service-name", "a", "--service-name", "b", "--set", "x=1", "--set", "x=2") == {
        "ELASTIC_APM_SERVICE_NAME": "b",
        "ELASTIC_APM_X": "2",
        "APM_RUN_OPTIONS": "service_name,x",
    }


def test_options_of_an_outer_launch_are_still_listed(launcher):
    outer = [*launcher, "--service-name", "a", "--set", "transaction_max_spans=1"]
    found = given([*outer, *launcher, "--set", "transaction_max_spans=2", "--set", "recording=true"])
    assert found["APM_RUN_OPTIONS"] == "service_name,transaction_max_spans,recording"
    assert found["ELASTIC_APM_TRANSACTION_MAX_SPANS"] == "2"


def test_bytes_that_are_no_text(launcher):
    command = [*launcher, b"--service-name", b"\xff", "sh", "-c", 'printf %s "$ELASTIC_APM_SERVICE_NAME"']
    assert run(command).stdout == b"\xff"


def test_config(launcher, tmp_path):
    (tmp_path / "apm.toml").write_text('service_name = "x"\n')
    command = [*launcher, "--config", "apm.toml", *SHOW]
    found = json.loads(run(command, cwd=tmp_path).stdout)
    assert found["APM_RUN_CONFIG"] == str(tmp_path / "apm.toml")
    assert "APM_RUN_OPTIONS" not in found


def refused(launcher, *options, **how):
    """Return the one line that says why the program was not started."""
    done = run([*launcher, *options], **how)
    assert (done.returncode, done.stdout) == (2, b"")
    line = done.stderr.decode()
    assert line.startswith("apm-run: ")
    assert line.count("\n") == 1
    return line


STARTED = ["touch", "started"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--service"], ["--service", "--help"]),
        (["--frobnicate", "x"], ["--frobnicate"]),
        (["-x"], ["-x"]),
        (["--set", "nonsense"], ["--set", "nonsense=value"]),
        (["--set", "=x"], ["--set", "=x"]),
        (["--set", "two words=x"], ["--set", "two words"]),
        (["--service-name", "--environment", "x"], ["--service-name", "needs a value", "--environment"]),
        (["--service-name", "--"], ["--service-name", "needs a value"]),
        (["--config", "no-such-file"], ["--config", "no-such-file", "No such file"]),
        (["--config", "."], ["--config", "directory"]),
        (["--local=yes"], ["--local"]),
        (["--keep"], ["--keep", "--local"]),
        (["--local", "--server-url", "http://x"], ["--local", "--server-url"]),
    ],
)
def test_usage_errors(launcher, tmp_path, options, words):
    line = refused(launcher, *options, *STARTED, cwd=tmp_path)
    assert all(word in line for word in words), line
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("option", ["--service-name", "--config", "--set", "--api-key"])
def test_a_value_that_is_missing(launcher, option):
    assert option in refused(launcher, option)


def test_no_secret_in_an_error(launcher):
    for words in (
        ["--service-name", "--api-key=hidden"],
        ["--secret-token", "--api-key=hidden"],
        ["--api-key", "hidden", "--no-such-option"],
    ):
        assert "hidden" not in refused(launcher, *words, "true")


def test_a_config_file_that_can_not_be_read(launcher):
    """Nor one that is nobody's to read, root included."""
    assert "--config" in refused(launcher, "--config", "/proc/self/mem", "true")


def test_options_without_command(launcher):
    done = run([*launcher, "--service-name", "x"])
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: apm-run ")


def test_an_unknown_command_after_options(launcher):
    done = run([*launcher, "--service-name", "x", "no-such-command"])
    assert (done.returncode, done.stderr) == (127, b"apm-run: no-such-command: command not found\n")


def test_version(launcher):
    done = run([*launcher, "--version"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"apm-run {__version__}\n".encode(), b"")


def test_help(launcher):
    done = run([*launcher, "--help"])
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    for option in options.SETTINGS:
        assert "--" + option.replace("_", "-") in text
    for word in ("--config", "--local", "--keep", "--set", "--version", "--help", "ELASTIC_APM_SECRET_TOKEN"):
        assert word in text
    assert "Examples" in text
    assert len(text.splitlines()) < 50


@pytest.mark.parametrize("words", [["--set", "a=b"], ["--version"], []])
def test_the_current_directory_changes_nothing(launcher, tmp_path, words):
    """A module of that name in it is neither the launcher's nor, where bare it is not, the program's."""
    names = {"click", "queue", "json", "tomli", "wrapt", "gettext", "shutil", "difflib", "locale"}
    if "-m" not in launcher:  # these, python -m itself takes from there
        names |= {"os", "signal", "apm_run", "enum", "types", "runpy"}
    for name in names:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('trapped')\n")
    done = run([*launcher, *words, "echo", "fine"], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONPATH": "HERE"},
        {"PYTHONHOME": "/nonexistent"},
        {"PYTHONSTARTUP": "/nonexistent", "PYTHONINSPECT": "1"},
        {"PYTHONWARNINGS": "error", "PYTHONVERBOSE": "1", "PYTHONDEVMODE": "1"},
        {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
    ],
)
def test_variables_of_the_program_are_not_the_launchers(script, tmp_path, variables):
    """What is meant for the program's Python does not reach that of the launcher."""
    (tmp_path / "click.py").write_text("raise SystemExit('trapped')\n")
    variables = {name: value.replace("HERE", str(tmp_path)) for name, value in variables.items()}
    done = run([script, "--set", "a=b", "echo", "fine"], env=environment(**variables))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fine\n", b"")


def test_click_is_loaded_for_options_only(plain):
    """Without options the Python form has what every interpreter has anyway, and one module of ours."""
    python = str(plain / "bin" / "python")
    code = (
        "import os, sys\n"
        "before = set(sys.modules)\n"
        "os.execve = lambda *_: (print(sorted(set(sys.modules) - before)), os._exit(0))\n"
        "from apm_run.cli.main import main\n"
        "import builtins; real = print; builtins.print = lambda *a: real(*a, flush=True)\n"
        "main(sys.argv[1:])\n"
    )
    plainly = run([python, "-I", "-c", code, "true"]).stdout.decode()
    with_option = run([python, "-I", "-c", code, "--set", "a=b", "true"]).stdout.decode()
    assert "click" not in plainly
    assert "'click'" in with_option
    allowed = {
        "apm_run",
        "apm_run.cli",
        "apm_run.cli.main",
        "apm_run.cli.launch",
        "apm_run.version",
        "signal",
        "enum",
        "types",
    }
    helpers = {"operator", "_operator", "functools", "collections", "reprlib", "_reprlib", "keyword", "itertools"}
    loaded = {name.strip(" '") for name in plainly.strip("[]\n").split(",")}
    assert {name for name in loaded if not name.startswith("_")} <= allowed | helpers


def test_interrupted_without_a_traceback(plain):
    """Ctrl-C while the launcher itself is at work."""
    code = (
        "import os, signal, sys\n"
        "from apm_run.cli import launch, main\n"
        "launch.Process.current = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "main.main(['true'])\n"
    )
    done = subprocess.run([plain / "bin" / "python", "-I", "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("bundle", "--help"), ("doctor", "--json")])
def test_output_that_nobody_reads_ends_as_everywhere(words, tmp_path):
    """``apm-run --help | head -1``: by SIGPIPE, without a traceback."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "apm_run", *words]
    env = environment(APM_RUN_STATE_DIR=str(tmp_path))
    done = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")
