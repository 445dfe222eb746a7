"""Writes the reference pages that come from tables in the code.

``python -m docs.generate`` writes them; with ``--check`` it only says whether they are up to date, and exits
with 1 if not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from apm_run.config import OPTIONS, Option
from apm_run.ends import TOOLS
from docs import api, events, supported

REFERENCE = Path(__file__).parent / "reference"

_HEAD = """\
# Configuration

<!-- Written by `make docs` from src/apm_run/config/options.py. -->

Every option can be set in three ways; the first one that gives a usable value wins:

1. As an environment variable: `ELASTIC_APM_` and the name in upper case. `apm-run --set name=value COMMAND`
   and the launcher's own words (`--service-name`, `--environment`, `--server-url`, `--secret-token`,
   `--api-key`, `--log-level`) set these variables for the program.
2. In a TOML file named by `apm-run --config FILE COMMAND`. The options are at the top level or, in a file
   that is shared with others, in a table `[apm-run]`. Below Python 3.11 this needs the package `tomli` beside
   `apm-run`.
3. Otherwise the default counts.

An empty variable counts as not set, except for lists and mappings, which it makes empty. A value that cannot
be used is left out with one warning; the program runs and is traced. An unknown name in the file or after
`--set` is a warning too.

```toml
# apm-run.toml
service_name = "shop"
environment = "production"
server_url = "https://apm.example.com:8200"
transaction_sample_rate = 0.1
transaction_ignore_urls = ["/healthz", "*.css"]

[global_labels]
team = "payments"
```

## Forms of values

| Type | Form |
|---|---|
| boolean | `true` or `false` |
| integer, number | decimal digits, such as `500` or `0.25` |
| duration | whole number and `ms`, `s` or `m`, such as `500ms` |
| size | whole number and `b`, `kb`, `mb` or `gb` (multiples of 1024), such as `768kb` |
| list of wildcards | patterns separated by commas. `*` stands for any characters, the whole text has to \
match, and case does not count unless the pattern begins with `(?-i)` |
| mapping | pairs `key=value` separated by commas |

In a file booleans and numbers may be TOML's own, lists arrays, and mappings tables.

## Which programs are traced

`apm-run COMMAND` traces every Python program in the tree of processes that `COMMAND` is the root of. Two variables
change that; they are read at the start of each program, so they can be set anywhere in the tree.

- `APM_RUN_CHILDREN=0`: what a traced program starts is started as without `apm-run`, and so is what it becomes by
  `os.exec*`. Traced is each Python program that no traced one has started: `apm-run python app.py`, and with
  `apm-run sh start.sh` every one that the script starts. Children that a program forks are the same program and stay
  traced: a server's workers are, what a reloader or `multiprocessing`'s spawn starts is not.
- `APM_RUN_TOOLS=1`: package managers and developers' tools are traced too. Without it they run untouched, however they
  are started (`pip`, `pip3.11`, `python -m pip`), and so does what `pre-commit` runs and what a debugger debugs. What
  they start for the user (`poetry run python app.py`) is traced. They are known by their names:
  {tools}.

A shell script that assigns `PYTHONPATH` anew, or unsets it, cuts the tree off, except for interpreters that `apm-run`
is installed for: a `.pth` file in their `site-packages` finds the mark that the launcher has left in the environment.
"""


def configuration() -> str:
    """Return the page of all options."""
    parts = [_HEAD.replace("{tools}", ", ".join(f"`{name}`" for name in sorted(TOOLS)))]
    group = ""
    for option in OPTIONS:
        if option.group != group:
            group = option.group
            parts.append(f"\n## {group}\n")
        parts.append(_section(option))
    return "".join(parts)


def _section(option: Option) -> str:
    facts = [
        ("Environment variable", f"`{option.variable}`"),
        ("Type", option.kind.label),
        ("Default", "none" if option.default is None else f"`{option.default}`"),
        ("Example", f"`{option.example}`"),
        ("Since", option.since),
    ]
    rows = "".join([f"| {name} | {fact} |\n" for name, fact in facts])
    secret = " Its value is shown in no message." if option.secret else ""
    return f"\n### `{option.name}`\n\n{option.help}{secret}\n\n| | |\n|---|---|\n{rows}"


#: Page -> what writes it.
PAGES = {
    "configuration.md": configuration,
    "api.md": api.page,
    "events.md": events.page,
    "supported.md": supported.page,
}


def stale() -> list[str]:
    """Return the names of the pages that are not up to date."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    names = stale()
    if "--check" in arguments:
        for name in names:
            print(f"docs/reference/{name} is not up to date: run `make docs`", file=sys.stderr)
        return 1 if names else 0
    for name in names:
        REFERENCE.mkdir(exist_ok=True)
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/reference/{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
