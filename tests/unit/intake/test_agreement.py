"""Our model against the published schemas: the same verdict on every sample event and thousands of changed ones.

Where the server is known to judge otherwise than the schema, the difference is listed here, with its reason.
"""

from __future__ import annotations

import copy
import json
import re

import pytest
from tests.receiver import SCHEMAS, published

from apm_run.intake.validate import micros, validate

CHANGES = {
    "absent": None,
    "null": None,
    "whole": 5,
    "fraction": 5.5,
    "whole fraction": 5.0,
    "negative": -1,
    "text": "x",
    "empty text": "",
    "long": "x" * 1025,
    "exact": "x" * 1024,
    "flag": True,
    "array": [],
    "array of text": ["x"],
    "array of null": [None],
    "object": {},
}
# (kind, path, changes, we accept): the server's decoder (spec.md sections 2, 10, 31) decides otherwise than the
# schema. What is not listed must agree.
DIFFERENCES = [
    # Go decodes 5.0 into no integer, JSON Schema calls it one.
    (".*", ".*", {"whole fraction"}, False),
    # A cause is an exception with all its rules; the schema says only "object".
    ("error", r"exception\.cause\..*", set(CHANGES), False),
    # An object without a known field is as good as absent: what it requires is not asked for.
    ("metadata", r"cloud|process|service\.(language|runtime)", {"object"}, True),
    ("transaction|error", r"context\.request|session|experience\.longtask|exception|log", {"object"}, True),
    ("span", r"composite|context\.destination\.service|context\.service\.target", {"object"}, True),
    # null in an array stands for the zero value, "" or 0.
    (".*", r"(.*\.)?(pre_context|post_context|argv|child_ids|values|counts)", {"array of null"}, True),
    (".*", r"(.*\.)?(pre_context|post_context|argv|child_ids|values|counts)\.\[\]", {"null"}, True),
    # The empty string is no value for an enumeration or a pattern.
    ("span|transaction", r"(dropped_spans_stats\.\[\]\.)?outcome", {"empty text"}, True),
    (".*", r"context\.service\.name", {"empty text"}, True),
    # A port is turned into an integer.
    (".*", r"context\.request\.url\.port", {"text", "empty text", "exact"}, False),
    # A metricset holds at least one sample, a sample at least a value; an empty array is no value.
    ("metricset", r"samples(\..*)?", {"absent", "null", "object", "array"}, False),
    # Stats of dropped spans without any content.
    ("transaction", r"dropped_spans_stats\.\[\]", {"object"}, False),
    # The published schema of logs knows three fields, the server's decoder all of section 11.
    ("log", ".*", set(CHANGES), False),
]

pytestmark = pytest.mark.skipif(not SCHEMAS.exists(), reason="../shared/fixtures/schema is not here")


def sample_events():
    for path in sorted((SCHEMAS / "samples").glob("*.ndjson")):
        # heavy repeats one event of each kind; the others are wrong on purpose.
        if path.name.startswith(("heavy", "invalid")):
            continue
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                root, _ = json.JSONDecoder().raw_decode(line.strip())
                ((kind, event),) = root.items()
                yield path.name, kind, event


def places(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(event, place, change):
    event = copy.deepcopy(event)
    target = event
    for key in place[:-1]:
        target = target[key]
    if change == "absent":
        del target[place[-1]]
    else:
        target[place[-1]] = copy.deepcopy(CHANGES[change])
    return event


def listed(kind, path, change, accepted):
    return any(
        re.fullmatch(kinds, kind) and re.fullmatch(where, path) and change in changes and accept is accepted
        for kinds, where, changes, accept in DIFFERENCES
    )


def test_sample_events_as_they_are():
    counted = 0
    for name, kind, event in sample_events():
        errors = validate(kind, event)
        assert not errors, (name, event)
        # The one difference: the server reads RFC 3339, the schema of logs wants an integer.
        text = isinstance(event.get("@timestamp"), str) and micros(event["@timestamp"]) is not None
        assert published(kind).is_valid(event) is not text, (name, event)
        counted += 1
    assert counted > 80


def test_changed_events():
    seen, unlisted = set(), []
    for _name, kind, event in sample_events():
        for place in places(event):
            path = ".".join("[]" if isinstance(key, int) else key for key in place)
            for change in CHANGES:
                if (kind, path, change) in seen:
                    continue
                seen.add((kind, path, change))
                candidate = changed(event, place, change)
                accepted = not validate(kind, candidate)
                if accepted != published(kind).is_valid(candidate) and not listed(kind, path, change, accepted):
                    unlisted.append((kind, path, change, validate(kind, candidate)))
    assert not unlisted
    assert len(seen) > 8000
