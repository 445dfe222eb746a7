"""``apm-run bundle``: a directory that works wherever it is copied, and is whole or does nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.launch.support import INTERPRETERS, REPOSITORY, environment, run, traced

BOOTSTRAP = "apm_run/_bootstrap/sitecustomize.py"
COPY = "bin/apm-run-copy"
MARKER = "apm-run-bundle.json"

#: Reports itself, with the options that reached it.
PROGRAM = """\
import sqlite3, sys
sqlite3.connect(":memory:").execute("SELECT 1")
print("ran %d.%d" % sys.version_info[:2])
"""
SYSTEM = {"system": "/usr/bin/python3"} if os.path.exists("/usr/bin/python3") else {}
PYTHONS = {**INTERPRETERS, **SYSTEM}
TRACED = {name: path for name, path in PYTHONS.items() if name == "system" or traced(name)}

#: root that can not do what file modes forbid, as every other user
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


def _packed(folder: Path, name: str, source: Path, version: str, python: str) -> Path:
    """Return a wheel of a package that is installed here."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(source.rglob("*.py")):
            archive.write(path, f"{name}/{path.relative_to(source)}")
        info = f"{name}-{version}.dist-info"
        archive.writestr(
            f"{info}/METADATA", f"Name: {name}\nVersion: {version}\nRequires-Python: >={python}\n\nVersion: 0\n"
        )
        archive.writestr(f"{info}/licenses/LICENSE", "as it is")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr(f"{name}/../../escaped.py", "")
        archive.writestr(f"{name}/_speed.so", "not for this machine")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A directory with click, and tomli: the package, or what the standard library has of it."""
    folder = tmp_path_factory.mktemp("wheels")
    click = distribution("click")
    needed = click.metadata["Requires-Python"].removeprefix(">=")
    _packed(folder, "click", Path(find_spec("click").origin).parent, click.version, needed)
    spec = find_spec("tomli") or find_spec("tomllib")
    _packed(folder, "tomli", Path(spec.origin).parent, "2.0.9", "3.8")
    _packed(folder, "tomli", Path(spec.origin).parent, "9.0.0", "3.99")
    return folder


@pytest.fixture(scope="module")
def public():
    """A directory that every user can reach, which the temporary ones of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="apm-run-test-"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def make(apm_run: list, directory: Path, *options: object, **how) -> subprocess.CompletedProcess:
    return run([*apm_run, "bundle", *options, directory], **how)


@pytest.fixture(scope="module")
def bundle(script, wheels, public) -> Path:
    """Made of an installed wheel, then moved, at a place with spaces and more in its name."""
    made = public / "made"
    done = make([script], made, "--wheels", wheels)
    assert done.returncode == 0, done.stderr
    moved = public / "ein Verz\u00e9ichnis \u4e2d 'mit\" $HOME"
    made.rename(moved)
    return moved


def tree(root: Path, times: bool = False) -> dict:
    """Return path -> (mode, content) of everything below ``root``."""
    found = {}
    for path in [root, *root.rglob("*")]:
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (stat.S_IMODE(facts.st_mode), content, facts.st_mtime * times)
    return found


def lock(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)


def unlock(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def program_environment(python: str, sink, **more: str) -> dict[str, str]:
    folder = os.path.dirname(python)
    own = {"ELASTIC_APM_DISABLE_SEND": "false", "ELASTIC_APM_SERVER_URL": sink.url, "PATH": f"{folder}:/usr/bin:/bin"}
    return environment(**{**own, **more})


def deliver(command: list, **how) -> subprocess.CompletedProcess:
    """Run a program that has something to send.

    On a machine that is busy it may not come to that before it has to end (design 5a), which it says.
    """
    for _ in range(4):
        done = run(command, cwd="/", **how)
        if not done.stderr.startswith(b"apm-run: nothing was delivered"):
            break
    return done


# In the program


@pytest.mark.parametrize("version", sorted(PYTHONS))
@pytest.mark.parametrize("way", ["prefix", "environment", "option"])
def test_every_python_without_a_virtual_environment(version, way, bundle, sink, tmp_path):
    python = PYTHONS[version]
    env = program_environment(python, sink, APM_RUN_STATE_DIR=str(tmp_path))
    prefix = []
    if way == "environment":
        env["PYTHONPATH"] = str((bundle / BOOTSTRAP).parent)
    elif way == "prefix":
        prefix = [bundle / "bin/apm-run"]
    else:
        prefix = [bundle / "bin/apm-run", "--service-name", "optional"]
    before = tree(bundle, times=True)
    lock(bundle)
    try:
        done = deliver([*WITHOUT_RIGHTS, *prefix, python, "-c", PROGRAM], env=env)
    finally:
        unlock(bundle)
    if way == "option" and version != "system" and not _has_options(python):
        assert done.returncode == 2
        assert done.stderr.startswith(b"apm-run: ")
        assert done.stderr.count(b"\n") == 1
        return
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"ran ")
    assert tree(bundle, times=True) == before
    if version in TRACED:
        sink.wait(lambda sink: sink.transactions and sink.spans)
        service = sink.metadata[0][0]["service"]
        assert (service["name"] == "optional") is (way == "option")
    else:
        assert not sink.events


def _has_options(python: str) -> bool:
    """Whether the click that the bundle took from here works in a Python 3."""
    if run([python, "-c", "import sys; sys.exit(sys.version_info < (3,))"]).returncode:
        return True  # for "python3" is another then
    source = str(Path(find_spec("click").origin).parent.parent)
    code = f"import sys; sys.path.insert(0, {source!r}); import click, click.core, click.decorators"
    return run([python, "-c", code]).returncode == 0


def test_another_user(bundle, sink, public):
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    found = [path for path in TRACED.values() if run([*user, "sh", "-c", 'exec "$0" -c ""', path]).returncode == 0]
    if not found:
        pytest.skip("no interpreter that another user can reach")
    state = public / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    env = program_environment(found[0], sink, HOME="/nonexistent", APM_RUN_STATE_DIR=str(state))
    done = deliver([*user, bundle / "bin/apm-run", found[0], "-c", PROGRAM], env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    sink.wait(lambda sink: sink.transactions and sink.spans)


@pytest.mark.parametrize("version", [name for name in TRACED if name.startswith(("3.9.", "3.10."))])
def test_configuration_file_below_311(version, bundle, tmp_path):
    (tmp_path / "apm.toml").write_text('service_name = "from the file"\n')
    code = "import apm_run.config as c; print(c.load()[0].service_name)"
    env = environment(PYTHONPATH=str((bundle / BOOTSTRAP).parent), APM_RUN_CONFIG=str(tmp_path / "apm.toml"))
    done = run([PYTHONS[version], "-c", code], env=env)
    assert done.stdout == b"from the file\n", done.stderr


def test_only_the_agent_is_on_the_path_of_the_program(bundle):
    code = (
        "import sys\ntry:\n import tomli\nexcept ImportError: print('none')\nprint([p for p in sys.path if 'apm' in p])"
    )
    done = run([bundle / "bin/apm-run", sys.executable, "-I", "-S", "-c", code])
    assert done.stdout == b"none\n[]\n"
    python = next(iter(TRACED.values()))
    done = run([bundle / "bin/apm-run", python, "-S", "-c", "import sys; print(*sys.path, sep='\\n')"])
    assert str(bundle) in done.stdout.decode()  # -S: no site, so nobody took it off; nothing else of ours is there
    assert done.stdout.decode().count(str(bundle)) == 1


def test_bytecode_is_used(bundle):
    env = environment(PYTHONPATH=str((bundle / BOOTSTRAP).parent))
    done = run([sys.executable, "-v", "-c", "pass"], env=env)
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("# code object from")]
    ours = [line for line in lines if "apm_run/" in line]
    assert ours
    assert all(line.rstrip("'").endswith(".pyc") for line in ours), ours


def test_tracebacks_name_the_place_where_it_is(bundle):
    env = environment(PYTHONPATH=str((bundle / BOOTSTRAP).parent))
    done = run([sys.executable, "-c", "from apm_run import agent; print(agent.start.__code__.co_filename)"], env=env)
    assert done.stdout.decode() == f"{bundle}/apm_run/agent.py\n"


def test_symbolic_link_to_the_entry_script(bundle, sink, tmp_path):
    (tmp_path / "traced").symlink_to(bundle / "bin/apm-run")
    python = next(iter(TRACED.values()))
    env = program_environment(python, sink, APM_RUN_STATE_DIR=str(tmp_path / "state"))
    done = deliver([tmp_path / "traced", python, "-c", PROGRAM], env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    sink.wait(lambda sink: sink.transactions)


def test_half_a_bundle_starts_the_program_untraced(bundle, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(bundle, half)
    (half / BOOTSTRAP).unlink()
    env = environment(PYTHONPATH=str((half / BOOTSTRAP).parent))
    for command, how in (([half / "bin/apm-run"], environment()), ([], env)):
        done = run([*command, sys.executable, "-c", "import sys; print('apm_run' in sys.modules)"], env=how)
        assert (done.stdout, done.stderr, done.returncode) == (b"False\n", b"", 0)


@pytest.mark.parametrize("version", [name for name in INTERPRETERS if name.startswith("3.6.")])
def test_options_with_a_python_that_is_too_old(version, bundle):
    env = environment(PATH=f"{os.path.dirname(INTERPRETERS[version])}:/usr/bin:/bin")
    done = run([bundle / "bin/apm-run", "--service-name", "x", "true"], env=env)
    assert done.returncode == 2
    assert done.stderr.startswith(b"apm-run: options and subcommands need Python 3.7 or newer, and python3 here is 3.6")
    assert done.stderr.count(b"\n") == 1


def test_options_without_click(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    shutil.rmtree(tmp_path / "b/click")
    for path in PYTHONS.values():
        if run([path, "-I", "-c", "import click"]).returncode:
            break
    else:
        pytest.skip("every interpreter here has a click of its own")
    env = environment(PATH=f"{os.path.dirname(path)}:/usr/bin:/bin")
    done = run([tmp_path / "b/bin/apm-run", "--service-name=x", "true"], env=env)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"apm-run: ")


# Making one


def test_files_and_modes(script, wheels, tmp_path):
    assert make([script], tmp_path / "b", "--wheels", wheels).returncode == 0
    found = tree(tmp_path / "b", times=True)
    assert {
        "bin/apm-run",
        COPY,
        BOOTSTRAP,
        MARKER,
        "LICENSE",
        "apm_run/agent.py",
        "click/core.py",
        "tomli/_parser.py",
    } <= set(found)
    assert not [name for name in found if name.endswith(".so") or "escaped" in name or "RECORD" in name]
    assert found["tomli-2.0.9.dist-info/licenses/LICENSE"][1] == b"as it is"
    scripts = {name for name, (mode, content, _) in found.items() if content is not None and mode == 0o755}
    assert scripts == {"bin/apm-run", COPY}
    assert {mode for mode, content, _ in found.values() if content is None} == {0o755}
    assert {mode for name, (mode, content, _) in found.items() if content is not None and name not in scripts} == {
        0o644
    }
    assert {time for _, _, time in found.values()} == {315532800}


def test_what_it_says(script, wheels, tmp_path):
    done = make([script], tmp_path / "b", "--wheels", wheels)
    first, prefix, environment_only = done.stdout.decode().splitlines()
    version = distribution("click").version
    assert f": apm-run 0.1.0, click {version}, tomli 2.0.9; bytecode for " in first
    assert prefix.endswith(f" {tmp_path}/b/bin/apm-run COMMAND [ARGS]...")
    assert environment_only.endswith(f" PYTHONPATH={tmp_path}/b/apm_run/_bootstrap")
    notes = done.stderr.decode().splitlines()
    assert all(note.startswith("apm-run: note: click") for note in notes)


def test_what_is_missing_is_said(script, tmp_path):
    if find_spec("tomli"):
        pytest.skip("tomli is installed here")
    done = make([script], tmp_path / "b")
    assert done.returncode == 0
    assert b"note: tomli is not in it, so a configuration file (--config) is not read below" in done.stderr
    assert not (tmp_path / "b/tomli").exists()


def test_a_directory_without_wheels_is_told(script, tmp_path):
    (tmp_path / "empty").mkdir()
    done = make([script], tmp_path / "b", "--wheels", tmp_path / "empty")
    assert done.returncode == 0
    assert b"holds no wheel of click: the one that is installed here is taken" in done.stderr


def test_a_colon_in_the_name_is_told(script, wheels, tmp_path):
    done = make([script], tmp_path / "a:b", "--wheels", wheels)
    assert b"note: DIR has a colon" in done.stderr


def test_same_input_same_bytes(script, wheels, tmp_path):
    trees = []
    for name, umask in (("one", 0o000), ("another/deeper", 0o077)):
        done = make([script], tmp_path / name, "--wheels", wheels, umask=umask)
        assert done.returncode == 0, done.stderr
        trees.append(tree(tmp_path / name, times=True))
    assert trees[0] == trees[1]


def test_of_a_checkout_and_of_a_bundle(script, wheels, tmp_path):
    env = environment(PYTHONPATH=str(REPOSITORY / "src"))
    for apm_run, name in (
        ([script], "wheel"),
        ([sys.executable, "-m", "apm_run"], "checkout"),
        ([tmp_path / "wheel/bin/apm-run"], "bundle"),
    ):
        done = make(apm_run, tmp_path / name, "--wheels", wheels, "--python", sys.executable, env=env)
        assert done.returncode == 0, done.stderr
    wheel = {name: facts for name, facts in tree(tmp_path / "wheel", times=True).items() if "__pycache__" not in name}
    for other in ("checkout", "bundle"):
        found = tree(tmp_path / other, times=True)
        assert wheel == {name: facts for name, facts in found.items() if "__pycache__" not in name}


def test_several_interpreters(script, tmp_path):
    options = [word for path in TRACED.values() for word in ("--python", path)]
    done = make([script], tmp_path / "b", *options)
    assert done.returncode == 0, done.stderr
    tags = {path.name.split(".")[-2] for path in (tmp_path / "b").rglob("agent.*.pyc")}
    wanted = {
        f"cpython-{name.replace('.', '')[: 2 if name.startswith('3.9') else 3]}" for name in TRACED if name != "system"
    }
    assert wanted <= tags


def _not_empty(folder: Path) -> Path:
    (folder / "DIR").mkdir()
    (folder / "DIR/thesis.tex").write_text("years of work")
    return folder / "DIR"


def _file(folder: Path) -> Path:
    (folder / "DIR").write_text("years of work")
    return folder / "DIR"


def _dangling(folder: Path) -> Path:
    (folder / "DIR").symlink_to("nowhere")
    return folder / "DIR"


def _below_a_file(folder: Path) -> Path:
    return _file(folder) / "b"


@pytest.mark.parametrize("case", [_not_empty, _file, _dangling, _below_a_file])
def test_a_directory_that_is_refused(case, script, tmp_path):
    directory = case(tmp_path)
    before = tree(tmp_path)
    done = make([script], directory)
    assert done.returncode == 2
    assert done.stderr.startswith(b"apm-run: DIR: ")
    assert done.stderr.count(b"\n") == 1
    assert b"name a" in done.stderr
    assert tree(tmp_path) == before


def test_a_directory_that_can_not_be_written(script, tmp_path):
    (tmp_path / "mine").mkdir(mode=0o555)
    done = make([*WITHOUT_RIGHTS, script], tmp_path / "mine/DIR")
    assert done.returncode == 2
    assert done.stderr.startswith(f"apm-run: DIR: {tmp_path}/mine".encode())
    assert done.stderr.endswith(b": permission denied; name a directory that can be written\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wheels", "/nonexistent"], "'--wheels': '/nonexistent' is no directory; name the one"),
        (["--python", "no-such-python"], "'--python': 'no-such-python' is no program; name an interpreter"),
        (["--python", "/bin/sh"], "'--python': '/bin/sh' is not CPython 3.9 or newer: leave it out"),
        (["--wheels"], "'--wheels' requires an argument"),
        ([], "Missing argument 'DIR'"),
    ],
)
def test_options_that_are_refused(options, message, script, tmp_path):
    words = [*options, tmp_path / "b"] if options[1:] else options
    done = run([script, "bundle", *words])
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("content", [b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_broken_wheel(content, script, tmp_path):
    wheel = tmp_path / "click-8.1.8-py3-none-any.whl"
    wheel.write_bytes(content)
    done = make([script], tmp_path / "b", "--wheels", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"apm-run: --wheels: {wheel} ".encode())
    assert done.stderr.endswith(b"download it anew\n")
    assert sorted(os.listdir(tmp_path)) == [wheel.name]


# Replacing one


def test_an_older_bundle_is_replaced_whole(script, wheels, tmp_path):
    make([script], tmp_path / "b", "--wheels", wheels)
    whole = tree(tmp_path / "b", times=True)
    (tmp_path / "b/apm_run/left_over.py").write_text("")
    (tmp_path / "b/apm_run/agent.py").write_text("")
    (tmp_path / "link").symlink_to("b")
    assert make([script], tmp_path / "link", "--wheels", wheels).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "b", times=True) == whole
    assert sorted(os.listdir(tmp_path)) == ["b", "link"]


def test_several_at_once(script, wheels, tmp_path):
    target = tmp_path / "b"
    make([script], target, "--wheels", wheels)
    whole = tree(target)
    words = [script, "bundle", "--wheels", str(wheels), str(target)]
    running = [subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL) for _ in range(4)]
    try:
        while any(process.poll() is None for process in running):
            assert (target / BOOTSTRAP).read_bytes() == whole[BOOTSTRAP][1]
    finally:
        codes = [process.wait() for process in running]
    assert codes == [0, 0, 0, 0]
    assert tree(target) == whole
    assert os.listdir(tmp_path) == ["b"]


def test_leftovers_of_killed_ones_are_cleared(script, wheels, tmp_path):
    old, fresh = tmp_path / ".apm-run-new-old", tmp_path / ".apm-run-new-fresh"
    for folder in (old, fresh):
        folder.mkdir()
    code = (
        "import sys, time; real = time.time; time.time = lambda: real() + 700\n"
        "from apm_run.cli import bundle_place\n"
        "bundle_place._clear(sys.argv[1])"
    )
    handle = os.open(fresh, os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)  # as a process that is at it
        done = run([sys.executable, "-c", code, tmp_path], env=environment(PYTHONPATH=str(REPOSITORY / "src")))
    finally:
        os.close(handle)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == [fresh.name]


@pytest.mark.parametrize("how", ["bundle", "bundle inside", "copy"])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replacing"])
def test_killed_at_any_moment(how, old, script, bundle, wheels, tmp_path):
    """Whatever of it is at the place: the bootstrap is absent, or everything else is there."""
    target = tmp_path / "place" / "b"
    target.mkdir(parents=True)
    words = [script, "bundle", "--wheels", wheels, "--python", sys.executable, target]
    if how == "copy":
        words = [bundle / COPY, target]
    if how == "bundle inside":
        if not shutil.which("setpriv") and WITHOUT_RIGHTS:
            pytest.skip("no setpriv here")
        words = [*WITHOUT_RIGHTS, *words]
        target.parent.chmod(0o555)
    words = [str(word) for word in words]
    started = time.monotonic()
    done = run(words)
    took = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    whole = tree(target)
    for step in range(12):
        if not old:
            _empty(target)
        else:
            (target / "apm_run/agent.py").write_text("")  # what must not stay
            (target / "apm_run/stale.py").write_text("")
        process = subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with pytest.raises(subprocess.TimeoutExpired):  # the last ones of the steps may have ended
            process.wait(took * (step + 1) / 14)
            raise subprocess.TimeoutExpired(words, 0)
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
        if (target / BOOTSTRAP).exists():
            found = {name: facts for name, facts in tree(target).items() if not name.startswith(".apm-run-new-")}
            assert found == whole or "apm_run/stale.py" in found  # untouched: it has not begun
    done = run(words)
    assert done.returncode == 0, done.stderr
    assert {name: facts for name, facts in tree(target).items() if not name.startswith(".apm-run-new-")} == whole


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# apm-run-copy


@pytest.fixture(params=["sh", "bash --posix", "busybox sh"])
def copy_shell(request) -> list[str]:
    words = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    return words


def test_copy(copy_shell, bundle, tmp_path):
    env = environment(PATH="/usr/bin:/bin")
    (tmp_path / "lost+found").mkdir()  # the root of a volume
    for _ in range(2):
        done = run([*copy_shell, bundle / COPY, tmp_path], env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        (tmp_path / "lost+found").rmdir()
        assert {**tree(tmp_path), ".": 0} == {**tree(bundle), ".": 0}
        (tmp_path / "lost+found").mkdir()
        (tmp_path / "apm_run/stale.py").write_text("")
    found = run([tmp_path / "bin/apm-run", sys.executable, "-c", "import sys; print('apm_run' in sys.modules)"])
    assert found.stdout == b"True\n"


def test_copies_at_once(bundle, tmp_path):
    if shutil.which("flock") is None:
        pytest.skip("no flock here")
    running = [subprocess.Popen([bundle / COPY, tmp_path / "b"], stderr=subprocess.PIPE) for _ in range(6)]
    assert [(process.wait(), process.stderr.read()) for process in running] == [(0, b"")] * 6
    for process in running:
        process.stderr.close()
    assert tree(tmp_path / "b") == tree(bundle)


@pytest.mark.parametrize("case", [_not_empty, _file])
def test_copy_refuses(case, copy_shell, bundle, tmp_path):
    target = case(tmp_path)
    before = tree(tmp_path)
    done = run([*copy_shell, bundle / COPY, target])
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"apm-run-copy: {target}: ".encode())
    assert tree(tmp_path) == before


def test_copy_into_itself(copy_shell, bundle):
    before = tree(bundle, times=True)
    for target in (bundle, bundle / "sub"):
        done = run([*copy_shell, bundle / COPY, target])
        assert done.returncode == 2
        assert b"is this bundle itself" in done.stderr
    assert {**tree(bundle, times=True), ".": 0} == {**before, ".": 0}


def test_copy_wants_one_directory(bundle):
    for words in ([], ["a", "b"]):
        done = run([bundle / COPY, *words])
        assert (done.returncode, done.stderr) == (2, b"apm-run-copy: usage: apm-run-copy TARGET\n")
