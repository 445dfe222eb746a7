"""``apm-run flush``: send what dead processes left. For preStop hooks, ``ExecStopPost=`` and cron."""

from __future__ import annotations

import os
import sys

import click

from apm_run.cli import launch, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from apm_run.export.clearing import Cleared

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Return a duration such as ``10s`` in seconds."""
    number = value.rstrip("ms")
    unit = _UNITS.get(value[len(number) :])
    if unit is None or not number.isdecimal() or not number.isascii() or not int(number):
        raise click.BadParameter(f"{value!r} is no duration; write one such as 10s (ms, s, m)")
    return int(number) * unit


COMMAND = click.Command(
    "flush",
    context_settings={"max_content_width": 100},
    params=[
        click.Option(
            ["--timeout"],
            metavar="DURATION",
            default="10s",
            show_default=True,
            callback=_seconds,
            help="How long it may take in all (ms, s, m).",
        ),
        *options.OF_THE_AGENT,
    ],
    help="""Send what programs that ended could not send any more: after SIGTERM or SIGKILL, a crash, or with the
    server away. Give the options and the environment that the programs were launched with, and run it as their user.

    Prints one line. Exit code: 0 nothing is left for this server, 1 something is, 2 usage.

    (*) Everyone on the machine can read a command line: ELASTIC_APM_SECRET_TOKEN, ELASTIC_APM_API_KEY or --config
    are better.""",
)


def command(arguments: list[str]) -> NoReturn:
    """Run ``apm-run flush`` with ``arguments``; exits with 0 or 1."""
    parameters = options.run(COMMAND, "apm-run flush", arguments)
    timeout = parameters.pop("timeout")
    chosen = options.Chosen({**parameters, "local": False, "keep": False, "command": ()})
    environment = launch.Process.current().environment
    options.apply(chosen, environment)
    from apm_run import config
    from apm_run.export.clearing import clear

    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    settings, problems = config.load(environ)
    for problem in problems:
        sys.stderr.write(f"apm-run: {problem}\n")
    cleared = clear(settings, environ, timeout)
    click.echo(told(cleared))
    sys.exit(1 if is_unfinished(cleared) else 0)


def is_unfinished(cleared: Cleared) -> bool:
    """Whether something is left for the server, or could not even be looked for."""
    return bool(cleared.left or cleared.reason)


def told(cleared: Cleared) -> str:
    """Return the line that says what became of them."""
    parts = [f"{_events(cleared.sent)} sent"]
    if cleared.rejected:
        parts.append(f"{cleared.rejected} rejected by the server")
    parts.append(f"{cleared.left} left" + (f" ({cleared.reason})" if cleared.reason else ""))
    if cleared.running:
        parts.append(f"{cleared.running} of processes that run or can not be seen from here")
    if cleared.others:
        parts.append(f"{cleared.others} for other servers or with other credentials")
    return ", ".join(parts)


def _events(number: int) -> str:
    return f"{number} event{'' if number == 1 else 's'}"
