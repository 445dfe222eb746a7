"""``apm-run doctor [OPTIONS] [-- COMMAND]``: why there is no data."""

from __future__ import annotations

import json
import os
import sys

import click

from apm_run.cli import launch, options
from apm_run.cli.doctor_findings import Finding, are_healthy
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Raised when a field of the JSON object changes its meaning or goes.
SCHEMA = 1

COMMAND = click.Command(
    "doctor",
    context_settings={"allow_interspersed_args": False, "max_content_width": 100},
    params=[
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object instead of text."),
        *options.OF_THE_AGENT,
        click.Argument(["command"], nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARGS]...]"),
    ],
    help="""Say why there is no data: check the installation, the options with their origins, and the way to
    the server, each with what to do about it. Give the options that the program is launched with.

    With COMMAND: say what it really is, run it with the agent, and say of each of its Python processes whether
    it was traced. A service is ended with Ctrl-C, as usual.

    Exit code: 0 healthy, 1 not healthy (data is missing), 2 usage. Secrets are never shown.

    (*) Everyone on the machine can read a command line: ELASTIC_APM_SECRET_TOKEN, ELASTIC_APM_API_KEY or --config
    are better.""",
    epilog="""\b
    Examples:
      apm-run doctor
      apm-run doctor --config apm-run.toml -- gunicorn shop:app
    The report of a running service: start it with APM_RUN_REPORT=DIRECTORY (docs/reference/doctor.md).""",
)


def command(arguments: list[str]) -> NoReturn:
    """Run ``apm-run doctor`` with ``arguments``; exits with 0 or 1."""
    parameters = options.run(COMMAND, "apm-run doctor", arguments)
    chosen = options.Chosen({**parameters, "local": False, "keep": False})
    process = launch.Process.current()
    options.apply(chosen, process.environment)
    result, findings = examine(list(chosen.command), process.environment, parameters["as_json"])
    if parameters["as_json"]:
        click.echo(json.dumps(result))
    else:
        from apm_run.cli import doctor_text

        if chosen.command:
            click.echo()
        for line in doctor_text.lines(result, findings):
            click.echo(line)
    sys.exit(0 if result["healthy"] else 1)


def examine(
    words: list[str], environment: dict[bytes, bytes], as_json: bool = False
) -> tuple[dict[str, Any], list[Finding]]:
    """Everything: the JSON object, and the findings behind it.

    :param words: of COMMAND; empty without one. :param environment: as the program would get it.
    """
    from apm_run import config
    from apm_run.cli import doctor_installation as installation
    from apm_run.cli.doctor_server import Server

    environ = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    settings, problems = config.load(environ)
    findings = installation.installation()
    of_options, shown = installation.options(settings, problems, environ)
    server = Server(settings, environ)
    if not settings.disable_send:
        server.check()
    before, outbox = installation.state_directory(environ)
    findings += [*of_options, *server.findings, *before]
    result: dict[str, Any] = {"schema": SCHEMA, "version": __version__, "options": shown}
    result.update(server=server.facts, outbox=outbox, command=None, processes=[], status=None)
    if words:
        findings += _with_command(words, environment, as_json, result)
    result["healthy"] = are_healthy(findings)
    result["findings"] = [finding.as_json() for finding in findings]
    return result, findings


def _with_command(
    words: list[str], environment: dict[bytes, bytes], as_json: bool, result: dict[str, Any]
) -> list[Finding]:
    from apm_run.cli import doctor_python, doctor_run
    from apm_run.cli.doctor_command import Command

    what = Command(words, environment)
    found = what.findings
    result["command"] = what.facts
    if what.interpreter is not None:
        more, facts = doctor_python.examine(what.interpreter, environment, launch.bootstrap())
        found += more
        what.facts["python"] = facts
    if what.facts["kind"] == "missing":
        return found
    if not _fits(environment):
        text = "PYTHONPATH is too long for the kernel with ours before it: the program starts untraced"
        found.append(Finding("command", "PYTHONPATH", "problem", text, "shorten PYTHONPATH"))
    try:
        run = doctor_run.Run(words, environment, as_json)
    except doctor_run.NoPlace:
        text = "no directory can be written in which processes could report: COMMAND was not run"
        fix = "run doctor with a tmpfs on /tmp, or name a directory that this user can write in TMPDIR"
        return [*found, Finding("command", "reports", "problem", text, fix)]
    except launch.Failure as failure:
        text = str(failure).removeprefix("apm-run: ")
        return [*found, Finding("command", "start", "problem", text, "see whether it runs without apm-run")]
    result.update(processes=run.processes(), status=run.status)
    return found + doctor_run.findings(result["processes"], run.status)


def _fits(environment: dict[bytes, bytes]) -> bool:
    trial = dict(environment)
    trial.pop(b"APM_RUN_LAUNCHED", None)
    launch.mark(trial, launch.bootstrap(), 0)
    return b"APM_RUN_LAUNCHED" in trial or launch.bootstrap() is None
