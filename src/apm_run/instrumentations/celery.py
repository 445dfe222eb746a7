"""Celery: a span per task that is sent, a transaction per task that a worker runs; its state is the result.

The joints are the two functions that an application makes: the one that publishes a task's message, and the one that
a worker calls for it, by whichever pool. Signals would leave the result backend and other receivers outside.
"""

from __future__ import annotations

from apm_run.conventions import jobs
from apm_run.conventions.framework import version
from apm_run.instrument.vocabulary import Annotate, Call, Claim, Instrumentation, Retold, SpanDraft, Target
from apm_run.instrument.vocabulary import TransactionDraft as Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.model import CurrentTransaction


def publish(call: Call) -> SpanDraft | None:
    """The span of a task's message; the application's router has chosen the queue."""
    where = call.kwargs.get("queue") or call.kwargs.get("exchange") or ""
    broker = call.args[0].connection
    queue = where if isinstance(where, str) else where.name
    return jobs.send("Celery", queue, broker.transport_cls, broker.hostname, broker.port)


def headers(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the trace context in the message's headers."""
    found = jobs.packed(call.kwargs.get("headers"), add) if len(call.args) == 3 else None
    return None if found is None else (call.args, {**call.kwargs, "headers": found})


def task(call: Call) -> Task | None:
    """The transaction of a task; one that is run in the place of being sent belongs to who calls it."""
    request = call.argument(3, "request")
    name = request.get("task") if type(request) is dict and not request.get("is_eager") else None
    if not isinstance(name, str):
        return None
    queue = (request.get("delivery_info") or {}).get("routing_key")
    message = {"queue": {"name": queue}} if queue else None
    framework = ("Celery", version("celery"))
    draft = Task(name, "celery", carrier=jobs.carrier(request), message=message, framework=framework)
    draft.outcome = jobs.outcome(False)  # where its process is ended before it has a state
    return draft


def own(call: Call, add: Mapping[str, str]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The call with the request that it would have without us: a task may look at its headers."""
    found = jobs.unpacked(call.argument(3, "request"))
    return None if found is None else call.replaced(3, "request", found)


def state(call: Call, result: Any, draft: Task) -> None:
    """The state of the task: as for Elastic's agent a retry is a failure, though no error."""
    info = getattr(result, "info", None)
    default = "FAILURE" if isinstance(result, Exception) else "SUCCESS"
    draft.result = getattr(info, "state", default)
    draft.outcome = jobs.outcome(draft.result in ("SUCCESS", "IGNORED"))


def eager(call: Call) -> SpanDraft:
    """The span of a task that is run at once."""
    return jobs.run(call.instance.name)


def done(call: Call, result: Any, draft: SpanDraft) -> None:
    """Its state, where its exception is kept in its result."""
    draft.outcome = jobs.outcome(getattr(result, "state", "FAILURE") in ("SUCCESS", "IGNORED"))


def failed(call: Call, transaction: CurrentTransaction) -> None:
    """The exception that has ended a task, before it is made one that can be pickled."""
    transaction.capture(call.instance.retval, handled=False)


INSTRUMENTATION = Instrumentation(
    library="celery",
    versions="5.2 to 5.7",
    targets=(
        Target("celery.app.amqp:AMQP._create_task_sender", publish, rewrite=headers, made=True),
        Target("celery.app.trace:build_tracer", task, rewrite=own, observe=state, entry=True, made=True),
        Annotate("celery.app.trace:TraceInfo.handle_failure", failed),
        Retold("celery.app.trace:TraceInfo._log_error"),
        Target("celery.app.task:Task.apply", eager, observe=done),
        Claim("celery.worker.worker:WorkController.start"),
        Claim("celery.beat:Service.start"),
    ),
)
