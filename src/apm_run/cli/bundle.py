"""``apm-run bundle``: the agent as one directory that can be copied into any image (docs/how-to/deploy.md)."""

from __future__ import annotations

import json
import os
import shutil
import sys

import click

from apm_run.cli import bundle_files, bundle_place, options
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: What a bundle takes along, and what does not work where it is missing.
DEPENDENCIES = {
    "click": "options and subcommands do not work, only the environment does",
    "tomli": "a configuration file (--config) is not read below Python 3.11",
}

#: The oldest interpreter that is traced.
OLDEST = (3, 9)


def _folder(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the absolute path of a directory that is there."""
    if value is None:
        return None
    if not os.path.isdir(value):
        raise click.BadParameter(f"{value!r} is no directory; name the one that pip download or pip wheel has filled")
    return os.path.abspath(value)


def _interpreters(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Return the paths of the interpreters; the one that runs this if none is named."""
    if not values:
        return [sys.executable] if sys.version_info >= OLDEST and sys.implementation.name == "cpython" else []
    found = []
    for value in values:
        path = shutil.which(value)
        if path is None:
            raise click.BadParameter(f"{value!r} is no program; name an interpreter, e.g. python3.12 or its path")
        version = bundle_place.version(path)
        if version is None or version < OLDEST:
            raise click.BadParameter(f"{value!r} is not CPython 3.9 or newer: leave it out, its programs run untraced")
        found.append(path)
    return found


COMMAND = click.Command(
    "bundle",
    context_settings={"max_content_width": 100},
    params=[
        click.Argument(["directory"], metavar="DIR"),
        click.Option(
            ["--wheels"],
            metavar="DIR",
            callback=_folder,
            help="Take click and tomli from the wheels in this directory. Default: as they are installed here.",
        ),
        click.Option(
            ["--python", "interpreters"],
            metavar="PYTHON",
            multiple=True,
            callback=_interpreters,
            help="Add bytecode for this interpreter's version: programs start faster from a directory that they "
            "can not write. Can be repeated. Default: the one that runs apm-run.",
        ),
    ],
    help="""Make DIR: the agent as a self-contained directory, to copy or mount into any image.

    DIR needs no virtual environment, no pip and no write access where it is used, and may be moved. It serves CPython
    3.9 to 3.13 on any platform with a POSIX shell. Any other interpreter runs its program untraced.

    A DIR that is a bundle already is replaced at once; one that holds anything else is refused.

    \b
    Used as a prefix:       DIR/bin/apm-run COMMAND [ARGS]...
    By environment only:    PYTHONPATH=DIR/apm_run/_bootstrap
    Copied to a volume:     DIR/bin/apm-run-copy TARGET""",
)


def command(arguments: list[str]) -> NoReturn:
    """Run ``apm-run bundle`` with ``arguments``."""
    chosen = options.run(COMMAND, "apm-run bundle", arguments)
    try:
        report, notes = make(chosen["directory"], chosen["wheels"], chosen["interpreters"])
    except (bundle_files.Unusable, bundle_place.Refused) as error:
        sys.stderr.write(f"apm-run: {_printable(str(error))}\n")
        sys.exit(2)
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else chosen["directory"]
        reason = (error.strerror or str(error)).lower()
        sys.stderr.write(f"apm-run: DIR: {_printable(name)}: {reason}; name a directory that can be written\n")
        sys.exit(2)
    for note in notes:
        sys.stderr.write(f"apm-run: note: {_printable(note)}\n")
    sys.stderr.flush()
    sys.stdout.buffer.write(os.fsencode(report))  # a path may be no text in the encoding of stdout
    sys.stdout.flush()
    sys.exit(0)


def make(directory: str, wheels: str | None, interpreters: list[str]) -> tuple[str, list[str]]:
    """Make the bundle; return what to say of it, and what the user should know.

    :param directory: the bundle to be; an empty one, a bundle, or none yet.
    :param wheels: a directory with wheels of the dependencies.
    :param interpreters: whose bytecode to add.
    :raises bundle_files.Unusable: a part can not be had.
    :raises bundle_place.Refused: ``directory`` can not be used.
    :raises OSError: it can not be written.
    """
    directory = os.path.abspath(directory)
    bundle_place.check(directory)
    facts: dict[str, Any] = {"apm-run": __version__}
    files = bundle_files.agent()
    notes = []
    for name, missing in DEPENDENCIES.items():
        part = bundle_files.dependency(name, wheels, OLDEST)
        facts[name] = part and part.version
        if part is None:
            notes.append(f"{name} is not in it, so {missing}; add it with --wheels DIR")
            continue
        files.update(part.files)
        if wheels is not None and not bundle_files.wheels_of(name, wheels):
            notes.append(f"{wheels} holds no wheel of {name}: the one that is installed here is taken")
        if part.oldest > OLDEST:
            needed = ".".join(map(str, part.oldest))
            notes.append(
                f"{name} {part.version} needs Python {needed}: below, {missing}; --wheels can add an older one"
            )
    if os.pathsep in directory:
        notes.append("DIR has a colon in its name, which PYTHONPATH can not hold: move it before use")
    versions = {bundle_place.version(path): path for path in interpreters}
    facts["bytecode"] = ["{}.{}".format(*found) for found in sorted(filter(None, versions))]
    files[bundle_place.MARKER] = (json.dumps(facts, sort_keys=True) + "\n").encode()
    bundle_place.place(directory, files, list(versions.values()))
    return _report(directory, facts), notes


def _report(directory: str, facts: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {facts[name]}" for name in ("apm-run", *DEPENDENCIES) if facts[name])
    bytecode = ", ".join(facts["bytecode"]) or "no version"
    return (
        f"{directory}: {parts}; bytecode for {bytecode}\n"
        f"As a prefix:           {os.path.join(directory, bundle_place.ENTRY)} COMMAND [ARGS]...\n"
        f"By environment only:   PYTHONPATH={os.path.dirname(os.path.join(directory, bundle_place.LAST))}\n"
    )


def _printable(text: str) -> str:
    return os.fsencode(text).decode(errors="backslashreplace")
