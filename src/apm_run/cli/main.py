"""The Python form of the launcher: what the shell script leaves to it, and ``python -m apm_run``."""

from __future__ import annotations

import signal
import sys

from apm_run.cli import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: The first words that are subcommands and not programs. The shell script has the same list.
COMMANDS = ("bundle", "doctor", "flush", "local")

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
    try:
        _run(arguments, ignored)
    except BrokenPipeError:  # whoever read our output has stopped, as "| head" does
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
        raise


def _run(arguments: list[str], ignored: str) -> NoReturn:
    if not arguments:
        _usage()
    if arguments[0] in COMMANDS:
        _needs_click(arguments[0])
        from importlib import import_module

        import_module(f"apm_run.cli.{arguments[0]}").command(arguments[1:])
    process = launch.Process.current(ignored)
    words = arguments
    if arguments[0] == "--":
        words = arguments[1:]
    elif arguments[0].startswith("-"):
        _needs_click(arguments[0].partition("=")[0])
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


def _needs_click(word: str) -> None:
    """Exit with one line where click is missing or too new for this interpreter, as it may be in a bundle."""
    try:
        import click  # noqa: F401
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        python = ".".join(map(str, sys.version_info[:2]))
        launch.leave(
            launch.Failure(
                2,
                word,
                f"needs the package click, which Python {python} can not load ({reason}); "
                "set ELASTIC_APM_... in the environment instead, or install click beside apm-run",
            )
        )


def _usage() -> NoReturn:
    sys.stderr.write(USAGE)
    sys.exit(2)
