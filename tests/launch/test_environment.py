"""The program's environment: as it was given, but for PYTHONPATH and what begins with APM_RUN_."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from tests.launch.support import environment, ours

SHOW = "import sys; sys.stdout.buffer.write(open('/proc/self/environ', 'rb').read())"


def entries(command, env):
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert done.returncode == 0
    return sorted(entry for entry in done.stdout.split(b"\0") if not ours(entry.partition(b"=")[0].decode("latin-1")))


CASES = {
    "as usual": {},
    "empty": {"LANG": None, "HOME": None, "APM_RUN_STRICT": None},
    "PWD": {"PWD": "HERE"},
    "wrong PWD": {"PWD": "/somewhere/else"},
    "relative PWD": {"PWD": "."},
    "PWD through a symlink": {"PWD": "LINK"},
    "OLDPWD": {"OLDPWD": "/", "PWD": "HERE"},
    "wrong OLDPWD": {"OLDPWD": "/not/there"},
    "SHLVL": {"SHLVL": "3"},
    "SHLVL and PWD": {"SHLVL": "3", "PWD": "HERE"},
    "odd SHLVL": {"SHLVL": "many"},
    "names of the shell": {"IFS": "abc", "OPTIND": "7", "PPID": "1", "LINENO": "5", "_": "/bin/x", "PS1": "$ "},
    "more names of the shell": {"RANDOM": "4", "EPOCHSECONDS": "1", "UID": "5", "EUID": "6", "COLUMNS": "20"},
    "options of the shell": {"ENV": "/nonexistent", "BASH_ENV": "/nonexistent", "CDPATH": "/tmp", "MAIL": "/x"},
    "posix mode": {"POSIXLY_CORRECT": "1"},
    "a shell in a shell": {"BASH_VERSION": "5", "ZSH_VERSION": "5", "KSH_VERSION": "1"},
    "a function of bash": {"BASH_FUNC_grep%%": "() { echo trapped; }", "BASH_FUNC_od%%": "() { echo trapped; }"},
    "a digit first": {"1e": "3"},
    "a dash": {"a-b": "1"},
    "a name that is none": {"é": "1"},
    "dots and dashes": {"a.b": "1", "c-d": "2", "1e": "3", "x y": "4", "é": "5", "-u": "6"},
    "lines": {"TWO": "lines\nPWD=/tmp\nx.y=1\n", "END": "\n\n", "TAB": "\t"},
    "quotes": {"q.q": "it's \"x\" `x` $HOME $(x) \\n %d %% \\047 '' ' \\", "plain": "it's \\ 100 %s"},
    "bytes": {"b.b": b"\xff\x01\x02\x7f\x80", "c": b"\xff\xfe\x01"},
    "empty values": {"A": "", "b.c": ""},
    "our variables' names": {"prefix": "x", "self": "y", "found": "z", "item": "i", "path": "p"},
    "options of grep": {"GREP_OPTIONS": "-v", "GREP_COLOR": "1", "GREP_COLORS": "x"},
    "locale": {"LC_ALL": "C", "LANG": "de_DE", "LC_CTYPE": None},
    "locale of the machine": {"LC_ALL": "POSIX", "LANG": None},
    "no PATH": {"PATH": None},
    "a PATH without tools": {"PATH": "/nonexistent"},
    "large": {"LARGE": "x" * 100_000, "large.too": "y" * 100_000},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("option", [[], ["--set", "a=b"]])
def test_environment(launcher, case, option, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(os.getcwd())
    env = environment(APM_RUN_STRICT="0")
    for name, value in CASES[case].items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = {"HERE": os.getcwd(), "LINK": str(link)}.get(value, value)
    if "/" not in launcher[0]:
        launcher = [f"/usr/bin/{launcher[0]}", *launcher[1:]]
    command = [sys.executable, "-S", "-c", SHOW]
    assert entries([*launcher, *option, *command], env) == entries(command, env)


def test_entries_without_a_name(shell, script):
    """What is no variable is nobody's to read; the launcher does not stumble over it."""
    code = (
        "import ctypes, sys\n"
        "words = [w.encode() for w in sys.argv[1:]]\n"
        "argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)\n"
        "envp = (ctypes.c_char_p * 5)(b'nameless', b'=empty', b'a.b=1', b'PATH=/usr/bin:/bin', None)\n"
        "ctypes.CDLL(None).execve(words[0], argv, envp)\n"
    )
    sh = f"/usr/bin/{shell[0]}"
    done = subprocess.run(
        [sys.executable, "-c", code, sh, *shell[1:], script, "echo", "started"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"started\n", b"")


def test_without_tools(shell, script, tmp_path):
    """Neither grep nor od: the program starts, and is traced."""
    env = environment(PATH=str(tmp_path))
    show = "import os; print('a.b' in os.environ, 'APM_RUN_LAUNCHED' in os.environ)"
    command = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /usr/bin && exec "$@"', str(tmp_path)]
    for name in ("dash", "bash", "busybox"):
        shutil.copy(f"/usr/bin/{name}", tmp_path)
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no mount namespace for this user")
    command += [f"/usr/bin/{shell[0]}", *shell[1:], script, sys.executable, "-S", "-c", show]
    done = subprocess.run(command, env={**env, "PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"False True\n", b"")
