"""The name of the host (spec.md 3.1), without starting ``hostname -f`` and without DNS.

A look-up could keep the first batch waiting for as long as the resolver likes, and the fully qualified name
of a machine that has one is in ``/etc/hosts``, where ``hostname -f`` looks first as well.
"""

from __future__ import annotations

import os

from apm_run.collect.container import contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANK = "".join(map(chr, range(0x21)))
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_NOT_A_NAME = frozenset(("", "localhost", "(none)"))


def short_name() -> str:
    """Return the host name as the kernel has it; empty where there is none."""
    return os.uname().nodename if hasattr(os, "uname") else ""


def detected(name: str, hosts: str, environ: Mapping[str, str], etc_hostname: str) -> str | None:
    """Return the name of the host, fully qualified if possible.

    :param name: the name that the kernel has.
    :param hosts: the text of ``/etc/hosts``.
    :param environ: the environment: ``HOSTNAME``, ``HOST`` and, on Windows, ``COMPUTERNAME``.
    :param etc_hostname: the text of ``/etc/hostname``.
    """
    variables = [environ.get(variable, "") for variable in ("HOSTNAME", "HOST", "COMPUTERNAME")]
    for candidate in (_qualified(_plain(name), hosts), *variables, etc_hostname):
        plain = _plain(candidate)
        if plain not in _NOT_A_NAME:
            return plain
    return None


def detect(environ: Mapping[str, str]) -> str | None:
    """Return the name of this host."""
    return detected(short_name(), contents("/etc/hosts"), environ, contents("/etc/hostname"))


def _plain(name: str) -> str:
    return name.strip(_BLANK).translate(_LOWER)


def _qualified(name: str, hosts: str) -> str:
    """Return the name with its domain if a line of ``hosts`` gives both forms."""
    if name in _NOT_A_NAME or "." in name:
        return name
    for line in hosts.splitlines():
        names = [_plain(field) for field in line.partition("#")[0].split()[1:]]
        if name in names:
            for full in names:
                if full.startswith(f"{name}."):
                    return full
    return name
