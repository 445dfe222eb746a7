"""RQ: a span per job that is enqueued, a transaction per job that a worker performs; its end is the result.

The trace context is kept in fields of the job's hash in Redis that RQ leaves alone: a job's own ``meta`` and
arguments stay the program's.
"""

from __future__ import annotations

from apm_run.conventions import jobs
from apm_run.conventions.framework import version
from apm_run.instrument.vocabulary import Annotate, Call, Claim, Instrumentation, Retold, SpanDraft, Target, Watch
from apm_run.instrument.vocabulary import TransactionDraft as Performed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.model import CurrentTransaction

#: The attribute of a job that holds the trace context of who has enqueued it.
_CONTEXT = "_apm_run_context"


def enqueue(call: Call) -> SpanDraft | None:
    """The span of a job that is put into a queue; a synchronous one runs it at once."""
    queue = call.instance
    if not getattr(queue, "_is_async", True):
        return None
    server = queue.connection.connection_pool.connection_kwargs
    return jobs.send("RQ", queue.name, "redis", server.get("host"), server.get("port"))


def context(call: Call, add: Mapping[str, str]) -> None:
    """Leave the trace context at the job, which is saved by this call."""
    call.argument(1, "job").__dict__[_CONTEXT] = dict(add)


def saved(call: Call, result: dict[str, Any], transaction: object) -> None:
    """Save it with the job."""
    result.update(call.instance.__dict__.get(_CONTEXT, ()))


def restored(call: Call, result: object, transaction: object) -> None:
    """Read it with the job."""
    found = jobs.stored(call.argument(1, "raw_data"))
    if found:
        call.instance.__dict__[_CONTEXT] = found


def perform(call: Call) -> Performed:
    """The transaction of a job; what it calls is known once its data have been read."""
    job = call.argument(1, "job")
    name = getattr(job, "_func_name", None)
    draft = Performed(
        name if isinstance(name, str) else "unknown job",
        "rq",
        carrier=jobs.carrier(job.__dict__.get(_CONTEXT, {})),
        message={"queue": {"name": job.origin}} if job.origin else None,
        framework=("RQ", version("rq")),
    )
    draft.outcome = jobs.outcome(False)  # where its process is ended before it has an end of its own
    return draft


def named(call: Call, result: object, transaction: CurrentTransaction | None) -> None:
    """The function's name, now that it is known; a method's with its class."""
    if transaction is not None and transaction.kind == "rq":
        job = call.instance
        kind = type(job._instance)
        method = kind is not type(None) and f"{kind.__module__}.{kind.__qualname__}.{job._func_name}"
        transaction.set_name(method or job._func_name)


def ended(call: Call, result: object, draft: Performed) -> None:
    """How it went: a worker's call says whether the job has failed."""
    draft.result = draft.result or ("finished" if result is True else "failed")
    draft.outcome = jobs.outcome(draft.result == "finished")


def retried(call: Call, transaction: CurrentTransaction) -> None:
    """The job has returned that it wants another try."""
    if transaction.draft is not None:
        transaction.draft.result = "retried"


def failed(call: Call, transaction: CurrentTransaction) -> None:
    """The exception that has ended a job."""
    transaction.capture(call.args[3], handled=False)


#: The class that performs jobs, by release: from 3.0 on, and before.
_WORKERS = ("rq.worker.base:BaseWorker", "rq.worker:Worker")

INSTRUMENTATION = Instrumentation(
    library="rq",
    versions="1.10 to 3.0",
    targets=(
        *(Target(f"rq.queue:Queue.{name}", enqueue, rewrite=context) for name in ("enqueue_job", "_enqueue_job")),
        Target("rq.queue:Queue.schedule_job", enqueue, rewrite=context),
        Watch("rq.job:Job.to_dict", saved),
        Watch("rq.job:Job.restore", restored),
        Watch("rq.job:Job._deserialize_data", named),
        *(Target(f"{worker}.perform_job", perform, observe=ended, entry=True) for worker in _WORKERS),
        *(Annotate(f"{worker}.handle_job_retry", retried) for worker in _WORKERS),
        *(Annotate(f"{worker}.handle_exception", failed) for worker in _WORKERS),
        *(Retold(f"{worker}.handle_exception") for worker in _WORKERS),
        *(Claim(f"{worker}.work") for worker in _WORKERS),
        # Its own command, before it asks the server anything.
        Claim("rq.cli.helpers:setup_loghandlers_from_args"),
        Claim("rq.cron:CronScheduler.start"),
        Claim("rq.scheduler:RQScheduler.work"),
        Claim("rq.worker_pool:WorkerPool.start"),
    ),
)
