"""The page of the public API, from its docstrings."""

from __future__ import annotations

import inspect
import re

import apm_run

_HEAD = """\
# The API: `import apm_run`

<!-- Written by `make docs` from src/apm_run/api. -->

No program needs it: `apm-run COMMAND` traces without a change. With it a program can say more: name things, label
them, trace its own work, report errors, continue traces over transports that are not instrumented, filter what is
sent. [How to use it](../how-to/use-the-api.md) begins with the usual cases.

- Install `apm-run` beside the program, and it runs with `apm-run` and without. Without, everything here does nothing
  and costs next to nothing. Under `apm-run` the running agent serves `import apm_run`, whatever version is installed.
- Nothing here raises into the program. What can not be used, such as an outcome that is none, is left out or made a
  text, and is told in the [log](log.md) as `api.misuse`.
- What you set stands, whatever is found out before or afterwards: name, type, result, outcome, service target.
- Where there is no transaction or span you get an object that does nothing, and is false.
- All of it can be called in any thread, and is typed (`mypy --strict`).

A *place* in a trace is a `traceparent`, headers that hold one (a dictionary or pairs; names of any case), a
transaction or a span.
"""

#: Functions and classes, in the order of the page.
NAMES = (
    "current_transaction",
    "current_span",
    "start_transaction",
    "start_span",
    "capture_exception",
    "capture_message",
    "outgoing_headers",
    "add_filter",
    "flush",
    "is_running",
    "Transaction",
    "Span",
    "TransactionStarter",
    "SpanStarter",
)

_FIELD = re.compile(r"\s*:(?:param )?(\w+): ")


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name in NAMES:
        thing = getattr(apm_run, name)
        parts.append(_class(name, thing) if inspect.isclass(thing) else _function(f"apm_run.{name}", thing, "##"))
    return "\n".join(parts)


def _function(name: str, function: object, level: str, more: str = "") -> str:
    return f"{level} `{name}`\n\n{_signature(name, function)}\n{more}{_text(function)}"


def _signature(name: str, function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    items = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in items:
            items.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_shown(parameter.default)}"
        if parameter.name != "self":
            items.append(f"{parameter.name}: {parameter.annotation}{default}")
    start, end = f"{name.rpartition('.')[2]}(", f") -> {signature.return_annotation}"
    line = f"{start}{', '.join(items)}{end}"
    if len(line) > 110:
        line = "\n".join([start, *[f"    {item}," for item in items], end])
    return f"```\n{line}\n```\n"


def _shown(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def _text(thing: object) -> str:
    """A docstring: its parameters as a list, behind what it says and before its examples."""
    said = re.sub(r":\w+:`(\w+)`", r"`\1`", inspect.getdoc(thing) or "")
    said = re.sub(r"(?<!`)``(?!`)", "`", said)
    head, example, rest = said.partition("```python")
    code, _, tail = rest.partition("```\n") if example else ("", "", "")
    body, fields = _fields(f"{head.strip()}\n\n{tail.removesuffix('```').strip()}" if example else said)
    listed = "".join([f"- {'Returns' if name == 'returns' else f'`{name}`'}: {fact}\n" for name, fact in fields])
    parts = [body.strip() + "\n", listed, f"```python{code.removesuffix('```')}```\n" if example else ""]
    return "\n".join([part for part in parts if part])


def _fields(text: str) -> tuple[str, list[tuple[str, str]]]:
    flat = re.search(r"(?:^|\n)\s*:(?:param \w+|returns): ", text)
    if flat is None:
        return text, []
    pieces = _FIELD.split(" " + " ".join(text[flat.start() :].split()))
    return text[: flat.start()], [(name, fact.strip()) for name, fact in zip(pieces[1::2], pieces[2::2])]


def _class(name: str, kind: type) -> str:
    parts = [f"## `apm_run.{name}`\n\n{_text(kind)}"]
    members = {member: found for base in reversed(kind.__mro__[:-1]) for member, found in vars(base).items()}
    for member, found in members.items():
        if member.startswith("_") or not (callable(found) or isinstance(found, property)):
            continue
        if isinstance(found, property):
            how = "can be set" if found.fset else "read only"
            parts.append(f"### `{name}.{member}`\n\n`{_returned(found)}`, {how}. {_text(found.fget)}")
        else:
            parts.append(_function(f"{name}.{member}", found, "###"))
    return "\n".join(parts)


def _returned(found: property) -> str:
    return str(inspect.signature(found.fget).return_annotation)  # type: ignore[arg-type]
