"""Flask: a request is named by its URL rule; its unhandled errors are what ``got_request_exception`` says."""

from __future__ import annotations

from apm_run.conventions import http_server, wsgi
from apm_run.instrument.vocabulary import Annotate, Call, Instrumentation, Serve, Subscribe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import CurrentTransaction


def route(call: Call, transaction: CurrentTransaction) -> None:
    """Name the request by the rule that has matched; where none has, it keeps its name."""
    import flask  # with "from" it would take a function of the import system's each time

    proxy: Any = flask.request
    running = proxy._get_current_object()  # once, and not for each attribute
    if running.url_rule is not None:
        http_server.name(transaction, running.method, running.url_rule.rule)


def unhandled(call: Call, transaction: CurrentTransaction) -> None:
    """An exception that no error handler took; Flask 3.2 puts its context before it."""
    for argument in call.args[1:]:
        if isinstance(argument, BaseException):
            transaction.capture(argument, handled=False)


def signalled(transaction: CurrentTransaction, sender: Any, exception: BaseException, **rest: Any) -> None:
    """The same, also where an extension has put a handler of its own in the place of Flask's."""
    transaction.capture(exception, handled=False)


INSTRUMENTATION = Instrumentation(
    library="flask",
    versions="1.1 to 3.1",
    targets=(
        Serve("flask.app:Flask.__call__", wsgi, framework="flask"),
        Annotate("flask.app:Flask.full_dispatch_request", route),
        # Before Flask 2.3 signals need blinker, which need not be there.
        Annotate("flask.app:Flask.handle_exception", unhandled),
        Subscribe("flask.signals:got_request_exception", signalled),
    ),
)
