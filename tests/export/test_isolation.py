"""The program's own sockets, mocks and modules, and the agent's, never meet (design 5)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.export.support import numbers
from tests.servers import Server
from tests.traced import environment

ROOT = Path(__file__).resolve().parents[2]

DELIVER = """
import sys
from apm_run import config
from apm_run.export import Exporter
settings, _ = config.load({"ELASTIC_APM_SERVER_URL": sys.argv[1], "ELASTIC_APM_VERIFY_SERVER_CERT": "false"})
made = Exporter(settings, lambda: b'{"metadata":{"service":{"name":"shop"}}}\\n')
made.put(b'{"transaction":{"id":"1"}}\\n', 1)
"""
CLOSE = """
made.flush(5)
made.close()
print(made.stats.accepted, made.stats.last_error)
"""


def run(program: str, url: str, *flags: str, python: str = sys.executable, **options) -> str:
    env = environment(PYTHONPATH=str(ROOT / "src"), APM_RUN_STRICT="1", **options.pop("env", {}))
    done = subprocess.run(
        [python, *flags, "-c", program, url], env=env, capture_output=True, text=True, timeout=30, **options
    )
    assert done.stderr == ""
    return done.stdout


GEVENT = "import gevent.monkey; gevent.monkey.patch_all()\n"
STUBS = """
import http.client, socket, ssl, select, selectors, time
def explode(*args, **kw): raise AssertionError("the agent used the program's modules")
for module, names in ((http.client, ["HTTPConnection", "HTTPSConnection"]), (select, ["select", "poll", "epoll"]),
    (socket, ["socket", "create_connection", "getaddrinfo", "SocketType"]), (time, ["sleep", "time", "monotonic"]),
    (ssl, ["SSLContext", "SSLSocket", "create_default_context", "wrap_socket"]), (selectors, ["DefaultSelector"])):
    for name in names: setattr(module, name, explode)
"""
PROGRAMS = {
    "never": DELIVER + CLOSE,
    "first": GEVENT + DELIVER + CLOSE,
    "between": DELIVER + GEVENT + CLOSE,
    "greenlet": GEVENT + "def main():\n" + "".join(f"    {line}\n" for line in (DELIVER + CLOSE).splitlines() if line)
    + "import gevent; gevent.spawn(main).get()",
    "stubs first": "import time; clock = time.monotonic\n" + STUBS + "time.monotonic = clock\n" + DELIVER + CLOSE,
    "stubs last": DELIVER + STUBS + CLOSE,
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_agent_delivers_whatever_was_patched(program, scheme, tls, state):
    if program in ("first", "between", "greenlet"):
        pytest.importorskip("gevent")
    with Server(tls=tls.context if scheme == "https" else None) as server:
        assert run(PROGRAMS[program], server.url, env={"APM_RUN_STATE_DIR": str(state)}).strip() == "1"
        assert numbers(server.events) == [1]


def test_the_program_gets_its_own_modules(tls, state):
    program = (
        DELIVER
        + CLOSE
        + """
before = set(sys.modules)
import ssl, socket, http.client, select, _socket
assert ssl.__name__ == "ssl" and socket.__name__ == "socket"
private = [sys.modules[name] for name in sys.modules if name.startswith("apm_run.export._private")]
assert {module.__name__.rpartition(".")[2] for module in private} >= {"ssl", "socket", "selectors"}
assert ssl not in private and socket not in private
assert ssl.socket is socket.socket and socket.socket.__module__ == "socket"
assert ssl.SSLSocket.__mro__[1] is socket.socket
"""
    )
    with Server(tls=tls.context) as server:
        run(program, server.url, env={"APM_RUN_STATE_DIR": str(state)})


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_enters_the_programs_modules(scheme, tls, state):
    program = (
        "import sys; from apm_run import config; config.load({})\nbefore = set(sys.modules)\n"
        + DELIVER
        + CLOSE
        + "new = [n for n in set(sys.modules) - before if not n.startswith(('apm_run', '_'))]\n"
        + "print(sorted(n for n in new if n not in sys.builtin_module_names))"
    )
    with Server(tls=tls.context if scheme == "https" else None) as server:
        out = run(program, server.url, env={"APM_RUN_STATE_DIR": str(state)})
        assert out.splitlines()[-1] == "[]"


def test_files_in_the_programs_directory_are_not_taken_for_the_standard_library(tls, state, tmp_path):
    for name in ("socket", "ssl", "select", "selectors", "base64", "enum", "zlib", "mmap", "re", "struct", "json"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('imported by the agent')\n")
    program = "import sys; sys.path.insert(0, '.')\n" + DELIVER + CLOSE
    with Server(tls=tls.context) as server:
        out = run(program, server.url, "-S", cwd=tmp_path, env={"APM_RUN_STATE_DIR": str(state)})
        assert out.strip() == "1"


def versions() -> list[str]:
    found = Path.home() / ".pyenv" / "versions"
    return [str(path) for minor in range(9, 14) for path in sorted(found.glob(f"3.{minor}.*/bin/python"))]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("python", versions())
def test_every_python_delivers(python, scheme, tls, state):
    with Server(tls=tls.context if scheme == "https" else None) as server:
        program = DELIVER + CLOSE
        assert run(program, server.url, python=python, env={"APM_RUN_STATE_DIR": str(state)}).strip() == "1"
        assert numbers(server.events) == [1]


DAEMON = (
    DELIVER
    + """
import os
made.flush(5)
os.closerange(3, 256)
mine = [os.open("own", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(30)]
made.put(b'{"transaction":{"id":"2"}}\\n' * 10, 10)
"""
    + CLOSE
    + """
os.fsync(mine[0])
print(sum(os.fstat(fd).st_size for fd in mine))
"""
)


def test_descriptors_the_program_closed_and_reused_are_left_alone(state, tmp_path):
    with Server() as server:
        out = run(DAEMON, server.url, cwd=tmp_path, env={"APM_RUN_STATE_DIR": str(state)})
        assert out.split() == ["11", "0"]
        assert numbers(server.events) == [1] + [2] * 10


@pytest.mark.parametrize("closed", ["0", "1", "0 1 2"])
def test_a_program_that_runs_without_standard_streams_never_finds_us_there(closed, state, tmp_path):
    program = (
        f"import os\nfor fd in map(int, {closed!r}.split()): os.close(fd)\n"
        + DELIVER
        + "made.flush(5)\nopen('result', 'w').write(repr([os.path.exists(f'/proc/self/fd/{fd}') for fd in range(3)]))\n"
        + "made.close()\nos._exit(0)"
    )
    with Server() as server:
        run(program, server.url, cwd=tmp_path, env={"APM_RUN_STATE_DIR": str(state)})
        assert numbers(server.events) == [1]
    expected = [str(fd) not in closed for fd in range(3)]
    # The result's own file took the lowest number.
    expected[expected.index(False)] = True
    assert (tmp_path / "result").read_text() == repr(expected)
