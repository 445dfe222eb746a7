"""Where the shell script hands over: ``python -I .../apm_run/cli/start.py IGNORED [ARGS]...``.

Run by path and isolated, so that neither the current directory nor PYTHONPATH can stand in for a module of
the launcher. ``IGNORED`` is ``SigIgn`` of /proc/PID/status as the script found it (hexadecimal, or empty).
In the syntax of every Python 3: a bundle may meet any.
"""

import os
import sys


def _find_package(path, root):  # type: ignore[no-untyped-def]
    """Make ``root`` importable: behind the standard library, before other installed packages.

    An isolated interpreter leaves out the user's own site-packages, where the launcher may well be installed.
    """
    if root not in path:
        installed = (n for n, item in enumerate(path) if item.endswith(("site-packages", "dist-packages")))
        path.insert(next(installed, len(path)), root)


if __name__ == "__main__":
    if sys.version_info < (3, 7):  # noqa: UP036
        found = "options and subcommands need Python 3.7 or newer, and python3 here is {}.{}".format(*sys.version_info)
        sys.stderr.write("apm-run: " + found + "; set ELASTIC_APM_... in the environment instead\n")
        sys.exit(2)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    _find_package(sys.path, root)  # type: ignore[no-untyped-call]
    from apm_run.cli.main import main

    main(sys.argv[2:], sys.argv[1])
