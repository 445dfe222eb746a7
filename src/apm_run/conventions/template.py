"""Templates that are rendered: spans of type ``template`` with the template's name."""

from __future__ import annotations

from apm_run.model import SpanDraft


def render(engine: str, name: object) -> SpanDraft:
    """The span of a template.

    :param engine: the subtype. :param name: as its loader knows it; one made of a text has none.
    """
    shown = name if isinstance(name, str) and name else "<template string>"
    return SpanDraft(shown, "template", engine, "render", exit=False)
