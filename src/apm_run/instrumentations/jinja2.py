"""Jinja2: a span per template that is rendered, at once or piece by piece; what it includes is part of it."""

from __future__ import annotations

from apm_run.conventions import template
from apm_run.instrument.vocabulary import Call, Instrumentation, SpanDraft, Target


def rendered(call: Call) -> SpanDraft | None:
    """The span of a template, by the name of its loader; ``<template>`` where it was made of a text."""
    made = call.argument(0, "self")
    return None if made is None else template.render("jinja2", made.name or made.filename)


def waited(call: Call) -> SpanDraft | None:
    """The same, unless the environment is asynchronous: then this only waits for the method that is."""
    made = call.argument(0, "self")
    return None if made is None or made.environment.is_async else rendered(call)


INSTRUMENTATION = Instrumentation(
    library="jinja2",
    versions="2.11 to 3.1",
    targets=(
        Target("jinja2.environment:Template.render", waited),
        Target("jinja2.environment:Template.render_async", rendered),
        Target("jinja2.environment:Template.generate", waited),
        Target("jinja2.environment:Template.generate_async", rendered),
        Target("jinja2.nativetypes:NativeTemplate.render", waited),
        Target("jinja2.nativetypes:NativeTemplate.render_async", rendered),
    ),
)
