"""The Python form of the launcher: what the shell script leaves to it, and ``python -m apm_run``."""

from __future__ import annotations

import signal
import sys

from apm_run.cli import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: The first words that are subcommands and not programs. The shell script has the same list.
COMMANDS = ("local",)

USAGE = """\
usage: apm-run [OPTIONS] COMMAND [ARGS]...
Run COMMAND with the agent, e.g. "apm-run python app.py". "apm-run --help" lists the options.
"""


def main(arguments: list[str], ignored: str = "") -> NoReturn:
    """Run ``apm-run`` with ``arguments``; become the command, or exit.

    :param arguments: the words after ``apm-run``.
    :param ignored: the signals ignored at the start, as ``SigIgn`` in /proc/PID/status has it; "" if unknown.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a launcher without a traceback
    if not arguments:
        _usage()
    if arguments[0] in COMMANDS:
        from apm_run.cli.local import command

        command(arguments[1:])
    process = launch.Process.current(ignored)
    words = arguments
    if arguments[0] == "--":
        words = arguments[1:]
    elif arguments[0].startswith("-"):
        from apm_run.cli import options

        chosen = options.parse(arguments)
        words = list(chosen.command)
        if words:
            options.apply(chosen, process.environment)
            if chosen.local:
                from apm_run.cli import parent

                parent.run(words, process, chosen.keep)
    if not words:
        _usage()
    launch.become(words, process)


def _usage() -> NoReturn:
    sys.stderr.write(USAGE)
    sys.exit(2)
