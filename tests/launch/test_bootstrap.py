"""The bootstrap: the program's own customisation is run as bare, and the agent is added without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv

import pytest
from tests.launch.support import INTERPRETERS, environment, run, same, traced

#: What must not be loaded before the program asks for it.
HEAVY = ("ssl", "socket", "threading", "asyncio", "logging", "http", "urllib3", "wrapt", "orjson")

MODULES = "import sys, json; print(json.dumps(sorted(sys.modules)))"
OLD = [version for version in INTERPRETERS if not traced(version)]
NEW = [version for version in INTERPRETERS if traced(version)]


@pytest.fixture
def launcher(script):
    return [script]


@pytest.fixture
def modules(tmp_path):
    """A directory of modules, and the environment whose PYTHONPATH names it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    return folder


def user_site(folder, **files):
    """Write ``files`` into a user site-packages below ``folder``; return the environment that has it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "base" / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    for name, content in files.items():
        (packages / f"{name}.py").write_text(content)
    return environment(PYTHONUSERBASE=str(folder / "base"))


BASE_PYTHON = os.path.realpath(sys.executable)  # a venv's Python takes no user site-packages

NOTE = "import sys; print('{0}', __name__, __file__, __spec__.name, sys.modules.get('{0}') is not None)\n"


class TestOwnCustomisation:
    def test_both_run_once(self, launcher, tmp_path):
        env = user_site(
            tmp_path, sitecustomize=NOTE.format("sitecustomize"), usercustomize=NOTE.format("usercustomize")
        )
        command = [BASE_PYTHON, "-c", "import sitecustomize, usercustomize; print(sitecustomize.__file__)"]
        done = same(launcher, command, env=env)
        assert done.stdout.count(b"sitecustomize sitecustomize ") == 1
        assert done.stdout.count(b"usercustomize usercustomize ") == 1

    def test_on_python_path(self, launcher, modules):
        (modules / "sitecustomize.py").write_text(NOTE.format("sitecustomize"))
        for path in (str(modules), f"/nonexistent:{modules}", f"{modules}:"):
            env = environment(PYTHONPATH=path)
            same(launcher, [sys.executable, "-c", "import sitecustomize, sys; print(sys.path)"], env=env)
            same([*launcher, *launcher], [sys.executable, "-c", "import sitecustomize"], env=env)

    def test_a_package(self, launcher, modules):
        (modules / "sitecustomize").mkdir()
        (modules / "sitecustomize" / "__init__.py").write_text(NOTE.format("sitecustomize") + "from . import more\n")
        (modules / "sitecustomize" / "more.py").write_text("print('more', __name__)\n")
        command = [sys.executable, "-c", "import sitecustomize.more; print(sitecustomize.more.__spec__.parent)"]
        assert b"more" in same(launcher, command, env=environment(PYTHONPATH=str(modules))).stdout

    @pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
    @pytest.mark.parametrize(
        "body",
        [
            "raise ValueError('wrong')",
            "raise ImportError('wrong')",
            "raise ImportError('wrong', name='other')",
            "import no_such_module",
            "from sys import no_such_name",
            "import no_such_package.module",
            "1 / 0",
            "def f(:",
            "import os; os._exit(9)",
            "\0",
        ],
    )
    def test_its_errors_are_shown_as_bare(self, launcher, modules, tmp_path, name, body):
        (modules / f"{name}.py").write_text(body + "\n")
        env = environment(PYTHONPATH=str(modules))
        same(launcher, [BASE_PYTHON, "-c", "print('program')"], env=env)

    @pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
    @pytest.mark.parametrize(
        "body",
        [
            "raise SystemExit(7)",
            "raise SystemExit('text')",
            "raise KeyboardInterrupt",
            "import sys; sys.exit(0)",
            "raise type('Odd', (BaseException,), {})('x')",
        ],
    )
    def test_it_may_end_the_interpreter(self, launcher, modules, name, body):
        """The same end and the same words; the traceback has lines of ours between those of the interpreter."""
        (modules / f"{name}.py").write_text(body + "\n")
        env = environment(PYTHONPATH=str(modules))
        bare, launched = (run([*p, BASE_PYTHON, "-c", "print('program')"], env=env) for p in ([], launcher))
        assert (launched.returncode, launched.stdout) == (bare.returncode, bare.stdout)
        said = iter(launched.stderr.splitlines())
        assert all(line in said for line in bare.stderr.splitlines())

    @pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
    def test_without_it_the_name_is_as_bare(self, launcher, name):
        """Without one of their own, programs that ask get the ImportError of before."""
        code = (
            f"import sys; print({name!r} in sys.modules)\ntry: import {name}\nexcept ImportError as e: print(e, e.name)"
        )
        same(launcher, [sys.executable, "-c", code])

    def test_it_may_change_the_path(self, launcher, modules):
        (modules / "sitecustomize.py").write_text(
            "import sys; sys.path.insert(0, '/added'); sys.path.append('/last')\n"
        )
        env = environment(PYTHONPATH=str(modules))
        assert b"/added" in same(launcher, [sys.executable, "-c", "import sys; print(sys.path)"], env=env).stdout

    def test_it_may_change_the_environment(self, launcher, modules):
        (modules / "sitecustomize.py").write_text("import os; os.environ['SEEN'] = 'yes'; os.environ.pop('HOME')\n")
        code = "import os; print(os.environ['SEEN'], 'HOME' in os.environ)"
        same(launcher, [sys.executable, "-c", code], env=environment(PYTHONPATH=str(modules)))


class TestNothingIsAdded:
    def test_heavy_modules(self, launcher):
        bare, launched = (
            set(json.loads(run([*prefix, sys.executable, "-c", MODULES]).stdout)) for prefix in ([], launcher)
        )
        added = launched - bare
        assert "apm_run" in added
        heavy = {name for name in added if name.split(".")[0].lstrip("_") in HEAVY}
        assert not heavy
        assert len(added) < 20, sorted(added)

    @pytest.mark.parametrize("version", NEW or [pytest.param(None, marks=pytest.mark.skip("no pyenv"))])
    def test_heavy_modules_of_every_version(self, launcher, version):
        python = INTERPRETERS[version]
        bare, launched = (set(json.loads(run([*p, python, "-c", MODULES]).stdout)) for p in ([], launcher))
        assert "apm_run" in launched
        assert not {name for name in launched - bare if name.split(".")[0].lstrip("_") in HEAVY}

    def test_state_of_the_interpreter(self, launcher):
        """No thread, no handler, no hook, no descriptor, no filter, no changed recursion limit."""
        code = (
            "import sys, os, _thread, signal, builtins, gc\n"
            "print(sys.path, len(sys.path_hooks), sys.excepthook, sys.displayhook, sys.unraisablehook,\n"
            "      sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), sys.getswitchinterval(),\n"
            "      sys.warnoptions, sys.flags, sys.argv, sys.dont_write_bytecode,\n"
            "      getattr(sys, 'orig_argv', None),\n"
            "      _thread._count(), gc.get_threshold(), gc.isenabled(), builtins.__import__, sorted(vars(builtins)),\n"
            "      [str(signal.getsignal(n)) for n in range(1, 32)], sorted(os.listdir('/proc/self/fd')),\n"
            "      sorted(k for k in sys.path_importer_cache if 'bootstrap' in k),\n"
            "      __name__, sorted(globals()), sys.stdout, sys.stderr.errors, __builtins__ is builtins)\n"
        )
        same(launcher, [sys.executable, "-c", code])

    def test_one_finder_at_most(self, launcher):
        code = "import sys; print(len(sys.meta_path), [str(f) for f in sys.meta_path])"
        bare, launched = (run([*prefix, sys.executable, "-c", code]).stdout for prefix in ([], launcher))
        assert int(launched.split()[0]) <= int(bare.split()[0]) + 1

    def test_children_are_launched_too(self, launcher):
        child = "import sys; print('apm_run' in sys.modules, sys.path)"
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
        launched = run([*launcher, sys.executable, "-c", code]).stdout
        bare = run([sys.executable, "-c", code]).stdout
        assert launched == bare.replace(b"False", b"True", 1)

    def test_the_import_of_ours_is_the_agents(self, launcher):
        code = "import apm_run, sys; print(apm_run.__file__ == sys.modules['apm_run'].__file__)"
        assert run([*launcher, sys.executable, "-c", code]).stdout == b"True\n"


class TestModulesOfTheProgram:
    NAMES = ("queue", "json", "wrapt", "click", "signal", "types", "enum", "socket", "logging", "atexit_", "tomli")

    def test_the_current_directory_changes_nothing(self, launcher, tmp_path):
        for name in self.NAMES:
            (tmp_path / f"{name}.py").write_text(f"print('own {name}')\n")
        (tmp_path / "program.py").write_text("import sys; print(sys.path[0]); import queue, json, click\n")
        for command in (
            ["-c", "import queue, json; print(queue.__file__)"],
            ["program.py"],
            ["-m", "program"],
            ["-c", "pass"],
            ["-m", "this"],
        ):
            same(launcher, [sys.executable, *command], cwd=tmp_path)

    def test_an_apm_run_in_the_current_directory(self, launcher, tmp_path):
        """Not ours, so not loaded; what the program gets by that name is the running agent."""
        (tmp_path / "apm_run.py").write_text("print('trapped')\n")
        same(launcher, [sys.executable, "-c", "print('fine')"], cwd=tmp_path)

    def test_on_python_path(self, launcher, modules):
        for name in (*self.NAMES, "apm_run", "_frozen_importlib", "_thread"):
            (modules / f"{name}.py").write_text(f"print('own {name}')\n")
        env = environment(PYTHONPATH=str(modules))
        same(launcher, [sys.executable, "-c", "print('fine')"], env=env)

    def test_another_python_environment(self, launcher, tmp_path):
        """A venv that knows nothing of us, with a urllib3 of its own: traced, and its own."""
        venv.create(tmp_path / "venv", symlinks=True)
        python = tmp_path / "venv" / "bin" / "python"
        site = next((tmp_path / "venv").glob("lib/python3*/site-packages"))
        (site / "urllib3.py").write_text("__version__ = '0.0.1'\n")
        code = (
            "import sys\n"
            "import urllib3; print(urllib3.__version__, urllib3.__file__)\n"
            "for name in ('orjson', 'wrapt', 'click', 'starlette'):\n"
            "    try: __import__(name)\n"
            "    except ImportError as error: print(error)\n"
            "print(sys.path, sys.prefix, sys.executable)\n"
        )
        assert b"0.0.1" in same(launcher, [python, "-c", code]).stdout
        assert run([*launcher, python, "-c", "import sys; print('apm_run' in sys.modules)"]).stdout == b"True\n"


class TestStandingAside:
    SHOW = (
        "import sys; path = [p for p in sys.path if not p.endswith('/_bootstrap')]\n"
        "sys.stdout.write(str('apm_run' in sys.modules) + str(sys.flags) + str(path))"
    )

    @pytest.mark.parametrize("flags", [["-I"], ["-E"], ["-S"], ["-IS"], ["-ES"]])
    def test_flags_that_forbid_it(self, launcher, flags):
        """Untraced, and silent: nothing of ours has run that could say a word, or (-S) leave ``sys.path``."""
        done = same(launcher, [sys.executable, *flags, "-c", self.SHOW])
        assert done.stdout.startswith(b"False")

    @pytest.mark.parametrize(
        "flags", [["-s"], ["-B"], ["-O"], ["-OO"], ["-u"], ["-X", "utf8"], ["-W", "error"], ["-bb"]]
    )
    def test_flags_that_do_not(self, launcher, flags):
        done = run([*launcher, sys.executable, *flags, "-c", self.SHOW])
        bare = run([sys.executable, *flags, "-c", self.SHOW])
        assert done.stdout == bare.stdout.replace(b"False", b"True", 1)
        assert done.stderr == bare.stderr

    @pytest.mark.parametrize("version", OLD or [pytest.param(None, marks=pytest.mark.skip("no pyenv"))])
    def test_old_versions_run_untouched(self, launcher, version):
        """Python 2.7 to 3.8: same output, same error output, same modules."""
        python = INTERPRETERS[version]
        code = (
            "import sys; names = sorted(n for n in sys.modules if n not in ('sitecustomize', 'usercustomize'))\n"
            "sys.stdout.write(repr(names) + repr(sys.path) + repr(sys.meta_path) + repr(sys.version_info))\n"
        )
        same(launcher, [python, "-c", code])
        same(launcher, [python, "-c", "import sys; sys.exit('leaving')"])
        same(launcher, [python, "-c", "raise ValueError('wrong')"])
        same(launcher, [python, "-W", "error", "-c", "print(1)"])
        same(launcher, [python, "-c", "try:\n    import sitecustomize\nexcept ImportError: print('none')"])

    @pytest.mark.parametrize("version", OLD or [pytest.param(None, marks=pytest.mark.skip("no pyenv"))])
    @pytest.mark.parametrize("body", ["print('own')", "raise ValueError('wrong')", "raise ImportError('wrong')"])
    def test_customisation_of_old_versions(self, launcher, version, modules, body):
        for name in ("sitecustomize", "usercustomize"):
            (modules / f"{name}.py").write_text(body + "\n")
        env = environment(PYTHONPATH=str(modules), PYTHONDONTWRITEBYTECODE="1")
        same(launcher, [INTERPRETERS[version], "-c", "print('program')"], env=env)

    @pytest.mark.parametrize("version", NEW or [pytest.param(None, marks=pytest.mark.skip("no pyenv"))])
    def test_new_versions_are_traced(self, launcher, version):
        python = INTERPRETERS[version]
        done = run([*launcher, python, "-c", "import sys; sys.stdout.write(str('apm_run.agent' in sys.modules))"])
        assert (done.stdout, done.stderr) == (b"True", b"")

    def test_a_broken_agent(self, launcher, plain, tmp_path):
        """Half an installation, or one of the wrong version: the program starts, and nothing is said."""
        import shutil

        folder = tmp_path / "venv"
        shutil.copytree(plain, folder, symlinks=True)
        agent = next(folder.glob("lib/python3*/site-packages/apm_run/agent.py"))
        env = environment(APM_RUN_STRICT="0")
        for content in (
            "raise SystemExit(5)\n",
            "raise RuntimeError\n",
            "import no_such_dependency\n",
            "def start(:\n",
            "raise type('Odd', (BaseException,), {})()\n",
            "\0",
            None,
        ):
            agent.unlink(missing_ok=True)
            if content is not None:
                agent.write_text(content)
            same([str(folder / "bin" / "apm-run")], [sys.executable, "-c", "print('program')"], env=env)


class TestPrograms:
    """Ordinary programs: output, error output and end as bare."""

    @pytest.mark.parametrize(
        "code",
        [
            "print('x'); import sys; print('y', file=sys.stderr)",
            "raise ValueError('wrong')",
            "import sys; sys.exit(3)",
            "import sys; sys.exit('text')",
            "raise SystemExit",
            "raise KeyboardInterrupt",
            "import os; os._exit(4)",
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            "import os; os.abort()",
            "import atexit; atexit.register(print, 'last'); print('first')",
            "import threading; threading.Thread(target=print, args=('thread',)).start()",
            "import sys; sys.stdout.close()",
            "import os; [os.close(n) for n in range(3, 50) if os.path.exists(f'/proc/self/fd/{n}')]; print('closed')",
            "import os; os.closerange(0, 256)",
            "import os; os.execv('/bin/echo', ['echo', 'another'])",
            "import os; pid = os.fork(); os.waitpid(pid, 0) if pid else print('child')",
            "import sys; del sys.modules['apm_run'] if 'apm_run' in sys.modules else None; print('gone')",
            "import builtins; print(sorted(builtins.__dict__) == sorted(dir(builtins)))",
            "import warnings; warnings.warn('mind')",
            "import gc; gc.collect(); print(gc.garbage)",
            "import sys; sys.setrecursionlimit(100); f = lambda n: n and f(n - 1); print(f(50))",
        ],
    )
    def test_code(self, launcher, code):
        if code.startswith("import sys; del"):
            code = "import sys; sys.modules.pop('apm_run', None); print('gone')"
        same(launcher, [sys.executable, "-c", code])

    def test_standard_input_is_the_program(self, launcher):
        same(launcher, [sys.executable, "-"], input=b"print(__name__, __file__ if '__file__' in dir() else None)")

    def test_interactive(self, launcher):
        same(launcher, [sys.executable, "-i", "-q"], input=b"1 + 1\nundefined\n")

    def test_development_mode(self, launcher):
        """No unclosed file, no warning of ours."""
        same(launcher, [sys.executable, "-X", "dev", "-W", "error", "-c", "print('x')"])

    def test_a_program_without_a_home(self, launcher):
        env = {"PATH": "/usr/bin:/bin", "ELASTIC_APM_DISABLE_SEND": "true"}
        same(launcher, [sys.executable, "-c", "print('x')"], env=env)

    def test_zip_and_directory(self, launcher, tmp_path):
        import zipfile

        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "__main__.py").write_text("import sys; print(sys.argv, sys.path[0], __package__, __spec__.name)\n")
        with zipfile.ZipFile(tmp_path / "program.pyz", "w") as file:
            file.write(folder / "__main__.py", "__main__.py")
        for program in (folder, tmp_path / "program.pyz"):
            same(launcher, [sys.executable, program, "x"])

    def test_processes_of_every_kind(self, launcher, tmp_path):
        program = tmp_path / "program.py"
        program.write_text(
            "import multiprocessing, sys, concurrent.futures\n"
            "def double(n): return 2 * n\n"
            "if __name__ == '__main__':\n"
            "    for kind in ('fork', 'spawn', 'forkserver'):\n"
            "        context = multiprocessing.get_context(kind)\n"
            "        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:\n"
            "            print(kind, list(pool.map(double, range(3))))\n"
        )
        same(launcher, [sys.executable, "-W", "ignore", program])


@pytest.mark.timing
def test_cost_of_the_start(launcher):
    """At most 15 ms over bare, as the median of 20 runs each, interleaved."""
    import statistics
    import time

    env = environment(APM_RUN_STRICT="0")
    command = [sys.executable, "-c", "pass"]

    def once(words):
        begin = time.perf_counter()
        subprocess.run(words, env=env, check=True)
        return (time.perf_counter() - begin) * 1000

    for words in (command, [*launcher, *command]):
        once(words)
    bare, launched = zip(*[(once(command), once([*launcher, *command])) for _ in range(20)])
    before, after = statistics.median(bare), statistics.median(launched)
    print(f"\nbare {before:.1f} ms, launched {after:.1f} ms: +{after - before:.1f} ms, x{after / before:.2f}")
    assert after - before <= 15
