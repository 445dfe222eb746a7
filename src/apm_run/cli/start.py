"""Where the shell script hands over: ``python -I .../apm_run/cli/start.py IGNORED [ARGS]...``.

Run by path and isolated, so that neither the current directory nor PYTHONPATH can stand in for a module of
the launcher. ``IGNORED`` is ``SigIgn`` of /proc/PID/status as the script found it (hexadecimal, or empty).
"""

from __future__ import annotations

import os
import sys


def _find_package(path: list[str], root: str) -> None:
    """Make ``root`` importable: behind the standard library, before other installed packages.

    An isolated interpreter leaves out the user's own site-packages, where the launcher may well be installed.
    """
    if root not in path:
        installed = (n for n, item in enumerate(path) if item.endswith(("site-packages", "dist-packages")))
        path.insert(next(installed, len(path)), root)


if __name__ == "__main__":
    _find_package(sys.path, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from apm_run.cli.main import main

    main(sys.argv[2:], sys.argv[1])
