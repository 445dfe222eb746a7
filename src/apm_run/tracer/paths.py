"""Whose code a file is: the program's own, or a library's (spec 9, ``library_frame``)."""

from __future__ import annotations

import os
import sys

from apm_run.config.wildcard import any_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.config.wildcard import Matcher

_STDLIB = getattr(os, "__file__", "<frozen>/os.py").rsplit("/", 1)[0] + "/"
#: The folders that installed packages are in.
_SITE = ("/site-packages", "/dist-packages")
#: Texts that are run without a file: with ``-c`` or from standard input.
_NO_FILE = ("<string>", "<stdin>")


def in_app(path: str, module: object, include: tuple[Matcher, ...] = (), exclude: tuple[Matcher, ...] = ()) -> bool:
    """Whether code is the program's own: neither the standard library's, nor installed, nor generated.

    :param module: its ``__name__``. :param include: ``include_paths``, which wins. :param exclude: ``exclude_paths``.
    """
    if include and any_match(include, path):
        return True
    if exclude and any_match(exclude, path):
        return False
    if path.startswith("<"):
        return module == "__main__" and path in _NO_FILE
    return not (path.startswith(_STDLIB) or _installed(path))


def _installed(path: str) -> bool:
    """Whether a file lies in a folder that packages are installed in.

    Its name alone does not make it one: a project may lie below a folder that is called so. A virtual environment
    inside the project has one of these folders, whether or not it is in use.
    """
    for name in _SITE:
        folder, found, _ = path.partition(f"{name}/")
        while found:
            if f"{folder}{name}" in sys.path or "python" in folder.rpartition("/")[2]:
                return True
            more, found, _ = path[len(folder) + len(name) :].partition(f"{name}/")
            folder = f"{folder}{name}{more}"
    # The programs that packages bring along lie beside the interpreter of the environment.
    return sys.prefix != sys.base_prefix and path.startswith(f"{sys.prefix}/bin/")
