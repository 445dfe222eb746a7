"""The agent of environment A in a program of environment B: traced, and B's packages are B's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.launch.support import INTERPRETERS, traced
from tests.traced import environment

PINNED = "urllib3==1.26.18"

PROGRAM = """
import json, sqlite3, sys
found = {}
for name in ("urllib3", "wrapt", "orjson", "click", "certifi", "tomli"):
    try:
        module = __import__(name)
        found[name] = [getattr(module, "__version__", "?"), module.__file__]
    except ImportError as error:
        found[name] = str(error)
sqlite3.connect(":memory:").execute("select 1")
print(json.dumps([found, sys.prefix, sys.executable]))
"""

OLD = sorted(version for version in INTERPRETERS if not traced(version))
NEW = sorted(version for version in INTERPRETERS if traced(version))


def _venv(folder, python, *packages):
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    if packages:
        install = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q", "--no-deps"]
        subprocess.run([*map(str, install), "--disable-pip-version-check", *packages], check=True)
    return str(folder / "bin" / "python")


def _both(script, command, sink, tmp_path):
    env = environment(ELASTIC_APM_SERVER_URL=sink.url, APM_RUN_STATE_DIR=str(tmp_path / "state"), APM_RUN_STRICT="1")
    bare = subprocess.run(command, env=environment(), capture_output=True, check=False)
    launched = subprocess.run([script, *command], env=env, capture_output=True, check=False)
    assert (launched.returncode, launched.stdout, launched.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    assert bare.returncode == 0
    return launched.stdout


@pytest.mark.parametrize("packages", [(), (PINNED, "wrapt==1.16.0")], ids=["none", "pinned"])
def test_this_interpreter(script, sink, tmp_path, packages):
    python = _venv(tmp_path / "b", sys.executable, *packages)
    found, prefix, _ = json.loads(_both(script, [python, "-c", PROGRAM], sink, tmp_path))
    assert prefix == str(tmp_path / "b")
    if packages:
        assert found["urllib3"][0] == PINNED.partition("==")[2]
    else:
        assert "No module named" in found["urllib3"]
    sink.wait(lambda events: events.spans)
    assert sink.metadata[0][0]["service"]["runtime"]["version"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.skipif(not NEW, reason="no other CPython from 3.9 on in ~/.pyenv/versions")
@pytest.mark.parametrize("version", NEW)
def test_another_version(script, sink, tmp_path, version):
    python = _venv(tmp_path / "b", INTERPRETERS[version])
    _both(script, [python, "-c", PROGRAM], sink, tmp_path)
    sink.wait(lambda events: events.spans)
    assert sink.metadata[0][0]["service"]["runtime"]["version"] == version


@pytest.mark.skipif(not OLD, reason="no CPython below 3.9 in ~/.pyenv/versions")
@pytest.mark.parametrize("version", OLD)
def test_a_version_that_is_not_traced_runs_untouched(script, sink, tmp_path, version):
    source = "import sys; sys.stdout.write('%r %r' % (sys.argv, 'apm_run' in sys.modules))"
    output = _both(script, [INTERPRETERS[version], "-c", source, "a b"], sink, tmp_path)
    assert output == b"['-c', 'a b'] False"
    sink.wait_idle()
    assert sink.events == []
