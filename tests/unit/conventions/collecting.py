"""A tracer whose events stay in the test."""

from __future__ import annotations

from tests import encoded
from tests.receiver import objections

from apm_run import config
from apm_run.intake import encode
from apm_run.model import SpanDraft
from apm_run.tracer import Tracer, current


class Collecting:
    """A sink, and the tracer that reports to it."""

    def __init__(self, **options: str) -> None:
        settings, problems = config.load({f"ELASTIC_APM_{name.upper()}": value for name, value in options.items()})
        assert not problems
        self.transactions = []
        self.spans = []
        self.errors = []
        self.tracer = Tracer(settings, self, seed=1)

    def transaction(self, transaction, spans):
        self.transactions.append(self._judged("transaction", encoded.transaction(transaction, spans)))
        self.spans += [self._judged("span", encoded.span(span)) for span in spans]
        self.errors += [self._judged("error", encode.error(error)) for error in transaction.errors]

    def span(self, span):
        self.spans.append(self._judged("span", encoded.span(span)))

    def begun(self, job=False):
        pass

    def metricset(self, event):
        self._judged("metricset", event)

    def open(self, transaction, spans, errors, now, anew):
        self.spans += [self._judged("span", encoded.span(span)) for span in spans]
        self.errors += [self._judged("error", encode.error(error)) for error in errors]

    def error(self, error):
        self.errors.append(self._judged("error", encode.error(error)))

    def _judged(self, kind, event):
        assert not objections(kind, event)
        assert len(encode.line(kind, event)) < 300_000
        return event

    def work(self, name):
        """A span of the running transaction, as an instrumented call makes it."""
        running = current.get()
        self.tracer.end(self.tracer.begin(SpanDraft(name, "app", exit=False), running))

    def lines(self):
        """Each transaction: name, result, outcome, whether it was finished, and its errors."""
        found = []
        for transaction in self.transactions:
            errors = [e for e in self.errors if e.get("transaction_id") == transaction["id"]]
            shown = [f"{error['exception']['type']}" for error in errors]
            finished = transaction.get("context", {}).get("response", {}).get("finished")
            facts = (transaction["name"], transaction.get("result"), transaction["outcome"], finished, *shown)
            found.append(" | ".join(map(str, facts)))
        return found
