"""What ``apm-run doctor`` has found out: one thing each, with what to do about it."""

from __future__ import annotations

#: ``problem``: data is missing. ``warning``: some of it may be, or it is about to be. ``note``: worth knowing.
STATES = ("problem", "warning", "note", "ok")

#: Areas, in the order in which a cause comes before its effects.
AREAS = ("installation", "options", "command", "server", "processes", "outbox")


class Finding:
    """One result.

    :ivar area: one of :data:`AREAS`. :ivar name: the check, one word or two. :ivar state: one of :data:`STATES`.
    :ivar text: what was found, without secrets. :ivar fix: what to do about it, empty if nothing.
    """

    __slots__ = ("area", "fix", "name", "state", "text")

    def __init__(self, area: str, name: str, state: str, text: str, fix: str = "") -> None:
        self.area = area
        self.name = name
        self.state = state
        self.text = " ".join(text.split())
        self.fix = fix

    def as_json(self) -> dict[str, str]:
        """For ``--json``."""
        return {name: getattr(self, name) for name in ("area", "name", "state", "text", "fix")}


def ranked(findings: list[Finding]) -> list[Finding]:
    """The worst first; of two equal ones the one that may be the cause of the other."""
    return sorted(findings, key=lambda finding: (STATES.index(finding.state), AREAS.index(finding.area)))


def are_healthy(findings: list[Finding]) -> bool:
    """Whether nothing means that data is missing."""
    return all(finding.state != "problem" for finding in findings)
