"""Jinja2: a span per template, however it is rendered, and nothing else changes."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from types import SimpleNamespace

import jinja2
import pytest
from jinja2.nativetypes import NativeEnvironment
from tests.instrumentations.recorder import instrumented, outcome

TEMPLATES = {
    "base.html": "<{% block body %}{% endblock %}>",
    "page.html": "{% extends 'base.html' %}{% block body %}{% include 'part.html' %}{{ name }}{% endblock %}",
    "part.html": "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(1) }}",
    "broken.html": "a\n{{ value.fail() }}",
    "loop.html": "{% for number in numbers %}{{ number }}{% endfor %}",
}
RENDERED = {"name": "page.html", "type": "template", "subtype": "jinja2", "action": "render", "outcome": "success"}


@pytest.fixture
def recorder():
    with instrumented("jinja2") as recorder:
        yield recorder


#: Before, its asynchronous methods are put over the others once an environment wants them.
ASYNCHRONOUS = pytest.mark.skipif(jinja2.__version__ < "3", reason="Jinja2 3.0 is the first")


def environment(**options):
    return jinja2.Environment(loader=jinja2.DictLoader(TEMPLATES), **options)


def shown(recorder):
    return [(span["name"], span["outcome"]) for span in recorder.spans]


def facts(span):
    return {key: span.get(key) for key in RENDERED}


def test_one_span_per_template(recorder):
    with recorder.running():
        assert environment().get_template("page.html").render(name="x") == "<1x>"
        assert environment().from_string("{{ a }}").render({"a": 1}) == "1"
        assert jinja2.Template("{{ a }}").render(a=2) == "2"
    first, *others = recorder.spans
    assert facts(first) == RENDERED
    assert "context" not in first
    assert "destination" not in str(first)
    assert [span["name"] for span in others] == ["<template>", "<template>"]


def test_without_a_transaction(recorder):
    assert environment().get_template("page.html").render(name="x") == "<1x>"
    assert "".join(environment().get_template("page.html").generate(name="x")) == "<1x>"
    assert not recorder.spans


def test_spans_below_a_template(recorder):
    page = environment().get_template("page.html")
    part = environment().from_string("{{ render() }}")
    with recorder.running():
        assert part.render(render=lambda: page.render(name="y")) == "<1y>"
    assert recorder.tree() == (
        "test [test] success\n"
        "  <template> [template/jinja2/render] success\n"
        "    page.html [template/jinja2/render] success"
    )


def test_piece_by_piece(recorder):
    loop = environment().get_template("loop.html")
    with recorder.running() as transaction:
        pieces = loop.generate(numbers=range(3))
        assert inspect.isgenerator(pieces)
        assert not recorder.spans
        assert list(pieces) == ["0", "1", "2"]
        assert "".join(loop.stream(numbers=range(3))) == "012"
        left = loop.generate(numbers=range(3))
        assert next(left) == "0"
        left.close()
    assert shown(recorder) == [("loop.html", "success")] * 3
    assert {span["parent_id"] for span in recorder.spans} == {transaction.id}


@ASYNCHRONOUS
def test_asynchronous(recorder):
    env = environment(enable_async=True)

    async def work():
        page, loop = env.get_template("page.html"), env.get_template("loop.html")
        with recorder.running():
            assert await page.render_async(name="x") == "<1x>"
            pieces = [piece async for piece in loop.generate_async(numbers=range(3))]
            assert "".join(pieces) == "012"
            assert await asyncio.gather(*(loop.render_async(numbers=[number]) for number in range(3))) == list("012")

    asyncio.run(work())
    assert shown(recorder) == [("page.html", "success"), *[("loop.html", "success")] * 4]
    assert facts(recorder.spans[0]) == RENDERED
    assert inspect.iscoroutinefunction(jinja2.Template.render_async)
    assert inspect.isasyncgenfunction(jinja2.Template.generate_async)


@ASYNCHRONOUS
def test_waiting_for_an_asynchronous_one_is_the_same_span(recorder):
    env = environment(enable_async=True)
    with recorder.running():
        assert env.get_template("loop.html").render(numbers=[1]) == "1"
        assert list(env.get_template("loop.html").generate(numbers=[1])) == ["1"]
    assert shown(recorder) == [("loop.html", "success")] * 2


def test_native_types(recorder):
    env = NativeEnvironment(loader=jinja2.DictLoader({"sum": "{{ a + b }}"}))
    with recorder.running():
        assert env.get_template("sum").render(a=1, b=2) == 3
    assert shown(recorder) == [("sum", "success")]


@pytest.mark.parametrize("name", ["broken.html", "missing.html"])
def test_errors_are_the_same(recorder, name):
    """What goes wrong in a template is shown at its own line, and nothing of ours is."""
    error = OverflowError("in the template")

    def fail():
        raise error

    def render():
        return environment().get_template(name).render(value=SimpleNamespace(fail=fail))

    bare = outcome(render)
    with recorder.running():
        assert outcome(render) == bare
        with pytest.raises((OverflowError, jinja2.TemplateNotFound)) as caught:
            render()
    if name == "missing.html":
        assert not recorder.spans
        return
    assert caught.value is error
    assert shown(recorder) == [("broken.html", "failure")] * 2
    lines = traceback.format_exception(OverflowError, error, error.__traceback__)
    assert any("line 2, in top-level template code" in line for line in lines)


def test_wrong_arguments(recorder):
    page = environment().get_template("page.html")
    for call in (lambda: page.render(1), lambda: page.render({"a": 1}, 2, b=3), lambda: jinja2.Template.render()):
        bare = outcome(call)
        assert bare.startswith("raised")
        with recorder.running():
            assert outcome(call) == bare


def test_a_template_of_the_programs(recorder):
    class Loud(jinja2.Template):
        def render(self, *args, **kwargs):
            return super().render(*args, **kwargs).upper()

    class LoudEnvironment(jinja2.Environment):
        template_class = Loud

    env = LoudEnvironment(loader=jinja2.DictLoader(TEMPLATES))
    with recorder.running():
        assert env.get_template("page.html").render(name="x") == "<1X>"
    assert shown(recorder) == [("page.html", "success")]
