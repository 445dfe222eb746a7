"""The ways to start: how each comes to its Python programs, and what has to be seen of them.

Every way is run bare and with ``apm-run`` in front. ``python integration/launch_matrix.py`` runs all of them on all
interpreters, ``test_starts.py`` on the one it has.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.launch.support import INTERPRETERS
from tests.receiver import Sink
from tests.traced import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Where ``make setup`` has installed it.
LAUNCHER = str(Path(sys.executable).with_name("apm-run"))

#: What every program does, under any Python: it says what a launcher could have changed, makes a span, and fails.
PROGRAM = """\
import os, signal, sqlite3, sys
with open("/proc/self/status") as status:
    told = [line for line in status if line.startswith(("SigB", "SigI", "SigC", "Umask", "NoNew", "CapEff"))]
handlers = [str(signal.getsignal(number)).partition(" at ")[0] for number in range(1, 32)]
# Without the site module nobody takes ours off the path again.
path = [entry for entry in sys.path if not (sys.flags.no_site and "bootstrap" in entry)]
print([__name__, sys.argv, path, str(sys.flags), sys.executable, sys.prefix, os.getcwd(), told, handlers])
connection = sqlite3.connect(":memory:")
connection.execute("select 1")
connection.close()
with open(os.environ["START_PIDS"], "a") as pids:
    pids.write("%d\\n" % os.getpid())
sys.stderr.write("told\\n")
sys.exit(3)
"""

#: Modules that a launcher must not take from the current directory, nor with it.
_HOSTILE = ("apm_run", "click", "queue", "wrapt", "urllib3", "json", "sitecustomise")

_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
_READING = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


class Place:
    """Where a way is tried: a folder, the interpreter, the launcher, and what the program is run with.

    :ivar env: variables of the program. :ivar how: more for ``subprocess.run``.
    """

    def __init__(self, python: str, folder: Path, launcher: str) -> None:
        self.python = python
        self.folder = folder
        self.launcher = [launcher]
        self.env: dict[str, str | None] = {}
        self.how: dict[str, Any] = {}

    def file(self, name: str, text: str = PROGRAM, first: str = "", mode: int = 0o755) -> str:
        """Write a program.

        :param first: its first line.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{first}\n{text}" if first else text, encoding="utf-8")
        path.chmod(mode)
        return str(path)

    def shell(self, *lines: str) -> list[str]:
        """A shell script; ``$PYTHON`` and ``$PROGRAM`` stand for theirs."""
        self.env.update(PYTHON=self.python, PROGRAM=self.file("shop.py"))
        return [self.file("start.sh", "\n".join(lines) + "\n", "#!/bin/sh")]

    def venv(self, name: str = "venv", ours: bool = False) -> str:
        """The interpreter of a virtual environment.

        :param ours: with apm-run installed, as its wheel does it.
        """
        target = self.folder / name
        subprocess.run([self.python, "-m", "venv", "--without-pip", target], check=True, env=environment())
        if ours:
            _install(next(target.glob("lib/python3*/site-packages")))
        return str(target / "bin" / "python")

    def installation(self, name: str) -> Path:
        """A launcher of its own, with its package, below a prefix of that name; the prefix."""
        prefix = self.folder / name
        packages = prefix / "lib" / "python3.11" / "site-packages"
        packages.mkdir(parents=True)
        _install(packages)
        (prefix / "bin").mkdir()
        shutil.copy(ROOT / "src/apm_run/cli/apm-run", prefix / "bin")
        self.launcher = [str(prefix / "bin" / "apm-run")]
        return packages


def _install(packages: Path) -> None:
    shutil.copytree(ROOT / "src/apm_run", packages / "apm_run", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "apm_run/_bootstrap").mkdir()
    shutil.copy(ROOT / "bootstrap/sitecustomize.py", packages / "apm_run/_bootstrap")
    shutil.copy(ROOT / "bootstrap/apm_run.pth", packages)


class Start:
    """One way to start.

    :ivar words: makes the command. :ivar traced: how many of its Python programs send a transaction.
    :ivar programs: how many run. :ivar service: the name that each has. :ivar linked: whether they are one trace.
    :ivar needs: a command without which it can not be tried. :ivar code: how it ends, where bare has no such end.
    """

    def __init__(
        self,
        words: Callable[[Place], list[Any]],
        *,
        traced: int = 1,
        programs: int = 1,
        service: str = "shop",
        linked: bool = False,
        needs: str = "",
        code: int | None = None,
    ) -> None:
        self.words = words
        self.traced = traced
        self.programs = programs
        self.service = service
        self.linked = linked
        self.needs = needs
        self.code = code


_untouched = partial(Start, traced=0)


def _python(*flags: str) -> Callable[[Place], list[str]]:
    """The interpreter with these flags, and the program."""
    return lambda place: [place.python, *flags, place.file("shop.py")]


def _before(*words: str) -> Callable[[Place], list[str]]:
    """The same with a command in front that becomes or starts it."""
    return lambda place: [*words, place.python, place.file("shop.py")]


def _shell(*lines: str) -> Callable[[Place], list[str]]:
    return lambda place: place.shell(*lines)


def _with(words: Callable[[Place], list[Any]], **env: str | None) -> Callable[[Place], list[Any]]:
    """The same with these variables; None takes one away."""

    def made(place: Place) -> list[Any]:
        place.env.update(env)
        return words(place)

    return made


def _module(place: Place) -> list[str]:
    place.file("shop/__init__.py", "")
    place.file("shop/__main__.py")
    return [place.python, "-m", "shop"]


def _stdin(*words: str) -> Callable[[Place], list[str]]:
    def made(place: Place) -> list[str]:
        place.how["input"] = PROGRAM.encode()
        return [place.python, *words]

    return made


def _archive(*, first: bool) -> Callable[[Place], list[str]]:
    """A zipapp, run by the interpreter or by its own first line."""

    def made(place: Place) -> list[str]:
        place.file("sources/__main__.py")
        target = place.folder / "shop.pyz"
        made = ["-m", "zipapp", str(place.folder / "sources"), "-o", str(target), "-p", place.python]
        subprocess.run([sys.executable, *made], check=True)
        return [str(target)] if first else [place.python, str(target)]

    return made


def _shiv(place: Place) -> list[str]:
    """An archive that unpacks itself and goes on in what it has unpacked."""
    body = "".join(f"    {line}\n" for line in PROGRAM.splitlines())
    place.file("packages/shop.py", f"def main():\n{body}")
    target = str(place.folder / "shop.pyz")
    made = [
        "--site-packages",
        str(place.folder / "packages"),
        "-e",
        "shop:main",
        "-p",
        place.python,
        "-o",
        target,
    ]
    subprocess.run([sys.executable, "-m", "shiv", *made], check=True, cwd=place.folder, stdout=subprocess.DEVNULL)
    place.env["SHIV_ROOT"] = str(place.folder / "unpacked")
    return [target]


def _console(place: Place) -> list[str]:
    """A console script of a virtual environment, as pip writes it."""
    python = place.venv()
    body = "".join(f"    {line}\n" for line in PROGRAM.splitlines())
    packages = next((place.folder / "venv").glob("lib/python3*/site-packages"))
    (packages / "shop_tool.py").write_text(f"def main():\n{body}")
    text = "import sys\nfrom shop_tool import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    return [place.file("venv/bin/shop", text, f"#!{python}")]


def _env_shebang(place: Place) -> list[str]:
    (place.folder / "bin").mkdir()
    (place.folder / "bin" / "python3").symlink_to(place.python)
    place.env["PATH"] = f"{place.folder / 'bin'}:/usr/bin:/bin"
    return [place.file("shop", first="#!/usr/bin/env python3")]


def _on_path(place: Place) -> list[str]:
    place.env["PATH"] = f"{Path(place.python).parent}:/usr/bin:/bin"
    return ["python3", place.file("shop.py")]


def _behind_links(place: Place) -> list[str]:
    """A link to a link to the interpreter of a virtual environment: its prefix is another one then."""
    (place.folder / "first").symlink_to(place.venv())
    (place.folder / "second").symlink_to("first")
    return [str(place.folder / "second"), place.file("shop.py")]


def _linked_script(place: Place) -> list[str]:
    place.file("app/shop.py", first=f"#!{place.python}")
    (place.folder / "link").symlink_to("app/shop.py")
    return [str(place.folder / "link")]


def _in(name: str) -> Callable[[Place], list[str]]:
    """Everything below a folder of that name, the launcher too."""

    def made(place: Place) -> list[str]:
        place.installation(f"{name}/opt")
        return [place.python, place.file(f"{name}/shop.py"), name, "b\udcff".encode("utf-8", "surrogateescape")]

    return made


def _foreign(version: str) -> Callable[[Place], list[str]]:
    """Another interpreter than the one that the rest is about."""
    return lambda place: [_interpreter(version), place.file("shop.py")]


def _interpreter(version: str) -> str:
    return next((path for name, path in INTERPRETERS.items() if name.startswith(version + ".")), f"python{version}")


def _given(place: Place) -> list[str]:
    """A process with signals ignored and blocked, and an umask, before there is a launcher."""

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
        os.umask(0o27)

    place.how["preexec_fn"] = prepare
    return [place.python, place.file("shop.py")]


def _hostile(place: Place) -> list[str]:
    place.how["cwd"] = place.folder / "here"
    for name in _HOSTILE:
        place.file(f"here/{name}.py", "raise SystemExit('taken from the current directory')\n")
    place.env["PYTHONSAFEPATH"] = "1"  # the program's own search of it, where the version knows that
    return [place.python, place.file("shop.py")]


def _customised(text: str, name: str = "sitecustomize") -> Callable[[Place], list[str]]:
    def made(place: Place) -> list[str]:
        place.file(f"own/{name}.py", text)
        place.env["PYTHONPATH"] = str(place.folder / "own")
        return [place.python, place.file("shop.py")]

    return made


def _twice(place: Place) -> list[str]:
    place.launcher *= 2
    return [place.python, place.file("shop.py")]


def _long(length: int) -> Callable[[Place], list[str]]:
    """PYTHONPATH of so many bytes."""

    def made(place: Place) -> list[str]:
        place.env["PYTHONPATH"] = ":".join(["/" + "x" * 98] * (length // 100 + 1))[:length]
        return [place.python, place.file("shop.py")]

    return made


def _broken(place: Place) -> list[str]:
    packages = place.installation("broken")
    (packages / "apm_run" / "agent.py").write_text("raise SystemExit(9)\n")
    place.env["APM_RUN_STRICT"] = None
    return [place.python, place.file("shop.py")]


def _colon(place: Place) -> list[str]:
    place.installation("a:b")
    return [place.python, place.file("shop.py")]


def _read_only(place: Place) -> list[str]:
    pids = place.folder / "pids"
    program = place.file("shop.py")
    box = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(pids), str(pids)]
    return [*box, "--chdir", "/", place.python, program]


def _nobody(place: Place) -> list[str]:
    """Without a right to write anything but what is the test's; it may read where root has its interpreters."""
    (place.folder / "pids").chmod(0o666)
    return [*(_NOBODY + _READING if os.getuid() == 0 else ["env"]), place.python, place.file("shop.py")]


def _idle(place: Place) -> list[str]:
    """Nothing of ours is seen of a program that does nothing that would be traced."""
    text = (
        "import os, sys\n"
        "print(len(os.listdir('/proc/self/task')), sorted(os.listdir('/proc/self/fd')), sys.excepthook, sys.exit)\n"
        "print(sorted(name for name in os.environ if 'TRACE' in name), type(os.execv), type(os._exit))\n"
        "open(os.environ['START_PIDS'], 'a').write('%d\\n' % os.getpid())\n"
    )
    return [place.python, place.file("shop.py", text)]


def _daemon(place: Place) -> list[str]:
    """It leaves its session, closes what it has and goes on alone; the launcher's process ends before it."""
    text = (
        "import os, sys\n"
        "reading, writing = os.pipe()\n"
        "if os.fork():\n    os.close(writing)\n    os.read(reading, 1)\n    os._exit(3)\n"
        "os.setsid()\n"
        "sys.stdout = sys.stderr = open(os.devnull, 'w')\n"
        "kept = (writing, sys.stdout.fileno())\n"
        "for number in range(64):\n    if number not in kept:\n        try:\n            os.close(number)\n"
        "        except OSError:\n            pass\n"
    )
    return [place.python, place.file("shop.py", text + PROGRAM)]


def _redirected(place: Place) -> list[str]:
    text = "import os\nfor number in (0, 1, 2):\n    os.dup2(os.open('output', os.O_RDWR | os.O_CREAT), number)\n"
    return [place.python, place.file("shop.py", text + PROGRAM)]


def _child(code: str) -> Callable[[Place], list[str]]:
    """A program that starts the program, in this way."""

    def made(place: Place) -> list[str]:
        program = place.file("shop.py")
        text = f"import os, sqlite3, subprocess, sys\npython, program = sys.executable, {program!r}\n{_PARENT}{code}\n"
        return [place.python, place.file("app/shop.py", text)]

    return made


_PARENT = """\
if __name__ == "__main__":
    connection = sqlite3.connect(":memory:")
    connection.execute("select 1")
    connection.close()
    open(os.environ["START_PIDS"], "a").write("%d\\n" % os.getpid())
"""
_CALL = "sys.exit(subprocess.call([python, program]))"
_SPAWN = (
    "import multiprocessing, runpy\n"
    "if __name__ == '__main__':\n"
    "    one = multiprocessing.get_context({!r}).Process(target=runpy.run_path, args=(program,))\n"
    "    one.start()\n    one.join()\n    sys.exit(one.exitcode)"
)

#: Way -> what it is.
STARTS: dict[str, Start] = {
    "python x.py": Start(_python()),
    "python x.py, found on PATH": Start(_on_path),
    "python -m package": Start(_module),
    "python -c": Start(lambda place: [place.python, "-c", PROGRAM, "a", "-m", "b"], service="python"),
    "python -": Start(_stdin("-", "a b"), service="python"),
    "python, program on standard input": Start(_stdin(), service="python"),
    "python directory": Start(lambda place: [place.python, str(Path(place.file("shop/__main__.py")).parent)]),
    "zipapp": Start(_archive(first=False)),
    "zipapp with a shebang": Start(_archive(first=True)),
    "shiv": Start(_shiv, needs="shiv"),
    "console script of a virtual environment": Start(_console),
    "shebang": Start(lambda place: [place.file("shop", first=f"#!{place.python}")]),
    "shebang with a flag": Start(lambda place: [place.file("shop", first=f"#!{place.python} -u")]),
    "shebang by env": Start(_env_shebang),
    "script behind a link": Start(_linked_script, service="link"),
    "sh -c": Start(_with(lambda place: ["sh", "-c", f'"$0" "{place.file("shop.py")}"; exit $?', place.python])),
    "sh -c exec": Start(lambda place: ["sh", "-c", f'exec "$0" "{place.file("shop.py")}"', place.python]),
    "shell script": Start(
        _shell('"$PYTHON" "$PROGRAM" first', 'exec "$PYTHON" "$PROGRAM" second'), traced=2, programs=2
    ),
    "shell script that adds to PYTHONPATH": Start(
        _shell('PYTHONPATH=/x${PYTHONPATH:+:$PYTHONPATH} exec "$PYTHON" "$PROGRAM"')
    ),
    "shell script that resets PYTHONPATH": _untouched(_shell('PYTHONPATH=/x "$PYTHON" "$PROGRAM"')),
    "shell script that resets PYTHONPATH, apm-run installed there": Start(
        lambda place: [*place.shell('PYTHONPATH=/x "$1" "$PROGRAM"'), place.venv(ours=True)]
    ),
    "shell script that unsets PYTHONPATH": _untouched(_shell("unset PYTHONPATH", '"$PYTHON" "$PROGRAM"')),
    "shell script that unsets PYTHONPATH, apm-run installed there": Start(
        lambda place: [*place.shell("unset PYTHONPATH", '"$1" "$PROGRAM"'), place.venv(ours=True)]
    ),
    "several pythons in a pipeline": Start(
        _shell('"$PYTHON" "$PROGRAM" 1 | { cat; "$PYTHON" "$PROGRAM" 2; } 2>&1 | { cat; "$PYTHON" "$PROGRAM" 3; }'),
        traced=3,
        programs=3,
    ),
    "make": Start(
        lambda place: ["make", "-s", "-f", place.file("Makefile", f"all:\n\t{place.python} {place.file('shop.py')}\n")],
        needs="make",
    ),
    "env": Start(_before("env", "A=1")),
    "env -i": _untouched(lambda place: ["env", "-i", f"START_PIDS={place.folder / 'pids'}", *_python()(place)]),
    "nice": Start(_before("nice", "-n", "3")),
    "nohup": Start(_before("nohup")),
    "timeout": Start(_before("timeout", "50")),
    "setsid": Start(_before("setsid", "-w"), needs="setsid"),
    "stdbuf": Start(_before("stdbuf", "-oL"), needs="stdbuf"),
    "exec -a": Start(
        lambda place: ["bash", "-c", f'exec -a {place.python}3 "$0" "$1"', place.python, place.file("shop.py")],
        needs="bash",
    ),
    "tini": Start(_before("tini", "-s", "--"), needs="tini"),
    "dumb-init": Start(_before("dumb-init"), needs="dumb-init"),
    "virtual environment": Start(lambda place: [place.venv(), place.file("shop.py")]),
    "interpreter behind links": Start(_behind_links),
    "CPython 2.7": _untouched(_foreign("2.7"), needs=_interpreter("2.7")),
    "CPython 3.6": _untouched(_foreign("3.6"), needs=_interpreter("3.6")),
    "CPython 3.8": _untouched(_foreign("3.8"), needs=_interpreter("3.8")),
    "PyPy": _untouched(lambda place: ["pypy3", place.file("shop.py")], needs="pypy3"),
    **{f"python {flag}": _untouched(_python(flag)) for flag in ("-I", "-E", "-S", "-sE")},
    **{
        f"python {flag}": Start(_python(flag))
        for flag in ("-s", "-u", "-B", "-OO", "-bb", "-Werror", "-Xdev", "-Xutf8")
    },
    "PYTHONDONTWRITEBYTECODE, PYTHONNOUSERSITE": Start(
        _with(_python(), PYTHONDONTWRITEBYTECODE="1", PYTHONNOUSERSITE="1")
    ),
    "PYTHONPATH with empty items": Start(_with(_python(), PYTHONPATH=":/x::")),
    "long PYTHONPATH": Start(_long(120_000)),
    "PYTHONPATH at the kernel's limit": _untouched(_long(131_072 - len("PYTHONPATH=") - 1)),
    "C locale": Start(_with(_python(), LC_ALL="C", LANG=None)),
    "read-only file system": Start(_read_only, needs="bwrap"),
    "no HOME": Start(_with(_python(), HOME=None, APM_RUN_STATE_DIR=None, XDG_STATE_HOME=None)),
    "another user": Start(_with(_nobody, APM_RUN_STATE_DIR=None), needs="setpriv"),
    "nowhere to write": Start(_with(_python(), HOME="/none", TMPDIR="/none", APM_RUN_STATE_DIR="/proc/none")),
    "spaces in paths": Start(_in("a b  c")),
    "paths that are not ASCII": Start(_in("\u00fcn\u00ef \u65e5\u672c")),
    "paths that are not ASCII, C locale": Start(_with(_in("\u00fc\u65e5"), LC_ALL="C")),
    "installation with a colon in its path": _untouched(_colon),
    "modules of the agent's names in the current directory": Start(_hostile),
    "own sitecustomize": Start(_customised("print('own', __name__, __file__)\n")),
    "own sitecustomize that raises": Start(_customised("1 / 0\n")),
    "own usercustomize": Start(_customised("print('own', __name__, __file__)\n", "usercustomize")),
    "signals ignored and blocked, umask": Start(_given),
    "apm-run apm-run": Start(_twice),
    "agent that can not be loaded": _untouched(_broken),
    "idle program": _untouched(_idle),
    "daemon that closes its descriptors": Start(_daemon),
    "program that redirects its output": Start(_redirected),
    "child by subprocess": Start(_child(_CALL), traced=2, programs=2, linked=True),
    "child by os.posix_spawn": Start(
        _child("import subprocess\nos.waitpid(os.posix_spawn(python, [python, program], os.environ), 0)"),
        traced=2,
        programs=2,
        linked=True,
    ),
    "child by multiprocessing spawn": Start(_child(_SPAWN.format("spawn")), traced=2, programs=2, linked=True),
    "child by multiprocessing forkserver": Start(
        _child(_SPAWN.format("forkserver")), traced=2, programs=2, linked=True
    ),
    "child, APM_RUN_CHILDREN=0": Start(_with(_child(_CALL), APM_RUN_CHILDREN="0"), programs=2),
    "program by exec, APM_RUN_CHILDREN=0": Start(_with(_shell('exec "$PYTHON" "$PROGRAM"'), APM_RUN_CHILDREN="0")),
    "pip": _untouched(lambda place: [place.python, place.file("pip")]),
    "python -m pdb": _untouched(
        lambda place: [place.python, "-m", "pdb", "-c", "continue", "-c", "quit", place.file("shop.py")]
    ),
    "unknown command": _untouched(lambda _: ["no-such-command"], programs=0, code=127),
    "unknown file": _untouched(lambda _: ["/none/such"], programs=0, code=127),
    "file that is not executable": _untouched(lambda place: [place.file("x", mode=0o644)], programs=0, code=126),
    "no command": _untouched(lambda _: [], programs=0, code=2),
    "yes into head -1": _untouched(lambda _: ["yes"], programs=0),
}


class Outcome:
    """What was seen of one way.

    :ivar text: for a table.
    """

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.text = ""

    @property
    def good(self) -> bool:
        return not self.differences


def missing(way: str) -> str:
    """What this way needs and the machine has not; empty if it can be tried."""
    needs = STARTS[way].needs
    return (
        "" if not needs or shutil.which(needs) or shutil.which(needs, path=str(Path(sys.executable).parent)) else needs
    )


def judge(python: str, way: str, folder: Path, launcher: str = LAUNCHER) -> Outcome:
    """Try one way to start, bare and launched, with that interpreter."""
    start, outcome = STARTS[way], Outcome()
    needs = missing(way)
    if needs:
        outcome.text = f"no {Path(needs).name} here"
        return outcome
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pids").touch()
    place = Place(python, folder, launcher)
    words = start.words(place)
    bare = run(way, words, place, environment(START_PIDS=str(folder / "pids"))) if start.code is None else None
    ran = _pids(folder)
    (folder / "pids").write_text("")
    with Sink() as sink:
        own = {"ELASTIC_APM_SERVER_URL": sink.url, "APM_RUN_STRICT": "1", "APM_RUN_STATE_DIR": str(folder / "state")}
        env = environment(START_PIDS=str(folder / "pids"), **own)
        launched = run(way, [*place.launcher, *words], place, env)
        outcome.differences += _refusal(launched, start.code) if bare is None else _different(bare, launched)
        _wait(sink, start.traced)
        outcome.differences += _wrong(sink, start, _pids(folder))
        outcome.differences += [f"{ran} programs bare"] if len(ran) != start.programs else []
        count = len(sink.transactions)
    outcome.text = "untouched" if not count else "traced" if count == 1 else f"{count} traced"
    if start.linked and count > 1:
        outcome.text += ", one trace"
    if start.code is not None:
        outcome.text = f"one line, exit code {launched.returncode}"
    return outcome


def run(way: str, words: list[Any], place: Place, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end; in a folder of its own, or the program's."""
    env = {name: value for name, value in {**env, **place.env}.items() if value is not None}
    if way == "yes into head -1":
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, restore_signals=True) as process:
            line = process.stdout.readline()
            process.stdout.close()
        return subprocess.CompletedProcess(words, process.returncode, line, signal.strsignal(-process.returncode))
    how: dict[str, Any] = {"cwd": place.folder, "capture_output": True, "timeout": 60, "check": False, **place.how}
    if "input" not in how:
        how["stdin"] = subprocess.DEVNULL
    return subprocess.run(words, env=env, **how)


def _pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def _different(bare: subprocess.CompletedProcess[bytes], launched: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [
        f"{name}: {getattr(bare, name)!r} bare, {getattr(launched, name)!r} launched"
        for name in ("returncode", "stdout", "stderr")
        if getattr(bare, name) != getattr(launched, name)
    ]


def _refusal(launched: subprocess.CompletedProcess[bytes], code: int | None) -> list[str]:
    said = launched.stderr.splitlines()
    lines = 2 if code == 2 else 1  # the usage has two
    wrong = [] if launched.returncode == code else [f"exit code {launched.returncode}, not {code}"]
    return wrong if len(said) == lines and not launched.stdout else [*wrong, f"said {launched.stdout!r}, {said}"]


def _wait(sink: Sink, count: int) -> None:
    try:
        sink.wait(lambda events: len(events.transactions) >= count, timeout=10)
    except AssertionError:
        pass  # the comparison says it better
    sink.wait_idle(0.1)


def _wrong(sink: Sink, start: Start, pids: Iterable[int]) -> list[str]:
    """What is not as it has to be in what was received."""
    wrong = []
    sent = [metadata for metadata, event in sink.metadata if "span_count" in event]
    if len(sent) != start.traced:
        wrong.append(f"{len(sent)} of {start.traced} transactions arrived")
    ran = {metadata["process"]["pid"] for metadata in sent}
    if len(ran) != len(sent) or not ran <= set(pids):
        wrong.append(f"transactions of processes {sorted(ran)}, programs {pids}")
    names = {metadata["service"]["name"] for metadata in sent} - {start.service}
    if names:
        wrong.append(f"services {sorted(names)}, not {start.service}")
    if start.linked and len({one["trace_id"] for one in sink.transactions}) != 1:
        wrong.append("not one trace")
    if start.linked and sum(one.get("parent_id") is None for one in sink.transactions) != 1:
        wrong.append("not below each other")
    return wrong
