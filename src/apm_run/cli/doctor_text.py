"""``apm-run doctor``: its findings as plain text, the most important first."""

from __future__ import annotations

from apm_run.cli.doctor_findings import AREAS, Finding, ranked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Columns of a line's text; longer words stand over.
_WIDTH = 110


def lines(result: dict[str, Any], findings: list[Finding]) -> Iterator[str]:
    """The whole output.

    :param result: what ``--json`` prints.
    """
    worst = [finding for finding in ranked(findings) if finding.state in ("problem", "warning")]
    yield _verdict(result, worst)
    for finding in worst:
        yield from _item(finding, finding.state.upper() if finding.state == "problem" else finding.state)
    for area in AREAS:
        rest = [finding for finding in findings if finding.area == area and finding not in worst]
        extra = list(_extra(area, result))
        if rest or extra:
            yield ""
            yield area
        width = max((len(finding.name) for finding in rest), default=0)
        for finding in rest:
            yield from _wrapped(f"  {finding.state:<5} {finding.name:<{width}}  ", finding.text)
            if finding.fix and finding.state != "ok":
                yield from _wrapped(" " * (10 + width), finding.fix)
        yield from extra


def _verdict(result: dict[str, Any], worst: list[Finding]) -> str:
    problems = sum(finding.state == "problem" for finding in worst)
    warnings = len(worst) - problems
    counts = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((problems, "problem"), (warnings, "warning"))
        if count
    ]
    state = "healthy" if result["healthy"] else "NOT healthy"
    return f"apm-run {result['version']}: {', '.join([state, *counts])}"


def _item(finding: Finding, label: str) -> Iterator[str]:
    yield from _wrapped(f"  {label:<8} ", f"{finding.area}, {finding.name}: {finding.text}")
    if finding.fix:
        yield from _wrapped(f"  {'':<8} ", f"-> {finding.fix}")


def _extra(area: str, result: dict[str, Any]) -> Iterator[str]:
    if area == "options" and result["options"]:
        width = max(len(option["name"]) for option in result["options"])
        for option in result["options"]:
            yield f"        {option['name']:<{width}}  {option['value']}  ({option['origin']})"
    if area == "processes":
        for process in result["processes"]:
            if process["report"] is not None and "cost" in process["report"]:
                yield from _process(process)


def _process(process: dict[str, Any]) -> Iterator[str]:
    report = process["report"]
    cost = report["cost"]
    yield f"  {process['program']} [{process['pid']}]: Python {report['python']['version']}"
    by_state: dict[str, list[str]] = {}
    for library in report["instrumentations"]:
        by_state.setdefault(library["state"], []).append(library["library"])
    for state, libraries in by_state.items():
        if state != "waiting":
            yield from _wrapped(f"    {state}: ", ", ".join(libraries))
    if by_state.get("waiting"):
        yield f"    not imported: {len(by_state['waiting'])} more that would be instrumented"
    each = f", {cost['transaction_us']} us per transaction" if cost["transaction_us"] is not None else ""
    memory = f"{cost['bytes'] / 1e6:.1f} MB in {cost['modules']} modules"
    yield f"    the agent's own cost: {cost['startup_ms']} ms at the start{each}, {memory}"


def _wrapped(first: str, text: str) -> Iterator[str]:
    """The text in lines, indented as its first."""
    line = first
    for word in text.split():
        if len(line) + len(word) > _WIDTH and line.strip() and line != first:
            yield line.rstrip()
            line = " " * len(first)
        line += f"{word} "
    yield line.rstrip()
