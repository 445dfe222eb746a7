"""What a program starts: linked to the transaction that started it, and nothing that the program could tell."""

from __future__ import annotations

import os
import sys

import pytest
from tests.launch.endings import HEAD
from tests.traced import ROOT, bare, traced

#: A program of its own that says something; which one it is stands in its name.
CHILD = "import sqlite3\nsqlite3.connect(':memory:').execute('select 1')\n"
OUTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SHOW = "import os; print({name: os.environ.get(name) for name in ('TRACEPARENT', 'TRACESTATE', 'APM_RUN_TRACEPARENT')})"

STARTS = {
    "Popen": "subprocess.Popen([sys.executable, child]).wait()",
    "run, without close_fds": "subprocess.run([sys.executable, child], close_fds=False)",
    "check_output of a shell": "print(subprocess.check_output([sys.executable + ' ' + child], shell=True))",
    "popen": "print(os.popen(sys.executable + ' ' + child).read())",
    "preexec_fn": "subprocess.call([sys.executable, child], preexec_fn=lambda: os.umask(0o77))",
    "asyncio": (
        "import asyncio\n"
        "async def start():\n"
        "    process = await asyncio.create_subprocess_exec(sys.executable, child)\n"
        "    print(await process.wait())\n"
        "asyncio.run(start())"
    ),
    "posix_spawn": "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, child], os.environ), 0)",
    "posix_spawnp": "os.waitpid(os.posix_spawnp(sys.executable, [sys.executable, child], os.environ), 0)",
    "spawnv": "print(os.spawnv(os.P_WAIT, sys.executable, [sys.executable, child]))",
    "spawnlpe": "print(os.spawnlpe(os.P_WAIT, sys.executable, sys.executable, child, os.environ))",
    "fork and execv": (
        "pid = os.fork()\n"
        "if not pid:\n    os.execv(sys.executable, [sys.executable, child])\n"
        "print(os.waitpid(pid, 0)[1])"
    ),
    "execl": "os.execl(sys.executable, sys.executable, child)",
    "execve": "os.execve(sys.executable, (sys.executable, child), os.environ)",
    "execvp": "os.execvp(sys.executable, [sys.executable, child])",
    "spawn": "process('spawn')",
    "forkserver": "process('forkserver')",
}

#: What starts a process by ``multiprocessing``: its children import the program again.
PROGRAM = """\
import multiprocessing, os, subprocess, sys
child = {child!r}
def work():
    exec(open(child).read())
def process(method):
    one = multiprocessing.get_context(method).Process(target=work)
    one.start()
    one.join()
    print(one.exitcode)
if __name__ == "__main__":
    exec({code!r})
"""


@pytest.fixture
def state(tmp_path):
    return {"APM_RUN_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def child(tmp_path):
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    return str(path)


def both(tmp_path, source, sink, state, **env):
    """Run it bare and traced; what it prints of itself is the same."""
    script = tmp_path / "parent.py"
    script.write_text(source)
    expected = bare("python", script, env=env)
    found = traced("python", script, url=sink.url, env={**state, **env})
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)
    return found


def links(sink):
    """Transaction -> the transaction or span that it hangs below: by their names."""
    sink.wait_idle()
    names = {event["id"]: event["name"] for event in (*sink.transactions, *sink.spans)}
    return sorted(((t["name"], names.get(t.get("parent_id"), t.get("parent_id"))) for t in sink.transactions), key=str)


@pytest.mark.parametrize("way", STARTS)
def test_below_the_program(way, tmp_path, sink, state, child):
    """The program's own transaction is reported then, however short it was, before its child's or after it."""
    env = {"ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION": "60s"}
    before = CHILD if "spawn" in way or "exec" in way else ""  # these are watched once there is something to lose
    both(tmp_path, PROGRAM.format(child=child, code=before + STARTS[way]), sink, state, **env)
    name = "parent.py" if way in ("spawn", "forkserver") else "child.py"
    assert links(sink) == sorted([("parent.py", None), (name, "parent.py")], key=str)
    assert len({transaction["trace_id"] for transaction in sink.transactions}) == 1


def test_below_a_request(tmp_path, sink, state, child):
    """And what a server starts outside any request is nobody's; nor does it inherit what the server was given."""
    source = HEAD.format(root=str(ROOT), each=1) + (
        "import subprocess\nfrom tests.launch import ending\n"
        "inner = ending.application\n"
        "def application(environ, start_response):\n"
        f"    subprocess.run([sys.executable, {child!r}])\n"
        "    return inner(environ, start_response)\n"
        "work()\n"
        f"subprocess.run([sys.executable, '-c', {SHOW!r}])\n"
        f"subprocess.run([sys.executable, '-c', {SHOW!r}], env=dict(os.environ))\n"
        f"os.system(sys.executable + {f' -c {chr(34)}{SHOW}{chr(34)}'!r})\n"
        "ending.application = application\n"
        "work()\n"
    )
    server = tmp_path / "server.py"
    server.write_text(source)
    both(tmp_path, f"import subprocess, sys\nsubprocess.run([sys.executable, {str(server)!r}])\n", sink, state)
    found = links(sink)
    assert [pair for pair in found if pair[0] == "child.py"] == [("child.py", "GET unknown route")]
    assert [pair for pair in found if pair[0].startswith("GET")] == [("GET unknown route", None)] * 2


def test_what_came_from_outside(tmp_path, sink, state, child):
    """It is the parent of the program, which sees it as bare; what the program starts is below the program."""
    source = (
        "import os, subprocess, sys\n"
        "print(os.environ['TRACEPARENT'], os.environ['TRACESTATE'])\n"
        f"subprocess.run([sys.executable, {child!r}])\n"
    )
    both(tmp_path, source, sink, state, TRACEPARENT=OUTER, TRACESTATE="other=1,es=s:0.5")
    assert links(sink) == [("child.py", "parent.py"), ("parent.py", OUTER.split("-")[2])]
    assert {one["trace_id"] for one in sink.transactions} == {OUTER.split("-")[1]}
    assert {one["sample_rate"] for one in sink.transactions} == {0.5}


def test_a_context_of_the_program_itself_is_not_touched(tmp_path, sink, state):
    source = (
        "import os, subprocess, sys\n"
        f"os.environ['TRACEPARENT'] = {OUTER!r}\n"
        f"subprocess.run([sys.executable, '-c', {SHOW!r}])\n"
        f"subprocess.run(['env', '-i', sys.executable, '-c', {SHOW!r}])\n"
    )
    found = both(tmp_path, source, sink, state)
    assert OUTER in found.stdout


def test_an_environment_of_the_programs_own_is_not_edited(tmp_path, sink, state):
    environments = ("{}", "dict(os.environ)", "{'A': '1'}", "{**os.environ, 'A': '2'}", "os.environb.copy()")
    told = "import os; print(sorted(name for name in os.environ if not name.startswith(('APM_RUN_S', 'LC_CTYPE'))))"
    source = "import os, subprocess, sys\nos.environ.pop('PYTHONPATH', None)\n" + "".join(
        f"subprocess.run([sys.executable, '-c', {told!r}], env={made})\n"
        f"os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', {told!r}], {made}), 0)\n"
        for made in environments
    )
    script = tmp_path / "parent.py"
    script.write_text(source)
    seen = [
        run("python", script, env={**state, **env}).stdout.splitlines()
        for run, env in ((bare, {}), (traced, {"ELASTIC_APM_SERVER_URL": sink.url}))
    ]
    ours = "APM_RUN_", "ELASTIC_APM_"
    kept = [[[name for name in eval(line) if not name.startswith(ours)] for line in lines] for lines in seen]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 10
    assert not any("TRACEPARENT" in names for names in kept[1])


def test_the_environment_of_c_is_inherited(tmp_path, sink, state):
    """``os.putenv`` and a C library's ``setenv`` change what a child gets, and not ``os.environ``."""
    source = (
        "import ctypes, os, subprocess, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "os.putenv('FROM_PUTENV', '1')\n"
        "libc.setenv(b'FROM_C', b'2\\xff', 1)\n"
        "libc.unsetenv(b'GONE')\n"
        "os.environ['EMPTY'] = ''\n"
        "def show():\n"
        "    entries = subprocess.check_output(['env', '-0']).split(b'\\0')\n"
        "    ours = b'TRACE', b'APM_RUN', b'ELASTIC', b'PYTHONP'\n"
        "    print(sorted(one for one in entries if not one.startswith(ours)))\n"
        "show()\n"
        "libc.setenv(b'FROM_C', b'3', 1)\n"
        "show()\n"
        "print(sorted(name for name in os.environ if 'TRACEP' in name or 'FROM' in name or name == 'GONE'))\n"
    )
    found = both(tmp_path, source, sink, state, GONE="x")
    assert "FROM_PUTENV=1" in found.stdout
    assert "FROM_C=2\\xff" in found.stdout
    assert "FROM_C=3" in found.stdout
    assert links(sink) == [("parent.py", None)]


def test_what_preexec_fn_does_to_the_environment(tmp_path, sink, state, child):
    """In the child: nobody can know it before."""
    source = (
        "import os, subprocess, sys\n"
        "def change():\n"
        "    os.putenv('FRUIT', 'apple')\n"
        "    os.environ['TREE'] = 'oak'\n"
        f'told = {CHILD!r} + \'import os; print(os.environ.get("FRUIT"), os.environ.get("TREE"))\'\n'
        "subprocess.run([sys.executable, '-c', told], preexec_fn=change)\n"
        f"show = {SHOW!r}\n"
        f"subprocess.run([sys.executable, '-c', show], preexec_fn=lambda: os.putenv('TRACEPARENT', {OUTER!r}))\n"
        "print(os.environ.get('TREE'))\n"
    )
    found = both(tmp_path, source, sink, state, ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION="60s")
    assert "apple oak" in found.stdout
    assert OUTER in found.stdout
    assert links(sink) == [("parent.py", None), ("python -c", "parent.py")]


def test_failures_are_as_bare(tmp_path, sink, state):
    source = (
        "import os, subprocess, sys\n"
        "subprocess.run(['true'])\n"
        "calls = (\n"
        "    lambda: subprocess.run(['/none']),\n"
        "    lambda: subprocess.run(['none-such'], cwd='/'),\n"
        "    lambda: subprocess.run(['true'], cwd='/none'),\n"
        "    lambda: subprocess.run([]),\n"
        "    lambda: subprocess.run(['a\\0b']),\n"
        "    lambda: subprocess.run([1]),\n"
        "    lambda: subprocess.run(['true'], preexec_fn=lambda: 1 / 0),\n"
        "    lambda: subprocess.run(['true'], env=3),\n"
        "    lambda: subprocess.run(['false'], check=True),\n"
        "    lambda: subprocess.Popen(['sleep', '9']).wait(0.01),\n"
        "    lambda: os.posix_spawn('/none', ['x'], os.environ),\n"
        "    lambda: os.posix_spawn('/none', [], os.environ),\n"
        "    lambda: os.posix_spawn('/bin/true', ['x'], 3),\n"
        "    lambda: os.posix_spawn(),\n"
        "    lambda: os.execv('/bin/true', []),\n"
        "    lambda: os.execv('/bin/true', ['']),\n"
        "    lambda: os.execv('/bin/true', [1]),\n"
        "    lambda: os.execv('/bin/true', ['a\\0b']),\n"
        "    lambda: os.execv('/etc', ['x']),\n"
        "    lambda: os.execv(__file__, ['x']),\n"
        "    lambda: os.execve(__file__, ['x'], os.environ),\n"
        "    lambda: os.execvp(__file__, ['x']),\n"
        ")\n"
        "os.chmod(__file__, 0o755)\n"
        "for call in calls:\n"
        "    try:\n        print(call())\n"
        "    except Exception as error:\n        print(repr(error), getattr(error, 'filename', None))\n"
        "print(subprocess.Popen(['sleep', '0']).args)\n"
        "print(os.posix_spawn.__class__, os.posix_spawn, os.posix_spawn.__module__)\n"
    )
    both(tmp_path, source, sink, state)


def test_a_short_child_of_an_exec_that_says_nothing(tmp_path, sink, state, child):
    """A program that says nothing itself is no link of the chain: who it becomes hangs where it would have hung."""
    between = tmp_path / "between.py"
    between.write_text(f"import os, sys\nos.execv(sys.executable, [sys.executable, {child!r}])\n")
    env = {"ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION": "60s"}
    source = f"import subprocess, sys\nsubprocess.run([sys.executable, {str(between)!r}])\n"
    both(tmp_path, source, sink, state, **env)
    assert links(sink) == [("child.py", "parent.py"), ("parent.py", None)]


def test_a_fork_server_works_for_who_asks(tmp_path, sink, state):
    """Its children are below the request that asked for each, or nobody's; it is nothing itself."""
    source = HEAD.format(root=str(ROOT), each=1) + (
        "import multiprocessing\n"
        "from tests.launch import ending\n"
        "context = multiprocessing.get_context('forkserver')\n"
        "def job(name):\n"
        "    import sqlite3\n"
        "    sqlite3.connect(':memory:').execute('select ' + name)\n"
        "def start(name):\n"
        "    one = context.Process(target=job, args=(name,))\n"
        "    one.start()\n"
        "    one.join()\n"
        "inner = ending.application\n"
        "def application(environ, start_response):\n"
        "    start('1')\n"
        "    return inner(environ, start_response)\n"
        "if __name__ == '__main__':\n"
        "    context.set_forkserver_preload(['sqlite3'])\n"
        "    ending.application = application\n"
        "    for _ in range(3):\n        work()\n"
        "    start('2')\n"
    )
    script = tmp_path / "server.py"
    script.write_text(source)
    traced("python", script, url=sink.url, env=state)
    sink.wait_idle()
    requests = [one["id"] for one in sink.transactions if one["type"] == "request"]
    jobs = [one.get("parent_id") for one in sink.transactions if one["type"] == "script"]
    assert len(requests) == 3
    assert jobs[:3] == requests  # each came in before its request had ended
    assert jobs[3:] == [None]


class TestWithoutChildren:
    """``APM_RUN_CHILDREN=0``: what the launched program starts is started as without us."""

    ENV = {"APM_RUN_CHILDREN": "0"}

    @pytest.mark.parametrize("way", [way for way in STARTS if "exec" not in way])
    def test_nothing_that_it_starts(self, way, tmp_path, sink, state, child):
        both(tmp_path, PROGRAM.format(child=child, code=CHILD + STARTS[way]), sink, state, **self.ENV)
        sink.wait_idle()
        assert [one["name"] for one in sink.transactions] == ["parent.py"]

    @pytest.mark.parametrize("way", ["execl", "execve"])
    def test_nor_what_it_becomes(self, way, tmp_path, sink, state, child):
        both(tmp_path, PROGRAM.format(child=child, code=CHILD + STARTS[way]), sink, state, **self.ENV)
        sink.wait_idle()
        assert [one["name"] for one in sink.transactions] == ["parent.py"]

    def test_but_what_it_forks(self, tmp_path, sink, state):
        """The same program goes on there: a server's workers."""
        source = f"import os\npid = os.fork()\nif not pid:\n    exec({CHILD!r})\nelse:\n    os.waitpid(pid, 0)\n"
        both(tmp_path, source, sink, state, ELASTIC_APM_PROGRAM_TRANSACTION_MIN_DURATION="60s", **self.ENV)
        sink.wait_idle()
        assert [one["name"] for one in sink.transactions] == ["parent.py"]

    @pytest.mark.parametrize("old", [None, "/x", "/x:", ":/x"])
    def test_the_environment_is_that_without_us(self, script, tmp_path, old, state):
        told = "import os; print(sorted((n, v) for n, v in os.environ.items() if n not in ('PWD', '_', 'OLDPWD')))"
        code = f"import os, subprocess, sys; {told}; subprocess.run([sys.executable, '-c', {told!r}], check=True)"
        env = {**self.ENV, **state, **({"PYTHONPATH": old} if old is not None else {})}
        expected, found = bare("python", "-c", code, env=env), bare(script, sys.executable, "-c", code, env=env)
        assert (found.stdout, found.stderr) == (expected.stdout, expected.stderr)

    def test_what_stands_before_it_is_not_it(self, script, tmp_path, sink, state, child):
        """A shell script starts it: every Python program that no traced one has started is the launched one."""
        env = {**self.ENV, **state, "ELASTIC_APM_SERVER_URL": sink.url}
        shell = f"{sys.executable} {child}; env {sys.executable} {child}; exec {sys.executable} {child}"
        assert bare(script, "sh", "-c", shell, env=env).returncode == 0
        sink.wait_idle()
        assert [one["name"] for one in sink.transactions] == ["child.py"] * 3


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="no /proc here")
def test_no_transaction_no_trace_context(tmp_path, sink, state):
    """A server that serves nothing at this moment."""
    source = (
        "import subprocess, sys\nfrom wsgiref.simple_server import make_server\n"
        "server = make_server('127.0.0.1', 0, None)\n"
        "server.service_actions = lambda: print(subprocess.check_output(['env'])) or sys.exit()\n"
        "server.serve_forever(0.01)\n"
    )
    script = tmp_path / "server.py"
    script.write_text(source)
    found = traced("python", script, url=sink.url, env=state)
    assert "PYTHONPATH" in found.stdout
    assert "TRACEP" not in found.stdout
