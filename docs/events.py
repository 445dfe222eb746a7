"""The page of what the events contain: the forms from the intake's tables, what stands there in our words."""

from __future__ import annotations

from typing import Any

from docs.event_fields import FIELDS, GAPS, RULES

from apm_run.intake import nodes, schema

_HEAD = """\
# What the events contain

<!-- Written by `make docs` from src/apm_run/intake/schema.py and docs/event_fields.py. -->

`apm-run` sends what the intake v2 of APM Server takes: one JSON object per line, with the metadata first. This page
lists each field that it sends, with the form that the server demands and what stands there. A field that is not listed
is not sent. A field for which there is no value is left out, but for those that are required where the part that they
belong to is sent.

- **text, at most 1024**: longer texts are cut to that many code points, the last of them being `…`. One that is too
  long would cost the whole event.
- **text**: cut to 10000 code points, or to what the text says.
- Values of other types are made what is demanded, or left out: a number where a text is expected becomes its text,
  what is no number is no port. Half a surrogate pair becomes `?`, `NaN` and numbers beyond 64 bits become texts.
- An event is at most 300 KiB long. A longer one goes without its least important parts: an error without local
  variables, then without source lines, causes, context, at last without its stack; a span without its stack, then
  without its context; a transaction without its context and links; metadata without arguments, then without labels.
- Header, cookie, form and variable names that `sanitize_field_names` matches keep their name and show `[REDACTED]`.
- The program can see each transaction, span, error and metricset before it is sent: [`add_filter`](api.md).
"""

_WORDS = {
    nodes.Number: "number",
    nodes.Whole: "whole number",
    nodes.Flag: "true or false",
    nodes.Time: "microseconds since the epoch",
    nodes.Anything: "anything",
    nodes.TextOrWhole: "text, at most 1024, or whole number",
    nodes.TextOrMap: "text or object",
    nodes.Headers: "object of texts or lists of texts",
    nodes.Labels: "object of texts (at most 1024), numbers and booleans",
    nodes.FreeMap: "object",
}


def leaves(node: Any, path: str = "", seen: tuple[int, ...] = ()) -> dict[str, Any]:
    """Path -> the node of each field below a node that is no record itself; ``[]`` marks the elements of a list.

    What contains itself, as causes do, is a leaf.
    """
    if isinstance(node, nodes.ListOf) and isinstance(node.item, nodes.Record):
        return leaves(node.item, f"{path}[]", seen) if id(node.item.fields) not in seen else {path: node}
    if not isinstance(node, nodes.Record):
        return {path: node}
    found: dict[str, Any] = {}
    for name, part in node.fields.items():
        found.update(leaves(part, f"{path}.{name}" if path else name, (*seen, id(node.fields))))
    return found


def _form(node: Any) -> str:
    if isinstance(node, nodes.Text):
        if node.choices:
            words = ", ".join([f"`{choice}`" for choice in node.choices])
        else:
            words = f"text, at most {node.limit}" if node.limit else "text"
    elif isinstance(node, nodes.ListOf):
        words = "list" if isinstance(node.item, nodes.Record) else f"list of: {_form(node.item)}"
    elif isinstance(node, nodes.MapOf):
        words = "object"
    else:
        words = _WORDS[type(node)]
    return f"{words}; required" if node.required else words


def _table(kind: str) -> str:
    known = leaves(schema.KINDS[kind])
    rows = [f"| `{path}` | {_form(known[path])} | {words} |\n" for path, words in FIELDS[kind].items()]
    return "| Field | Form | What stands there |\n|---|---|---|\n" + "".join(rows)


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    parts += [f"\n## `{kind}`\n\n{RULES[kind]}\n\n{_table(kind)}" for kind in FIELDS]
    rows = "".join([f"| {what} | {words} |\n" for what, words in GAPS.items()])
    parts.append(f"\n## What is not sent yet\n\n| What | |\n|---|---|\n{rows}")
    return "".join(parts)
