"""``python -m apm_run [OPTIONS] COMMAND [ARGS]...``: the launcher's Python form."""

from __future__ import annotations

import os
import sys


def _leave_current_directory() -> None:
    """Take the current directory, which ``-m`` put there, from ``sys.path``: its ``click.py`` is not ours."""
    if sys.path and not getattr(sys.flags, "safe_path", False):
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        try:
            if sys.path[0] in {"", os.getcwd()} and os.path.realpath(sys.path[0] or ".") != os.path.realpath(here):
                del sys.path[0]
        except FileNotFoundError:  # the current directory is gone
            del sys.path[0]


if __name__ == "__main__":
    _leave_current_directory()
    from apm_run.cli.main import main

    main(sys.argv[1:])
