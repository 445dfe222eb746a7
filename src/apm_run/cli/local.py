"""``apm-run local``: the receiver alone, for any Elastic agent."""

from __future__ import annotations

import os
import sys

import click

from apm_run.cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def _bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a size such as ``256mb`` in bytes."""
    if value is None:
        return None
    number, unit = value[:-2].strip(), value[-2:].lower()
    if not number.isdecimal() or unit not in _UNITS or not int(number):
        raise click.BadParameter(f"{value!r} is no size; write one such as 256mb (kb, mb, gb)")
    return int(number) * _UNITS[unit]


COMMAND = click.Command(
    "local",
    context_settings={"max_content_width": 100},
    params=[
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Loopback address to listen on."),
        click.Option(
            ["--port"],
            type=click.IntRange(0, 65535),
            default=8200,
            show_default=True,
            help="Port; the next free one is taken if it is in use, any if 0.",
        ),
        click.Option(["--store"], metavar="FILE", help="SQLite file that keeps the data. Default: a temporary one."),
        click.Option(
            ["--size-cap"], metavar="SIZE", callback=_bytes, help="What the file may grow to. Default: 256mb."
        ),
    ],
    help="""Receive what Elastic agents send, of any language, and show it on a web page at the same address.

    Stays in the foreground until Ctrl-C. Nothing leaves this machine.""",
)


def command(arguments: list[str]) -> NoReturn:
    """Run ``apm-run local`` with ``arguments`` until it is ended."""
    chosen = options.run(COMMAND, "apm-run local", arguments)
    from apm_run.local import LocalExtraMissing
    from apm_run.local.serve import serve
    from apm_run.local.store import SIZE_CAP, StoreError

    store = chosen["store"]
    try:
        sys.exit(
            serve(
                host=chosen["host"],
                port=chosen["port"],
                store_path=None if store is None else os.path.abspath(store),
                size_cap=chosen["size_cap"] or SIZE_CAP,
            )
        )
    except (LocalExtraMissing, StoreError, ValueError, OSError) as error:
        sys.stderr.write(f"apm-run: {error}\n")
        sys.exit(2)
