"""The launcher's own options. The one module that needs click; loaded only when an option is given."""

from __future__ import annotations

import os
import sys

import click

from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: The options that are names of the agent's configuration (``--service-name`` is ``service_name``).
SETTINGS = ("service_name", "environment", "server_url", "secret_token", "api_key", "log_level")

_HELP = """Run COMMAND with the agent: its transactions, spans and errors go to Elastic APM Server, and
nothing else about it changes.

The options end at the first word that is none; all words after it are the program's. They can be given as
--name value or --name=value, and each stands for an environment variable, which is how a server or container
is better set up: --service-name for ELASTIC_APM_SERVICE_NAME, --set NAME=VALUE for ELASTIC_APM_NAME."""

_EPILOG = """\b
Examples:
  apm-run python app.py
  apm-run --service-name shop --server-url https://apm.example.com:8200 gunicorn shop:app
  apm-run --set transaction_sample_rate=0.1 flask run
  apm-run --local python app.py

\b
Subcommands ("apm-run -- local" runs a program of that name):
  apm-run bundle   the agent as one directory, to copy into any image
  apm-run doctor   why there is no data: what is wrong, and what to do about it
  apm-run flush    send what programs that ended could not send any more
  apm-run local    the receiver and its page alone, for any Elastic agent"""


class Chosen:
    """What the command line says.

    :ivar settings: option name -> value, for the environment.
    :ivar listed: the names among them that are options of the agent.
    :ivar local: whether to run on the embedded receiver.
    :ivar keep: whether its page shall stay after the program's end.
    :ivar command: the words of the program; empty if there are none.
    """

    __slots__ = ("command", "config", "keep", "local", "settings")

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.command: tuple[str, ...] = parameters["command"]
        self.config: str | None = parameters["config"]
        self.local: bool = parameters["local"]
        self.keep: bool = parameters["keep"]
        self.settings: dict[str, str] = {name: parameters[name] for name in SETTINGS if parameters[name] is not None}
        self.settings.update(parameters["assignments"])


def _value(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse the next option as a value: its own was forgotten."""
    if value is not None:
        name = value.split("=")[0]  # what follows may be a secret
        if name == "--" or name in _names(context):
            raise click.BadParameter(f"needs a value, and {name!r} is the next option")
    return value


def _names(context: click.Context) -> set[str]:
    return {name for parameter in context.command.params for name in parameter.opts if name.startswith("-")}


def _assignments(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Take ``name=value`` apart; a name may be spelled with dashes and in any case."""
    assignments = {}
    for text in values:
        _value(context, parameter, text)
        name, equals, value = text.partition("=")
        name = name.strip().lower().replace("-", "_")
        if not equals:
            raise click.BadParameter(f"{text!r} has no '='; write --set {name or 'name'}=value")
        if not name.isascii() or not name.isidentifier():
            raise click.BadParameter(f"{text!r} does not begin with the name of an option")
        assignments[name] = value
    return assignments


def _file(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the absolute path of a configuration file that can be read."""
    if value is None:
        return None
    _value(context, parameter, value)
    try:
        with open(value, "rb") as file:
            file.read(1)
    except OSError as error:
        raise click.BadParameter(f"can not read {value!r}: {error.strerror}") from None
    return os.path.abspath(value)


def _option(*names: str, **facts: Any) -> click.Option:
    return click.Option(names, callback=_value, **facts)


#: The options that stand for the agent's own; ``doctor`` takes them too.
OF_THE_AGENT: list[click.Parameter] = [
    _option("--service-name", metavar="NAME", help="Name of the service. Default: found from the program."),
    _option("--environment", metavar="NAME", help="Where it runs: production, staging, ..."),
    _option("--server-url", metavar="URL", help="APM Server. Default: http://127.0.0.1:8200."),
    _option("--secret-token", metavar="TOKEN", help="Secret token of the server (*)."),
    _option("--api-key", metavar="KEY", help="API key for the server (*)."),
    click.Option(["--config"], metavar="FILE", callback=_file, help="TOML file with options; it must exist."),
    _option("--log-level", metavar="LEVEL", help="Log of the agent: debug, info, warning, error, off."),
    click.Option(
        ["--set", "assignments"],
        metavar="NAME=VALUE",
        multiple=True,
        callback=_assignments,
        help="Any other option of the agent; can be repeated.",
    ),
]

_COMMAND = click.Command(
    "apm-run",
    context_settings={"allow_interspersed_args": False, "max_content_width": 100},
    params=[
        *OF_THE_AGENT,
        click.Option(["--local"], is_flag=True, help="No server: receive here and show it on a local web page."),
        click.Option(["--keep"], is_flag=True, help="With --local: keep the page after the end, until Ctrl-C."),
        click.Argument(["command"], nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGS]..."),
    ],
    help=_HELP + "\n\n(*) Everyone on the machine can read a command line: ELASTIC_APM_SECRET_TOKEN, "
    "ELASTIC_APM_API_KEY or --config are better.",
    epilog=_EPILOG,
)
_COMMAND.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda context, _, value: _version(context) if value else None,
        help="Show the version and exit.",
    )
)


def _version(context: click.Context) -> None:
    click.echo(f"apm-run {__version__}")
    context.exit()


def parse(arguments: list[str]) -> Chosen:
    """Read the launcher's options; print help, version or an error and exit where that is what is due.

    :param arguments: the words after ``apm-run``.
    """
    chosen = Chosen(run(_COMMAND, "apm-run", arguments))
    if chosen.keep and not chosen.local:
        _refuse("--keep goes with --local only", "apm-run")
    if chosen.local and "server_url" in chosen.settings:
        _refuse("--local is a server of its own: leave out --server-url, or --local", "apm-run")
    return chosen


def run(command: click.Command, name: str, arguments: list[str]) -> dict[str, Any]:
    """Return the parameters of ``command`` in ``arguments``; exits with one line and code 2 on an error."""
    try:
        with command.make_context(name, arguments) as context:
            return context.params
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        _refuse(message, name)


def _refuse(message: str, name: str) -> NoReturn:
    click.echo(f"apm-run: {message} (see {name} --help)", err=True)
    sys.exit(2)


def apply(chosen: Chosen, environment: dict[bytes, bytes]) -> None:
    """Put the choice into ``environment``, where the agent looks for it."""
    for name, value in chosen.settings.items():
        environment[b"ELASTIC_APM_" + name.upper().encode()] = os.fsencode(value)
    if chosen.settings:
        listed = environment.get(b"APM_RUN_OPTIONS", b"").split(b",") + [n.encode() for n in chosen.settings]
        environment[b"APM_RUN_OPTIONS"] = b",".join(dict.fromkeys(filter(None, listed)))
    if chosen.config is not None:
        environment[b"APM_RUN_CONFIG"] = os.fsencode(chosen.config)
