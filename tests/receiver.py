"""A real receiver for end-to-end tests: ``from tests.receiver import Sink``.

Every event that reaches a sink is judged by our intake model, by strict JSON rules, and by the published
schemas where they are present; leaving the sink fails the test when one was invalid.

    def test_something(sink):            # fixture of tests/conftest.py, or: with Sink() as sink:
        run_program(ELASTIC_APM_SERVER_URL=sink.url)
        sink.wait(lambda events: events.spans)
        assert sink.spans[0]["name"] == "SELECT FROM items"
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING, Any

from apm_run.intake.decode import Event
from apm_run.intake.validate import validate
from apm_run.local.server import Receiver

if TYPE_CHECKING:
    from typing_extensions import Self

#: The published schemas, where this checkout has them beside it.
SCHEMAS = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "schema"

#: The types and subtypes of spans that all agents share.
TYPES = SCHEMAS.parent / "json-specs" / "span_types.json"
#: Types of spans that leave the process.
EXITS = ("db", "external", "messaging", "storage")

JsonObject = dict[str, Any]


@cache
def published(kind: str) -> Any:
    """Return the validator of the published schema for ``kind``; None where the schemas are absent."""
    path = SCHEMAS / f"{kind}.json"
    if not path.exists():
        return None
    from jsonschema import Draft7Validator

    return Draft7Validator(json.loads(path.read_text("utf-8")))


def objections(kind: str, obj: JsonObject) -> list[str]:
    """Return what our model and, where present, the published schema have against an event of ours."""
    found = validate(kind, obj)
    validator = published(kind)
    if validator is not None:
        found += [f"{kind}.json: {error.json_path}: {error.message}" for error in validator.iter_errors(obj)]
    return found


@cache
def _types() -> Any:
    return json.loads(TYPES.read_text("utf-8")) if TYPES.exists() else {}


def deviations(span: JsonObject) -> list[str]:
    """Return in what a span of a library's deviates from what all agents send (spec 17, 19)."""
    kind, subtype = span.get("type"), span.get("subtype")
    if kind not in EXITS:
        return []
    found = []
    known = _types().get(kind)
    if known is not None and subtype not in known["subtypes"]:
        found.append(f"{kind}/{subtype} is no type of span")
    if not span.get("context", {}).get("service", {}).get("target", {}).get("type"):
        found.append(f"{kind}/{subtype} has no service target")
    return found


class Sink:
    """A receiver on a free port that keeps what it got in lists.

    ``transactions``, ``spans``, ``errors``, ``metricsets``, ``logs``: the objects inside the root keys, in order
    of arrival. ``metadata``: (metadata, event object) pairs. ``events``: the decoded events themselves.
    ``invalid``: what was wrong with events, as text; to be emptied by a test that provokes it.
    """

    def __init__(self, port: int = 0) -> None:
        #: The program under test begins spans with types of its own words.
        self.own_types = False
        self.events: list[Event] = []
        self.invalid: list[str] = []
        self._arrived = Condition()
        self._receiver = Receiver(port=port, observer=self._take)
        self._receiver.start()

    @property
    def url(self) -> str:
        """The server URL for the agent under test."""
        return self._receiver.url

    @property
    def receiver(self) -> Receiver:
        """The receiver itself."""
        return self._receiver

    @property
    def transactions(self) -> list[JsonObject]:
        return self._of("transaction")

    @property
    def spans(self) -> list[JsonObject]:
        return self._of("span")

    @property
    def errors(self) -> list[JsonObject]:
        return self._of("error")

    @property
    def metricsets(self) -> list[JsonObject]:
        return self._of("metricset")

    @property
    def logs(self) -> list[JsonObject]:
        return self._of("log")

    @property
    def metadata(self) -> list[tuple[JsonObject, JsonObject]]:
        with self._arrived:
            return [(event.metadata, event.body) for event in self.events]

    def wait(self, condition: Callable[[Sink], Any], timeout: float = 15.0) -> Any:
        """Wait until ``condition(sink)`` is true, return its value; AssertionError after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                value = condition(self)
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not received within {timeout} s; {self.describe()}")
                self._arrived.wait(left)

    def wait_idle(self, quiet: float = 0.3, timeout: float = 15.0) -> None:
        """Wait until nothing has been sent for ``quiet`` seconds: for tests that expect nothing more."""
        assert self._receiver.wait_idle(quiet, timeout), "the receiver is still busy"

    def tree(self, trace_id: str | None = None) -> str:
        """Return transactions and spans as an indented tree, children in order of start."""
        with self._arrived:
            items = [e.body for e in self.events if e.kind in ("transaction", "span")]
        if trace_id is not None:
            items = [item for item in items if item["trace_id"] == trace_id]
        known = {item["id"] for item in items}
        items.sort(key=lambda item: item.get("timestamp", 0))

        def lines(parent: str | None, depth: int) -> Iterator[str]:
            for item in items:
                own = item.get("parent_id")
                if own == parent or (parent is None and own not in known):
                    kind = "/".join(filter(None, (item["type"], item.get("subtype"), item.get("action"))))
                    yield f"{'  ' * depth}{item.get('name')} [{kind}] {item.get('outcome')}"
                    yield from lines(item["id"], depth + 1)

        return "\n".join(lines(None, 0))

    def describe(self) -> str:
        """Return in a few words what came in, for messages."""
        names = [f"{event.kind} {event.body.get('name', '')!r}" for event in self.events[-20:]]
        return f"received: {names}; rejected: {self._receiver.summary()['reasons']}"

    def close(self) -> None:
        """Stop the receiver; AssertionError when an event was invalid or rejected."""
        summary = self._receiver.summary()
        self._receiver.close()
        wrong = [f"rejected: {reason} ({times} times)" for reason, times in summary["reasons"].items()]
        wrong += self.invalid
        assert not wrong, "\n".join(wrong)

    def abandon(self) -> None:
        """Stop the receiver without judging what it got."""
        self._receiver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _of(self, kind: str) -> list[JsonObject]:
        with self._arrived:
            return [event.body for event in self.events if event.kind == kind]

    def _take(self, event: Event) -> None:
        wrong = [f"{event.kind}: {text}" for text in objections(event.kind, event.body)]
        wrong += [f"metadata: {text}" for text in objections("metadata", event.metadata)]
        if event.kind == "span" and not self.own_types:
            wrong += [f"span {event.body.get('name')!r}: {text}" for text in deviations(event.body)]
        try:
            root = json.loads(event.line)
        except ValueError as error:
            wrong.append(f"{event.kind}: not JSON: {error}")
        else:
            if list(root) != [event.kind]:
                wrong.append(f"{event.kind}: root keys {list(root)}")
        with self._arrived:
            self.events.append(event)
            self.invalid.extend(wrong)
            self._arrived.notify_all()
