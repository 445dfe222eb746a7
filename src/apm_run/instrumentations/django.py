"""Django: a request is named by its route, templates are spans, ``manage.py`` is named with its command."""

from __future__ import annotations

import sys

from apm_run.conventions import asgi, http_server, routes, template, user, wsgi
from apm_run.instrument.vocabulary import Annotate, Call, Claim, Instrumentation, Serve, SpanDraft, Subscribe, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import CurrentTransaction

#: Where a request has its user: from a middleware (lazy), of ``auser()``.
_USERS = ("user", "_acached_user")


def route(call: Call, transaction: CurrentTransaction, _: object) -> None:
    """Name the request by the route that its URL has been resolved to; a test client's within a job names nothing."""
    if transaction.kind == http_server.TYPE:
        request = call.argument(1, "request")
        found = request.resolver_match.route
        if routes.is_pattern(found):
            found = routes.plain(found)
        http_server.name(transaction, request.method, f"/{found}")


def visitor(call: Call, transaction: CurrentTransaction, _: object) -> None:
    """Say whom the request is from, if the program has looked."""
    if transaction.kind != http_server.TYPE:
        return
    known = call.argument(1, "request").__dict__
    for name in _USERS:
        found = user.found(known.get(name))
        if found is not None:
            kind = type(found)
            meta = getattr(kind, "_meta", None)
            user.note(
                transaction,
                found,
                id="id" if meta is None else meta.pk.attname,
                username=getattr(kind, "USERNAME_FIELD", "username"),
                email=getattr(kind, "EMAIL_FIELD", "email"),
            )


def unhandled(transaction: CurrentTransaction, **facts: Any) -> None:
    """An exception that became a response of status 500."""
    error = sys.exc_info()[1]
    if error is not None:
        transaction.capture(error, handled=False)


def rendered(call: Call) -> SpanDraft | None:
    """The span of a template; one that includes others has theirs below it."""
    made = call.argument(0, "self")
    return None if made is None else template.render("django", made.name)


def command(call: Call, transaction: CurrentTransaction) -> None:
    """Name the program with the command that its user has typed; one that it calls by itself names nothing."""
    words = call.argument(1, "argv") or []
    if len(words) > 1 and words[1:] == sys.argv[1:] and not transaction.name.endswith(f" {words[1]}"):
        transaction.set_name(f"{transaction.name} {words[1]}")


INSTRUMENTATION = Instrumentation(
    library="django",
    versions="4.2 to 6.1",
    targets=(
        Serve("django.core.handlers.wsgi:WSGIHandler.__call__", wsgi, framework="django"),
        Serve("django.core.handlers.asgi:ASGIHandler.__call__", asgi, framework="django"),
        Annotate("django.core.handlers.base:BaseHandler.resolve_request", route, after=True),
        Annotate("django.core.handlers.base:BaseHandler.get_response", visitor, after=True),
        Annotate("django.core.handlers.base:BaseHandler.get_response_async", visitor, after=True),
        # By the name in this module: what the signal looks at when it is connected has been imported by then.
        Subscribe("django.core.handlers.exception:signals.got_request_exception", unhandled),
        Target("django.template.base:Template.render", rendered),
        Annotate("django.core.management.base:BaseCommand.run_from_argv", command, program=True),
        Claim("django.core.management.commands.runserver:Command.run"),
        Claim("django.utils.autoreload:run_with_reloader"),
    ),
)
