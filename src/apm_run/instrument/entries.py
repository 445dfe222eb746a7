"""Transactions that a ``describe`` function says the facts of: jobs, messages, requests of other protocols."""

from __future__ import annotations

from apm_run.config.wildcard import any_match
from apm_run.model import FAILURE, UNKNOWN
from apm_run.propagation import incoming, links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config import Settings
    from apm_run.model import TransactionDraft
    from apm_run.tracer import Tracer, Transaction

#: The exchange without a name, as spans show it: what is sent to it goes to the queue that the routing key names.
DEFAULT_EXCHANGE = "<default>"


def ignored(message: dict[str, Any] | None, settings: Settings) -> bool:
    """Whether the user wants to see nothing of a message (``ignore_message_queues``).

    :param message: ``context.message``.
    """
    patterns = settings.ignore_message_queues
    if not patterns or message is None:
        return False
    queue = message.get("queue", {}).get("name", "")
    if any_match(patterns, queue):
        return True
    return queue == DEFAULT_EXCHANGE and any_match(patterns, message.get("routing_key", ""))


def begin(tracer: Tracer, draft: TransactionDraft) -> Transaction:
    """Begin one, as the continuation of what its carrier says."""
    context, baggage = incoming(draft.carrier) if draft.carrier else (None, None)
    transaction = tracer.begin_transaction(draft.name, draft.type, context, baggage=baggage)
    transaction.entry = True
    transaction.draft = draft
    if draft.links:
        transaction.links = [*transaction.links, *links(draft.links)]
    if draft.message is not None and transaction.sampled:
        transaction.context["message"] = draft.message
    if draft.framework is not None:
        settings = tracer.settings
        name, version = draft.framework
        transaction.framework = settings.framework_name or name, settings.framework_version or version
    tracer.sink.begun(job=True)
    return transaction


def fail(transaction: Transaction, error: BaseException) -> None:
    """It has raised: an error that nobody handled, unless its library says that it is none."""
    draft = transaction.draft
    said, unhandled = (None, None) if draft is None else (draft.outcome, draft.unhandled)
    if not isinstance(error, Exception):
        transaction.outcome = transaction.outcome or said or UNKNOWN
        return
    if said in (None, FAILURE) if unhandled is None else unhandled:
        transaction.capture(error, handled=False)
    transaction.outcome = transaction.outcome or said or FAILURE


def end(transaction: Transaction) -> None:
    """End it with what its library has said of how it went; what the user has said wins."""
    draft = transaction.draft
    if draft is not None:
        transaction.result = transaction.result or draft.result
        transaction.outcome = transaction.outcome or draft.outcome
    transaction.tracer.end_transaction(transaction)
