"""Django behind WSGI and ASGI servers: what a request reports, and what it must not change."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff

import pytest
from tests.instrumentations.served import APPS, HIDES_FRAMES, PYTHON, Served, compare, package_version
from tests.receiver import Sink
from tests.servers import refused_port
from tests.traced import BOOTSTRAP, bare, traced

WSGI = ("-m", "gunicorn", "-b", "127.0.0.1:0", "--threads", "8", "--log-level", "warning", "django_shop.wsgi")
ASGI = ("-m", "uvicorn", "--port", "0", "--no-access-log", "django_shop.asgi:application")
#: gunicorn says where it listens, and what a request has to say on the way to an error is not in any order.
LISTENING = WSGI[:-3] + WSGI[-1:]
SERVERS = {
    "gunicorn": LISTENING,
    "uvicorn": ASGI,
    "daphne": ("-m", "daphne", "-p", "0", "django_shop.asgi:application"),
    "gunicorn uvicorn": (*LISTENING[:-3], "-k", "uvicorn.workers.UvicornWorker", "django_shop.asgi:application"),
    "runserver": (APPS / "django_shop" / "manage.py", "runserver", "127.0.0.1:0", "--noreload"),
    "uvicorn wsgi": ("-m", "uvicorn", "--port", "0", "--interface", "wsgi", "django_shop.wsgi:application"),
}
VERSION = tuple(map(int, package_version("django").split(".")[:2]))


@pytest.fixture(scope="module", params=["gunicorn", "uvicorn"])
def served(request):
    options = {"ELASTIC_APM_SKIP_SERVER_INFO": "true"}
    with Sink() as sink, Served(*SERVERS[request.param], sink=sink, env=options) as served:
        served.asynchronous = request.param == "uvicorn"
        yield served


def ask(served, paths, headers=()):
    """Answer and trace of each path; they are waited for together."""
    asked = {}
    for path in paths:
        trace, header = served.new_trace()
        asked[path] = served.ask("GET", path, [header, *headers]), trace
    served.wait(lambda: all(trace.transactions for _, trace in asked.values()))
    return asked


def statements(trace):
    """What the program itself has asked the database."""
    found = [span for span in trace.spans if span["type"] == "db"]
    mine = [span["context"]["db"]["statement"] for span in sorted(found, key=lambda span: span["timestamp"])]
    return [statement for statement in mine if "PRAGMA" not in statement and "compileoption" not in statement]


def tree(trace):
    """Without the statements that Django begins each connection with."""
    return "\n".join(line for line in trace.tree().splitlines() if not re.match(r" +(PRAGMA|SELECT) \[db", line))


def test_whole_event(served):
    answer, trace = served.trace("GET", "/items/3/?q=a%20b", [("User-Agent", "test"), ("X-Twice", "1")])

    assert answer.status == 200
    found = trace.snapshot()
    shown = found["context"]["response"].pop("headers")
    assert shown["content-type"] == "application/json"
    assert found.pop("span_count")["dropped"] == 0
    assert found["context"]["request"].pop("headers") == {
        "host": "127.0.0.1:9999",
        "accept-encoding": "identity",
        "user-agent": "test",
        "x-twice": "1",
    }
    assert found == {
        "name": "GET /items/<int:pk>/",
        "type": "request",
        "result": "HTTP 2xx",
        "outcome": "success",
        "sampled": True,
        "context": {
            "request": {
                "method": "GET",
                "http_version": "1.1",
                "socket": {"remote_address": "127.0.0.1"},
                "url": {
                    "full": "http://127.0.0.1:9999/items/3/?q=a%20b",
                    "protocol": "http:",
                    "hostname": "127.0.0.1",
                    "port": 9999,
                    "pathname": "/items/3/",
                    "search": "?q=a%20b",
                },
            },
            "response": {
                "status_code": 200,
                "finished": True,
                **({"headers_sent": True} if served.asynchronous else {}),
            },
            "service": {"framework": {"name": "django", "version": package_version("django")}},
        },
    }
    assert tree(trace) == (
        "GET /items/<int:pk>/ [request] success\n"  #
        "  SELECT FROM goods_item [db/sqlite/query] success"
    )


ROUTES = {
    "/": "GET /",
    "/async/1/": "GET /async/<int:pk>/",
    "/class/one/": "GET /class/<slug:name>/",
    "/async-class/one/": "GET /async-class/<slug:name>/",
    "/archive/2020/": "GET /archive/<year>/",
    "/archive/2020/page-3.html": "GET /archive/<year>/page-<page>.html",
    "/archive/ab/unnamed": "GET /archive/<var>/unnamed",
    "/wiki/Foo_(bar)/": "GET /wiki/Foo_(bar)/",
    "/nested/a-shop/items/3/": "GET /nested/<slug:shop>/items/<int:pk>/",
    "/en/greeting/ada/": "GET /en/greeting/<name>/",
    "/de/greeting/ada/": "GET /de/greeting/<name>/",
    "/api/items/": "GET /api/items/",
    "/api/items/?format=json": "GET /api/items/",
    "/api/items.json": "GET /api/items.<format>/",
    "/api/plain/3/": "GET /api/plain/<int:pk>/",
}


def test_routes(served):
    found = ask(served, ROUTES)
    assert {path: answer.status for path, (answer, _) in found.items()} == dict.fromkeys(ROUTES, 200)
    assert {path: trace.transaction["name"] for path, (_, trace) in found.items()} == ROUTES


LINES = {
    "/missing/7/": "GET /missing/<int:pk>/ | HTTP 4xx | success",
    "/api/items/7/": "GET /api/items/<pk>/ | HTTP 4xx | success",
    "/no/such/": "GET unknown route | HTTP 4xx | success",
    "/items/3": "GET unknown route | HTTP 3xx | success",  # a slash is missing
    "/denied/": "GET /denied/ | HTTP 4xx | success",
    "/moved/": "GET /moved/ | HTTP 3xx | success",
    "/handled/": "GET /handled/ | HTTP 4xx | success",
    "/api/items/wrong/": "GET /api/items/wrong/ | HTTP 4xx | success",
    "/boom/7/": "GET /boom/<int:pk>/ | HTTP 5xx | failure | ZeroDivisionError(False)",
    "/async-boom/7/": "GET /async-boom/<int:pk>/ | HTTP 5xx | failure | ZeroDivisionError(False)",
    "/api/items/7/boom/": "GET /api/items/<pk>/boom/ | HTTP 5xx | failure | ZeroDivisionError(False)",
    "/nothing/": "GET /nothing/ | HTTP 5xx | failure | ValueError(False)",
    "/broken-template/": "GET /broken-template/ | HTTP 5xx | failure | OverflowError(False)",
    "/?middleware=before": "GET unknown route | HTTP 5xx | failure | RaisedByMiddleware(False)",
    "/?middleware=view": "GET / | HTTP 5xx | failure | RaisedByMiddleware(False)",
    "/?middleware=after": "GET / | HTTP 5xx | failure | RaisedByMiddleware(False)",
}


def test_outcomes(served):
    found = ask(served, LINES)
    assert {path: trace.line() for path, (_, trace) in found.items()} == LINES


def test_other_methods(served):
    assert served.trace("POST", "/api/items/", (), b'{"name": "x"}')[1].line().startswith("POST /api/items/ | HTTP 4xx")
    assert served.trace("HEAD", "/class/one/")[1].transaction["name"] == "HEAD /class/<slug:name>/"
    assert served.trace("PUT", "/class/one/", (), b"")[1].transaction["name"] == "PUT /class/<slug:name>/"


def test_error_event(served):
    answer, trace = served.trace("GET", "/boom/7/")

    assert answer.body == b"our own page"
    (error,) = trace.errors
    assert error["parent_id"] == error["transaction_id"] == trace.transaction["id"]
    assert error["transaction"] == {"name": "GET /boom/<int:pk>/", "type": "request", "sampled": True}
    assert error["exception"]["message"] == "boom 7"
    assert error["exception"]["handled"] is False
    assert error["culprit"] == "django_shop.views.boom"
    innermost = error["exception"]["stacktrace"][0]
    assert innermost["function"] == "boom"
    assert innermost["context_line"].strip() == 'raise ZeroDivisionError(f"boom {pk}")'
    assert not [frame for frame in error["exception"]["stacktrace"] if "apm_run" in frame["filename"]]
    assert error["context"]["request"]["url"]["pathname"] == "/boom/7/"
    assert error["context"]["response"]["status_code"] == 500


def test_a_status_of_its_own_is_no_exception(served):
    _, trace = served.trace("GET", "/status/503/")
    assert (trace.transaction["result"], trace.transaction["outcome"]) == ("HTTP 5xx", "failure")
    (error,) = trace.errors  # Django writes it into the log
    assert error["log"]["logger_name"] == "django.request"
    assert "exception" not in error


def test_templates(served):
    found = ask(served, ["/template/x/", "/lazy-template/", "/jinja/", "/string/", "/broken-template/"])
    trees = [tree(trace).splitlines() for _, trace in found.values()]
    assert trees[0] == [
        "GET /template/<name>/ [request] success",
        "  shop/page.html [template/django/render] success",
        "    shop/part.html [template/django/render] success",
        "    SELECT FROM goods_item [db/sqlite/query] success",
    ]
    (span,) = [span for span in found["/template/x/"][1].spans if span["name"] == "shop/part.html"]
    assert {key: span.get(key) for key in ("type", "subtype", "action", "context")} == {
        "type": "template",
        "subtype": "django",
        "action": "render",
        "context": None,
    }
    assert trees[1][1:] == [
        "  shop/page.html [template/django/render] success",
        "    shop/part.html [template/django/render] success",
    ]
    assert trees[2][1:] == ["  page.jinja [template/jinja2/render] success"]
    assert trees[3][1:] == ["  <template string> [template/django/render] success"]
    assert trees[4][1:3] == [
        "  shop/page.html [template/django/render] failure",
        "    shop/part.html [template/django/render] failure",
    ]


def test_user(served):
    answer, trace = served.trace("GET", "/login/")
    ada = {"id": "1", "username": "ada", "email": "ada@example.com"}
    assert trace.transaction["context"]["user"] == ada
    (session,) = [value.partition(";")[0] for name, value in answer.headers if name.lower() == "set-cookie"]

    paths = ["/", "/user/", "/async-user/", "/api/items/mine/", "/user/?middleware=after"]
    found = ask(served, paths, [("Cookie", session)])
    users = {path: trace.transaction["context"].get("user") for path, (_, trace) in found.items()}
    # Nobody has asked who it is on the first page: nor do we.
    assert users == {**dict.fromkeys(paths, ada), "/": None}
    asked = {path: len(statements(trace)) for path, (_, trace) in found.items()}
    assert asked == {**dict.fromkeys(paths, 2), "/": 0}  # the session and the user
    assert found["/api/items/mine/"][0].body == b'{"user":"ada"}'
    (error,) = found["/user/?middleware=after"][1].errors
    assert error["context"]["user"] == ada

    found = ask(served, ["/user/", "/async-user/"])
    assert [answer.body for answer, _ in found.values()] == [b"False", b"False"]
    assert not [trace for _, trace in found.values() if "user" in trace.transaction["context"]]


def test_streams_have_their_spans(served):
    for path, name in (("/stream/3/", "stream"), ("/async-stream/3/", "async-stream")):
        answer, trace = served.trace("GET", path)
        assert answer.body == b"0;1;2;"
        assert trace.line() == f"GET /{name}/<int:count>/ | HTTP 2xx | success"
        assert len(statements(trace)) == 3
        assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}
        assert trace.transaction["context"]["response"]["finished"] is True


def test_error_in_the_stream(served):
    trace, (name, value) = served.new_trace()
    head = f"GET /broken/ HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
    raw = served.raw(head.encode())
    # Below ASGI all of a plain iterator is taken first.
    served.wait(lambda: trace.transactions and trace.errors)
    assert trace.transaction["name"] == "GET /broken/"
    assert trace.transaction["outcome"] == "failure"
    assert [error["exception"]["type"] for error in trace.errors] == ["OverflowError"]
    assert raw.startswith(b"HTTP/1.1 500" if trace.transaction["result"] == "HTTP 5xx" else b"HTTP/1.1 200")


def test_client_that_leaves(served):
    if served.asynchronous and VERSION < (5, 0):
        pytest.skip("Django 5.0 is the first to notice")
    trace, header = served.new_trace()
    served.leave("/async-endless/" if served.asynchronous else "/endless/", [header])
    served.wait(lambda: trace.transactions)
    assert trace.line().endswith("endless/ | HTTP 2xx | success")
    assert trace.transaction["context"]["response"]["finished"] is False
    if not served.asynchronous:  # what the application does when it is told so still belongs to the request
        assert statements(trace) == ['SELECT COUNT(*) AS "__count" FROM "goods_item"']


@pytest.mark.skipif(VERSION < (5, 0), reason="Django 5.0 is the first to notice")
def test_client_that_leaves_before_the_response():
    with Sink() as sink, Served(*ASGI, sink=sink) as served:
        trace, (name, value) = served.new_trace()
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(f"GET /slow/ HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n".encode())
            served.until(lambda: "waiting" in served.output)
        served.wait(lambda: trace.transactions)
        served.until(lambda: "cancelled" in served.output)
        assert trace.transaction["name"] == "GET /slow/"
        assert trace.transaction["outcome"] == "success"
        assert not trace.errors


def test_uploads(served):
    boundary = "xyz"
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\nhello\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
        ).encode()
        + b"x" * 3_000_000
        + f"\r\n--{boundary}--\r\n".encode()
    )
    kind = ("Content-Type", f"multipart/form-data; boundary={boundary}")
    answer, trace = served.trace("POST", "/upload/", [kind], body)
    assert answer.body == b'{"sizes": {"photo": 3000000}, "fields": {"title": "hello"}, "body": false}'
    assert trace.line() == "POST /upload/ | HTTP 2xx | success"
    assert trace.transaction["context"]["request"]["body"] == "[REDACTED]"


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_bodies(server):
    options = {"ELASTIC_APM_CAPTURE_BODY": "all"}
    with Sink() as sink, Served(*SERVERS[server], sink=sink, env=options) as served:
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        answer, trace = served.trace("POST", "/upload/", [kind], b"name=ada&password=secret")
        assert answer.body == b'{"sizes": {}, "fields": {"name": "ada", "password": "secret"}, "body": 24}'
        assert trace.transaction["context"]["request"]["body"] == {"name": "ada", "password": "[REDACTED]"}


@pytest.mark.parametrize("path", ["/work/", "/async-work/"])
def test_fifty_at_once(served, path):
    numbers = range(50)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: served.trace("GET", f"{path}{number}/"), numbers))
    for number, (answer, trace) in zip(numbers, found):
        assert answer.body == str(number).encode()
        assert trace.transaction["name"] == f"GET {path}<int:number>/"
        assert statements(trace) == [f"SELECT {number} FROM goods_item"] * 3
        assert {span["parent_id"] for span in trace.spans} == {trace.transaction["id"]}


def test_unsampled(served):
    trace, header = served.new_trace("00")
    served.ask("GET", "/template/x/", [header])
    served.ask("GET", "/boom/1/", [header])
    served.wait(lambda: len(trace.transactions) == 2 and trace.errors)
    assert {transaction.get("context") is None for transaction in trace.transactions} == {True}
    assert not trace.spans
    assert trace.errors[0]["transaction"]["name"] == "GET /boom/<int:pk>/"


class Clocked(Served):
    """Django's own servers say at which second they were started."""

    @property
    def log(self):
        return [re.sub(r"^\w+ \d+, \d{4} - [\d:]+$|(?<=PID)\.\d+", "TIME", line) for line in super().log]


# What renders where it was asked, its host and port say.
STABLE = [path for path in (*ROUTES, *LINES) if not path.startswith("/api/") or "json" in path]


def expected(paths=STABLE):
    """The lines of GET requests."""
    return {("GET", path): LINES.get(path) or f"{ROUTES[path]} | HTTP 2xx | success" for path in paths}


@pytest.mark.parametrize("server", SERVERS)
def test_nothing_else_changes(server):
    """The same answers and the same log as bare, and one transaction per request."""
    assert compare(SERVERS[server], expected(), kind=Clocked) == expected()


def test_below_another_framework():
    lines = {
        ("GET", "/shops/a/items/7/"): "GET /shops/{shop}/items/<int:pk>/ | HTTP 2xx | success",
        ("GET", "/shops/a/no/such/"): "GET /shops/{shop}/{path} | HTTP 4xx | success",
        ("GET", "/wsgi/items/7/"): "GET /wsgi/items/<int:pk>/ | HTTP 2xx | success",
        ("GET", "/wsgi/boom/7/"): "GET /wsgi/boom/<int:pk>/ | HTTP 5xx | failure | ZeroDivisionError(False)",
        ("GET", "/no/such/"): "GET unknown route | HTTP 4xx | success",
    }
    assert compare(("-m", "uvicorn", "--port", "0", "django_mounted:app"), lines) == lines


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_exceptions_that_are_propagated(server):
    lines = expected(["/boom/7/", "/async-boom/7/", "/handled/", "/?middleware=after", "/"])
    env = {"SHOP_PROPAGATE": "1"}
    assert compare(SERVERS[server], lines, env=env) == lines


def test_static_files():
    lines = {
        ("GET", "/static/page.jinja"): "GET unknown route | HTTP 2xx | success",
        ("GET", "/static/nothing"): "GET unknown route | HTTP 4xx | success",
        **expected(["/", "/boom/7/"]),
    }
    command = (*SERVERS["runserver"], "--insecure")
    assert compare(command, lines, kind=Clocked) == lines


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("how", ["reloader", "noreload"])
def test_runserver(protocol, how):
    # daphne's says nothing of a port that it has not been given.
    command = (*SERVERS["runserver"][:2], f"127.0.0.1:{refused_port() if protocol == 'asgi' else 0}")
    env = {"SHOP_DEBUG": "1", "SHOP_APPS": "daphne" if protocol == "asgi" else ""}
    lines = {**expected(["/", "/handled/"]), ("GET", "/static/page.jinja"): "GET unknown route | HTTP 2xx | success"}
    assert compare((*command, *["--noreload"][: how == "noreload"]), lines, kind=Clocked, env=env) == lines


@pytest.mark.parametrize("how", ["reloader", "noreload"])
def test_runserver_is_no_transaction(how):
    with Sink() as sink, Served(*SERVERS["runserver"][:3], *["--noreload"][: how == "noreload"], sink=sink) as served:
        served.trace("GET", "/")
    assert [transaction["name"] for transaction in sink.transactions] == ["GET /"]


def plain(page):
    """A page without what differs each time: addresses, ports, times, folders; the agent's own path is left out."""
    page = page.replace(f"'{BOOTSTRAP}', ", "")
    varying = r"fd=\d+|0x[0-9a-f]+|/tmp/tmp\w+|\w+ \d+, 20\d\d[\w:., ]*|\b20\d\d[-\d:.+ ]*|\d{4,}"
    return [re.sub(varying, "...", line) for line in page.splitlines() if str(BOOTSTRAP) not in line]


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
@pytest.mark.parametrize("accept", ["text/html", "text/plain, application/json"])
def test_technical_pages(server, accept):
    paths = ["/boom/7/", "/async-boom/7/", "/api/items/7/boom/", "/broken-template/", "/nothing/", "/no/such/",
             "/missing/7/", "/?middleware=before"]  # fmt: skip
    env = {"SHOP_DEBUG": "1", "ELASTIC_APM_CAPTURE_BODY": "all"}
    with Served(*SERVERS[server], env=env) as served:
        pages = [served.ask("GET", path, [("Accept", accept)]) for path in paths]
    with Sink() as sink, Served(*SERVERS[server], sink=sink, env=env) as served:
        seen = [served.ask("GET", path, [("Accept", accept)]) for path in paths]
    for path, page, traced_page in zip(paths, pages, seen):
        text, expected_text = (plain(each.body.decode()) for each in (traced_page, page))
        assert text == expected_text, "\n".join([path, *unified_diff(expected_text, text, "bare", "traced", n=1)])
        assert traced_page.status == page.status
        assert len(text) > 20, text


MANAGE = APPS / "django_shop" / "manage.py"
COMMANDS = {
    "migrate": (("migrate",), "success", 0),
    "own": (("count_items",), "success", 0),
    "failing": (("count_items", "--fail"), "failure", 1),
    "raising": (("count_items", "--boom"), "failure", 1),
    "shell": (("shell", "-c", "from django_shop.goods.models import Item; print(Item.objects.count())"), "success", 0),
    "no such item": (("shell", "-c", "from django_shop.goods.models import Item; Item.objects.get()"), "failure", 1),
    # One of its tests has its own client ask for an error, which Django logs.
    "test": (("test", "django_shop.goods", "-v", "2"), "failure", 0),
    "check": (("check",), None, 0),
    "unknown": (("no_such_command",), "failure", 1),
    "none": ((), None, 0),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_manage(name, tmp_path):
    words, outcome, code = COMMANDS[name]
    (tmp_path / "bare").mkdir()
    (tmp_path / "traced").mkdir()
    if name not in ("migrate", "test"):
        for folder in ("bare", "traced"):
            bare(PYTHON, MANAGE, "migrate", "--run-syncdb", env={"PYTHONPATH": str(APPS)}, cwd=tmp_path / folder)
    expected = bare(PYTHON, MANAGE, *words, cwd=tmp_path / "bare")
    with Sink() as sink:
        done = traced(PYTHON, MANAGE, *words, url=sink.url, cwd=tmp_path / "traced")
        sink.wait_idle(0.2)
    assert (done.returncode, timeless(done.stdout), timeless(done.stderr)) == (
        expected.returncode,
        timeless(expected.stdout),
        timeless(expected.stderr),
    )
    assert done.returncode == code
    if outcome is None:  # nothing worth a transaction, on a machine that is quick enough
        assert not sink.spans
        return
    (transaction,) = sink.transactions
    shown = "manage.py" if name == "unknown" else f"manage.py {words[0]}"
    assert (transaction["name"], transaction["type"], transaction["outcome"]) == (shown, "script", outcome)
    errors = {
        "raising": ["ZeroDivisionError"],
        "no such item": ["Item.DoesNotExist"],
        "test": ["ZeroDivisionError"],
    }.get(name, [])
    assert [error["exception"]["type"] for error in sink.errors] == errors
    if name in ("own", "test"):
        counts = [span for span in sink.spans if span["name"] == "SELECT FROM goods_item"]
        assert len(counts) == 2


def timeless(text):
    """What a command has written; before Python 3.11 a traceback names our frames too."""
    lines = re.sub(r"\d\.\d+s|0x[0-9a-f]+|/(bare|traced)\b", "...", text).splitlines()
    return [line for line in lines if HIDES_FRAMES or not line.startswith("  File")]


def test_python_m_django(tmp_path):
    env = {"DJANGO_SETTINGS_MODULE": "django_shop.settings", "PYTHONPATH": f"{BOOTSTRAP}:{APPS}"}
    with Sink() as sink:
        done = traced(PYTHON, "-m", "django", "migrate", "-v", "0", url=sink.url, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [transaction["name"] for transaction in sink.transactions] == ["django migrate"]


def test_commands_that_a_program_calls_name_nothing(tmp_path):
    script = tmp_path / "nightly.py"
    script.write_text(
        "import os, sys\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'django_shop.settings'\n"
        "from django.core.management import execute_from_command_line\n"
        "for name in ('migrate', 'check'):\n"
        "    execute_from_command_line(['manage.py', name, '-v', '0'])\n"
    )
    env = {"PYTHONPATH": f"{BOOTSTRAP}:{APPS}"}
    with Sink() as sink:
        done = traced(PYTHON, script, "--all", url=sink.url, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [transaction["name"] for transaction in sink.transactions] == ["nightly.py"]


def test_nothing_is_imported_that_the_program_does_not(tmp_path):
    """Neither settings nor the modules that read them."""
    program = (
        "import sys, django.core.signals, django.template, django.core.handlers.wsgi, django.core.management\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] in ('django', 'asgiref', 'jinja2')))"
    )
    assert traced(PYTHON, "-c", program).stdout == bare(PYTHON, "-c", program).stdout != ""
