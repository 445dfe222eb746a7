"""Where the launcher can be installed and how it can be called: it finds its package without asking Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.launch.support import REPOSITORY, environment, run

from apm_run.cli import main

SHOW = ["sh", "-c", 'printf %s "${PYTHONPATH-unset}"']
SOURCE = REPOSITORY / "src" / "apm_run" / "cli" / "apm-run"


def found(command, **how):
    """Return the bootstrap directory that the launcher ``command`` finds."""
    how.setdefault("env", environment())
    done = run([*command, *SHOW], **how)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def install(prefix: Path, packages: str = "lib/python3.11/site-packages") -> str:
    """Lay the script and an empty bootstrap below ``prefix``; return the bootstrap directory."""
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(SOURCE, prefix / "bin" / "apm-run")
    bootstrap = prefix / packages / "apm_run" / "_bootstrap"
    bootstrap.mkdir(parents=True)
    (bootstrap / "sitecustomize.py").touch()
    return str(bootstrap)


def test_the_wheel(script, plain):
    names = sorted(path.name for path in (plain / "bin").iterdir())
    assert "apm-run" in names
    assert os.access(script, os.X_OK)
    assert Path(script).read_bytes() == SOURCE.read_bytes()
    assert found([script]) == str(next(plain.glob("lib/python3*/site-packages/apm_run/_bootstrap")))


def test_the_editable_install(shell, tmp_path):
    """The sources count, not the copy of the bootstrap that an editable install leaves beside them."""
    copy = install(tmp_path / "venv")
    script = tmp_path / "venv" / "bin" / "apm-run"
    line = Path(copy).parents[1] / "_editable_impl_apm_run.pth"
    for end in ("", "\n"):
        line.write_text(f"{REPOSITORY / 'src'}{end}")
        assert found([*shell, script]) == str(REPOSITORY / "bootstrap")
    line.write_text("/nonexistent/src")
    assert found([*shell, script]) == copy


def test_the_editable_install_of_these_tests():
    if not Path(sysconfig.get_path("purelib"), "_editable_impl_apm_run.pth").exists():
        pytest.skip("the tests run on another kind of install")
    assert found([sys.executable, "-m", "apm_run"]) == str(REPOSITORY / "bootstrap")
    assert found([os.path.join(sysconfig.get_path("scripts"), "apm-run")]) == str(REPOSITORY / "bootstrap")


@pytest.mark.parametrize(
    "packages",
    [
        "lib/python3.9/site-packages",
        "lib64/python3.13/site-packages",
        "lib/python3/dist-packages",
        "lib/python3.14t/site-packages",
        ".",
    ],
)
def test_kinds_of_prefix(shell, tmp_path, packages):
    prefix = tmp_path / "a prefix*"
    bootstrap = install(prefix, packages)
    assert os.path.normpath(found([*shell, prefix / "bin" / "apm-run"])) == bootstrap


def test_ways_to_call_it(shell, tmp_path):
    prefix = tmp_path / "pre fix"
    bootstrap = install(prefix)
    for folder, name in (
        (prefix, "bin/apm-run"),
        (prefix, "./bin/apm-run"),
        (prefix / "bin", "./apm-run"),
        (prefix / "bin", "../bin/apm-run"),
        (tmp_path, f"{prefix}/bin//apm-run"),
        (tmp_path, f"{prefix}/../pre fix/./bin/apm-run"),
    ):
        assert found([*shell, name], cwd=folder) == bootstrap
    for path in (f"{prefix}/bin:/usr/bin:/bin", "bin:/usr/bin:/bin"):
        through = ["sh", "-c", 'exec "$@"', "sh", "apm-run"]
        assert found(through, cwd=prefix, env=environment(PATH=path)) == bootstrap


def test_symlinks(shell, tmp_path):
    """As pipx and uv install commands: a link elsewhere, relative or not, and links of links."""
    bootstrap = install(tmp_path / "venv")
    links = tmp_path / "links"
    links.mkdir()
    (links / "absolute").symlink_to(tmp_path / "venv" / "bin" / "apm-run")
    (links / "relative").symlink_to("../venv/bin/apm-run")
    (links / "twice").symlink_to("relative")
    (links / "line\n").symlink_to("absolute")
    (tmp_path / "folder").symlink_to("links")
    for name in ("absolute", "relative", "twice", "line\n"):
        assert found([*shell, links / name]) == bootstrap
        assert found([*shell, f"./{name}"], cwd=links) == bootstrap
    assert found([*shell, tmp_path / "folder" / "twice"]) == bootstrap
    loop = links / "loop"
    loop.symlink_to("loop")
    assert subprocess.run([*shell, loop], capture_output=True, check=False).returncode != 0


def test_no_python_is_started(script, tmp_path):
    """It works where every Python is broken."""
    for name in ("python", "python3"):
        (tmp_path / name).write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    done = run([script, "echo", "fine"], env=environment(PATH=f"{tmp_path}:/usr/bin:/bin", PYTHONHOME="/nonexistent"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fine\n", b"")


def test_options_without_any_python(plain, tmp_path):
    install(tmp_path / "venv")
    (tmp_path / "tools").mkdir()
    for name in ("sh", "grep", "od", "sed", "tr", "env"):
        (tmp_path / "tools" / name).symlink_to(shutil.which(name))
    done = run(["/bin/sh", tmp_path / "venv" / "bin" / "apm-run", "--version"], env={"PATH": str(tmp_path / "tools")})
    assert (done.returncode, done.stdout, done.stderr) == (127, b"", b"apm-run: python3: command not found\n")


def test_one_list_of_subcommands():
    assert f"\napm_run_commands=' {' '.join(main.COMMANDS)} '\n" in SOURCE.read_text()


def test_one_usage(script):
    assert run([script]).stderr.decode() == main.USAGE


def test_every_variable_of_the_script_is_its_own():
    """An assignment to a name that the environment holds would change the program's environment."""
    import re

    text = re.sub(r"cat >&2 <<'EOF'.*?EOF", "", SOURCE.read_text(), flags=re.DOTALL)
    assigned = set(re.findall(r"(?:^|[\s;({])([A-Za-z_]\w*)=", text)) | set(re.findall(r"for (\w+) in", text))
    read = {name for line in re.findall(r"\bread -r ([\w ]+)", text) for name in line.split()}
    assert {name for name in assigned | read if not name.startswith("apm_run_")} == {
        "APM_RUN_LAUNCHED",
        "IFS",  # of one read
        "LC_ALL",  # in subshells
        "PATH",  # in subshells
        "PYTHONPATH",
    }


def test_every_shell_reads_it(shell):
    assert run([*shell, "-n", SOURCE]).stderr == b""
