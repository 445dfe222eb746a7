"""``apm-run doctor -- COMMAND``: the interpreter that COMMAND starts, and what is on its path beside us."""

from __future__ import annotations

import ast
import os
import re
import subprocess

from apm_run.cli.doctor_findings import Finding
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What the interpreter is asked, in the syntax of every version; behind a mark, for its own sitecustomize may print.
_QUESTION = """
import os, sys
try: libc = os.confstr('CS_GNU_LIBC_VERSION')
except Exception: libc = '' if hasattr(sys, 'implementation') else 'unknown libc'
name = getattr(getattr(sys, 'implementation', None), 'name', 'pypy' if 'PyPy' in sys.version else 'cpython')
facts = (list(sys.version_info[:3]), name, getattr(sys, 'abiflags', ''), libc, [p for p in sys.path if p])
sys.stdout.write('@apm-run@' + repr(facts) + '@apm-run@')
"""
_TIMEOUT = 20.0

WITHOUT_OFFICIAL = "take elasticapm out of the program's code, or run it without apm-run"

#: Agents by a folder of theirs; and the folders through which their launchers come in.
AGENTS = {
    "elasticapm": "elastic-apm",
    "ddtrace": "ddtrace",
    "newrelic": "newrelic",
    "opentelemetry/instrumentation/auto_instrumentation": "opentelemetry",
}
_OWNERS = (
    ("/ddtrace/bootstrap", "ddtrace"),
    ("/newrelic/bootstrap", "newrelic"),
    ("/auto_instrumentation", "opentelemetry"),
    ("/elasticapm/instrumentation/wrapper", "elastic-apm"),
)


def examine(
    interpreter: list[str], environment: dict[bytes, bytes], bootstrap: str | None
) -> tuple[list[Finding], dict[str, Any]]:
    """Findings, and the facts for ``--json``: version, abi, libc, who has a sitecustomize, other agents.

    :param interpreter: its file and flags. :param environment: the program's, not launched yet.
    """
    facts: dict[str, Any] = {"version": None, "implementation": None, "abi": None, "libc": None}
    facts.update(sitecustomize=[], agents=[])
    answer = _ask(interpreter, environment)
    if isinstance(answer, str):
        found = Finding("command", "interpreter", "problem", f"{interpreter[0]} does not run: {answer}", "repair it")
        return [found], facts
    version, implementation, abi, libc, path = answer
    shown = ".".join(map(str, version))
    facts.update(version=shown, implementation=implementation, abi=abi or None, libc=libc or "not glibc")
    findings = [_support(version, shown, implementation, abi, facts["libc"])]
    path = [entry for entry in path if os.path.normpath(entry) != os.path.normpath(bootstrap or "")]
    facts["sitecustomize"] = owners = _owners(path)
    others = [owner for owner in owners if owner != "apm-run"]
    if others:
        text = f"runs after ours, in this order: {', '.join(others)}"
        findings.append(Finding("command", "sitecustomize", "note", text))
    facts["agents"] = agents = _agents(path, owners)
    findings += [_other(agent, any(owner.startswith(agent) for owner in owners)) for agent in agents]
    findings += _second(path)
    return findings, facts


def _ask(interpreter: list[str], environment: dict[bytes, bytes]) -> tuple[Any, ...] | str:
    try:
        done = subprocess.run(
            [*interpreter, "-c", _QUESTION],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
        _, mark, rest = done.stdout.decode("utf-8", "replace").partition("@apm-run@")
        if not mark:
            return f"exit code {done.returncode}"
        found: tuple[Any, ...] = ast.literal_eval(rest.partition("@apm-run@")[0])
        return found
    except subprocess.TimeoutExpired:
        return f"no answer in {_TIMEOUT:g} s"
    except (OSError, ValueError, SyntaxError) as error:
        return str(error)


def _support(version: list[int], shown: str, implementation: str, abi: str, libc: str) -> Finding:
    text = f"{implementation} {shown}, {libc}"
    if implementation != "cpython" or tuple(version[:2]) < (3, 9):
        fix = "run the program on CPython 3.9 or newer"
        return Finding("command", "interpreter", "problem", f"{text}: only CPython 3.9 and newer is traced", fix)
    if "t" in abi:
        return Finding(
            "command", "interpreter", "warning", f"{text}, free-threaded: not supported", "use a usual build"
        )
    return Finding("command", "interpreter", "ok", text)


def _owners(path: list[str]) -> list[str]:
    """Who has a ``sitecustomize`` or ``usercustomize``, in the order of the path; ours comes before all of them."""
    found = ["apm-run"]
    for name in ("sitecustomize", "usercustomize"):
        for entry in path:
            place = os.path.join(entry, name)
            if os.path.isfile(f"{place}.py") or os.path.isfile(os.path.join(place, "__init__.py")):
                slashed = entry.replace("\\", "/").rstrip("/")
                owner = next((owner for end, owner in _OWNERS if slashed.endswith(end)), None)
                found.append(f"{owner} ({place})" if owner else place)
    return found


def _agents(path: list[str], owners: list[str]) -> list[str]:
    """Other agents that the program could import: by a look for their folders, importing nothing."""
    found = []
    for folder, agent in AGENTS.items():
        installed = any(os.path.isdir(os.path.join(entry, folder)) for entry in path)
        if installed or any(owner.startswith(f"{agent} ") for owner in owners):
            found.append(agent)
    return found


def _other(agent: str, starts: bool) -> Finding:
    if agent == "elastic-apm":
        text = "elastic-apm is installed there: where the program imports it, apm-run stands aside"
        fix = WITHOUT_OFFICIAL
        return Finding("command", "other agent", "problem" if starts else "note", text, fix)
    if starts:
        text = f"{agent} is installed there and starts with the interpreter: both trace"
        return Finding("command", "other agent", "warning", text, "run one of them")
    return Finding("command", "other agent", "note", f"{agent} is installed there, and does not start by itself")


def _second(path: list[str]) -> list[Finding]:
    """Whether the program's environment has an apm-run of another version."""
    for entry in path:
        try:
            with open(os.path.join(entry, "apm_run", "version.py"), encoding="utf-8") as file:
                match = re.search(r'__version__ = "([^"]+)"', file.read(4096))
        except OSError:
            continue
        if match and match[1] != __version__:
            text = f"apm-run {match[1]} is installed there; this one, {__version__}, is what runs"
            return [Finding("command", "apm-run", "note", text)]
        return []
    return []
