"""What a request is called, and which requests are none (spec 12, 18.1, 22)."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.conventions.collecting import Collecting
from tests.unit.conventions.test_wsgi_calls import Server

from apm_run.conventions import asgi, http_server, wsgi
from apm_run.tracer import current


def by_wsgi(seen, app, **more):
    """A request by way of WSGI: the application gets its transaction."""

    def application(environ, start_response):
        app(current.get().transaction)
        start_response("200 OK", [])
        return []

    return Server(wsgi.application(seen.tracer, application, None), **more)


def by_asgi(seen, app, **more):
    """The same by way of ASGI."""

    async def application(scope, receive, send):
        app(current.get().transaction)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    headers = [
        (key[5:].lower().replace("_", "-").encode(), value.encode())
        for key, value in more.items()
        if key.startswith("HTTP_")
    ]
    scope = {"type": "http", "method": more.get("REQUEST_METHOD", "GET"), "path": more.get("PATH_INFO", "/a")}
    asyncio.run(asgi.application(seen.tracer, application, None)({**scope, "headers": headers}, None, send))


def nothing(transaction):
    pass


both = pytest.mark.parametrize("ask", [by_wsgi, by_asgi])


@both
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("GET", "GET unknown route"),
        ("PROPFIND", "PROPFIND unknown route"),
        ("GETT", "OTHER unknown route"),
        ("x" * 5000, "OTHER unknown route"),
    ],
)
def test_methods_do_not_make_names_without_end(ask, method, name):
    """Issue 4: a cap against exploding names."""
    seen = Collecting()
    ask(seen, nothing, REQUEST_METHOD=method)
    ask(seen, lambda transaction: http_server.name(transaction, method, "/r"), REQUEST_METHOD=method)
    assert [t["name"] for t in seen.transactions] == [name, name.replace("unknown route", "/r")]
    assert seen.transactions[0]["context"]["request"]["method"][:4] == method[:4]


@both
def test_use_path_as_transaction_name(ask):
    """Spec 4.2: method and path instead of "unknown route"; a route that is known still names it."""
    seen = Collecting(use_path_as_transaction_name="true", transaction_name_groups="GET /user/*")
    ask(seen, nothing, PATH_INFO="/a;jsessionid=s3cr3t")
    ask(seen, nothing, PATH_INFO="/user/7")
    ask(seen, lambda transaction: http_server.name(transaction, "GET", "/r"), PATH_INFO="/b")
    assert [t["name"] for t in seen.transactions] == ["GET /a", "GET /user/*", "GET /r"]


@both
def test_transaction_ignore_urls_see_the_path_only(ask):
    """Spec 22: no host, no query."""
    seen = Collecting(transaction_ignore_urls="/health*, *secret.host*")
    ask(seen, nothing, PATH_INFO="/healthz")
    ask(seen, nothing, PATH_INFO="/a", HTTP_HOST="secret.host")
    assert len(seen.transactions) == 1


@both
def test_transaction_ignore_user_agents(ask):
    """Spec 22: against the User-Agent header; errors are still reported."""
    seen = Collecting(transaction_ignore_user_agents="kube-probe/*")
    ask(seen, lambda t: t.capture(ValueError("ignored"), handled=True), HTTP_USER_AGENT="Kube-Probe/1.2")
    ask(seen, nothing, HTTP_USER_AGENT="curl")
    ask(seen, nothing)
    assert len(seen.transactions) == 2
    (error,) = seen.errors
    assert "transaction_id" not in error


@both
@pytest.mark.parametrize("outcome", ["failure", "unknown"])
def test_what_the_user_has_set_wins(ask, outcome):
    """Spec 12: user API value always wins, whenever it was set."""
    seen = Collecting()

    def app(transaction):
        transaction.outcome, transaction.result = outcome, "mine"

    ask(seen, app)
    assert (seen.transactions[0]["outcome"], seen.transactions[0]["result"]) == (outcome, "mine")


@pytest.mark.parametrize(
    ("status", "result", "outcome"),
    [
        (100, "HTTP 1xx", "success"),
        (200, "HTTP 2xx", "success"),
        (304, "HTTP 3xx", "success"),
        (404, "HTTP 4xx", "success"),
        (499, "HTTP 4xx", "success"),
        (500, "HTTP 5xx", "failure"),
        (599, "HTTP 5xx", "failure"),
    ],
)
def test_outcome_of_a_server(status, result, outcome):
    """Spec 12, 18.1: >=500 failure, else success; a reported error does not change that."""
    seen = Collecting()

    def app(environ, start_response):
        current.get().transaction.capture(ValueError(), handled=True)
        start_response(f"{status} X", [])
        return []

    Server(wsgi.application(seen.tracer, app, None))
    assert (seen.transactions[0]["result"], seen.transactions[0]["outcome"]) == (result, outcome)


@both
def test_cookies_are_parsed_and_the_header_is_hidden(ask):
    """Spec 22: sanitise each and redact the cookie header."""
    seen = Collecting()
    ask(seen, nothing, HTTP_COOKIE="theme=dark; session=s3cr3t")
    request = seen.transactions[0]["context"]["request"]
    assert request["cookies"] == {"theme": "dark", "session": "[REDACTED]"}
    assert request["headers"]["cookie"] == "[REDACTED]"


@both
def test_capture_headers_false_shows_no_cookies_either(ask):
    seen = Collecting(capture_headers="false")
    ask(seen, nothing, HTTP_COOKIE="theme=dark", HTTP_X_A="b")
    request = seen.transactions[0]["context"]["request"]
    assert not request.keys() & {"headers", "cookies"}


def test_the_user_that_the_server_knows():
    seen = Collecting()
    by_wsgi(seen, nothing, REMOTE_USER="jane")
    assert seen.transactions[0]["context"]["user"] == {"username": "jane"}


class Lazy:
    """A user that is looked up when it is asked."""

    def __getattr__(self, name):
        raise AssertionError(name)


class Known:
    def __init__(self):
        self.id = 7
        self.username = "jane"
        self.email = Lazy()

    @property
    def display_name(self):
        raise AssertionError


class Huge:
    def __init__(self):
        self.id = 10**5000  # which Python refuses to write out


class Slotted:
    __slots__ = ("username",)


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        (Known(), {"id": "7", "username": "jane"}),
        (Huge(), {"id": "<unprintable int object>"}),
        (Lazy(), None),
        (Slotted(), None),
        (None, None),
    ],
    ids=["known", "huge", "lazy", "slotted", "none"],
)
def test_the_user_in_the_scope_is_looked_at_and_not_asked(user, shown):
    seen = Collecting()

    async def application(scope, receive, send):
        scope["user"] = user
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(asgi.application(seen.tracer, application, None)(scope, None, send))
    assert seen.transactions[0]["context"].get("user") == shown
