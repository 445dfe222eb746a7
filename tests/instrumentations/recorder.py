"""Libraries instrumented inside the test process, for the length of a ``with``, and what they reported.

    with instrumented("requests") as recorder:
        with recorder.running():
            requests.get(server.url)
        assert recorder.tree() == "..."

Each event is encoded as on the wire and judged by our model and, where present, by the published schema.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests import encoded
from tests.receiver import objections

from apm_run import config
from apm_run.instrument import registry
from apm_run.instrument.patch import instrument
from apm_run.instrument.vocabulary import Exchange, Factory, Receive
from apm_run.intake import encode
from apm_run.tracer import Span, Tracer, Transaction, current

Json = dict[str, Any]


class Recorder:
    """A sink that keeps what ended; ``tracer`` is what reports to it."""

    def __init__(self, options: dict[str, str] | None = None) -> None:
        options = {"span_compression_enabled": "false", **(options or {})}  # each span by itself
        environ = {f"ELASTIC_APM_{name.upper()}": value for name, value in options.items()}
        settings, problems = config.load(environ)
        assert not problems
        self.tracer = Tracer(settings, self, seed=1)
        self.transactions: list[Json] = []
        self.spans: list[Json] = []
        self.results: dict[str, str] = {}

    def transaction(self, transaction: Transaction, spans: list[Span]) -> None:
        self.transactions.append(self._judged("transaction", encoded.transaction(transaction, spans)))
        for span in spans:
            self.span(span)

    def span(self, span: Span) -> None:
        self.spans.append(self._judged("span", encoded.span(span)))

    def begun(self, job: bool = False) -> None:
        pass

    def metricset(self, event: Json) -> None:
        self._judged("metricset", event)

    def open(self, transaction: Transaction, spans: list[Span], errors: list[Json], now: int, anew: bool) -> None:
        for span in spans:
            self.span(span)

    def error(self, error: Json) -> None:
        raise AssertionError(f"no library file of ours reports errors: {error}")

    def _judged(self, kind: str, event: Json) -> Json:
        assert not objections(kind, event), (event, objections(kind, event))
        encode.line(kind, event)
        return event

    @contextmanager
    def running(self, name: str = "test", sampled: bool = True) -> Iterator[Transaction]:
        """Run the body in a transaction."""
        transaction = self.begin(name)
        transaction.sampled = sampled
        previous = current.get()
        current.set(transaction)
        try:
            yield transaction
        finally:
            current.set(previous)
            self.tracer.end_transaction(transaction)

    def begin(self, name: str = "test") -> Transaction:
        """Begin a transaction that is not current."""
        return self.tracer.begin_transaction(name, "test")

    def tree(self) -> str:
        """All transactions and spans as an indented text, in order of their start."""
        items = sorted([*self.transactions, *self.spans], key=lambda item: item["timestamp"])

        def lines(parent: str | None, depth: int) -> Iterator[str]:
            for item in items:
                if item.get("parent_id") == parent:
                    kind = "/".join(filter(None, (item["type"], item.get("subtype"), item.get("action"))))
                    yield f"{'  ' * depth}{item['name']} [{kind}] {item['outcome']}"
                    yield from lines(item["id"], depth + 1)

        return "\n".join(lines(None, 0))

    def snapshot(self, port: int = 0) -> list[Json]:
        """The spans without ids and times; a server's port, which differs each time, is 9999."""
        return [_stable(span, port) for span in self.spans]


#: Modules of other libraries than the instrumented one: only their own tests import them.
_OTHERS = {"gevent.thread"}
_VARYING = ("id", "trace_id", "transaction_id", "parent_id", "timestamp", "duration")


def _stable(value: Any, port: int) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item, port) for key, item in value.items() if key not in _VARYING}
    if isinstance(value, str):
        return value.replace(f":{port}", ":9999") if port else value
    return 9999 if port and value == port and value is not True else value


@contextmanager
def instrumented(*files: str, **options: str) -> Iterator[Recorder]:
    """Instrument what these files of ``apm_run.instrumentations`` say; everything is as before at the end."""
    recorder = Recorder(options)
    undo: list[Callable[[], None]] = []
    try:
        for file in files:
            instrumentation = registry.load(file)
            for module in sorted(instrumentation.triggers() - _OTHERS):
                _import(module)
            assert instrumentation.triggers() & sys.modules.keys(), f"{file}: it is not installed"
            for target in instrumentation.targets:
                undo += _undo(target)
            for module in sorted(instrumentation.triggers() & sys.modules.keys()):
                instrument(instrumentation, sys.modules[module], recorder.tracer, recorder.results)
        assert not [why for why in recorder.results.values() if why.startswith("failed")], recorder.results
        yield recorder
    finally:
        for step in reversed(undo):
            step()
        assert current.get() is None


def _import(module: str) -> None:
    """Import a module that an instrumentation waits for, unless this release of its library has none of that name."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise


def _undo(target: Any) -> list[Callable[[], None]]:
    """What puts the attributes back that a target replaces."""
    module, _, attribute = target.path.partition(":")
    *path, last = attribute.split(".")
    holder: Any = sys.modules.get(module)
    for part in path:
        holder = getattr(holder, part, None)
    names = [last]
    if isinstance(target, Exchange):
        names += [target.inject, target.finish, target.abandon]
    if isinstance(target, Receive):
        names += [*target.leave, *filter(None, [target.loop])]
    places = [(holder, name) for name in names]
    if isinstance(target, Factory):
        places += [(sys.modules.get(path.partition(":")[0]), path.partition(":")[2]) for path in target.names]
    return [_restore(holder, name) for holder, name in places if name in getattr(holder, "__dict__", ())]


def _restore(holder: Any, name: str) -> Callable[[], None]:
    original = holder.__dict__[name]
    return lambda: setattr(holder, name, original)


def outcome(call: Callable[[], Any]) -> str:
    """What a call returned or raised, as a text that can be compared."""
    try:
        result = call()
    except BaseException as error:
        text = f"raised {type(error).__module__}.{type(error).__qualname__}: {error!s}"
    else:
        text = f"returned {result!r}"
    return re.sub(r"0x[0-9a-f]+|[0-9a-f]{32}", "...", text)  # addresses, boundaries of multipart bodies
