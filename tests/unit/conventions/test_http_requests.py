"""What of a request and its response is shown, and how."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from tests.unit.conventions.collecting import Collecting

from apm_run import config, sanitize
from apm_run.config.wildcard import Matcher
from apm_run.conventions import framework, headers, http_server, wsgi

SECRETS = tuple(map(Matcher, ("password", "*auth*", "*token*", "set-cookie")))


@pytest.mark.parametrize(
    ("scheme", "authority", "path", "query", "expected"),
    [
        ("http", "a:81", "/p", "", ("http://a:81/p", "a", 81, "/p", None)),
        ("https", "a", "/p", "q=1", ("https://a/p?q=1", "a", 443, "/p", "?q=1")),
        ("http", "a", "", "", ("http://a", "a", 80, "", None)),
        ("http", "[::1]:81", "/", "", ("http://[::1]:81/", "::1", 81, "/", None)),
        ("http", "[::1]", "/", "", ("http://[::1]/", "::1", 80, "/", None)),
        ("http", "u:secret@a:81", "/", "", ("http://a:81/", "a", 81, "/", None)),
        ("http", "a:b", "/", "", ("http://a:b/", "a", 80, "/", None)),
        ("http", "a:999999", "/", "", ("http://a:999999/", "a", 80, "/", None)),
        ("http", "", "/", "", ("http:///", "", 80, "/", None)),
        ("gopher", "a", "/", "", ("gopher://a/", "a", None, "/", None)),
    ],
)
def test_url(scheme, authority, path, query, expected):
    found = http_server.url(scheme, authority, path, query, sanitize.names(SECRETS))
    assert found.pop("protocol") == f"{scheme}:"
    assert tuple(found.get(key) for key in ("full", "hostname", "port", "pathname", "search")) == expected


def test_a_huge_url_is_cut():
    found = http_server.url("http", "h" * 2000, "/" + "p" * 2000, "q" * 2000, sanitize.names(SECRETS))
    assert {len(found[key]) for key in ("full", "hostname", "pathname", "search")} == {1024}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a", "/a"),
        ("", ""),
        ("*", "*"),
        ("http://u:secret@h:1/a/b", "/a/b"),
        ("http://u:secret@h", "/"),
        ("//h/a", "//h/a"),
    ],
)
def test_origin_form(target, path):
    assert http_server.origin_form(target) == path


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("/a/b-c_d.e~f:g@h!$&'()*+,;=", "/a/b-c_d.e~f:g@h!$&'()*+,;="),
        ("/a b?c#d%", "/a%20b%3Fc%23d%25"),
        ("/\u00e4\u20ac", "/%C3%A4%E2%82%AC"),
        ("/\udcff\n", "/%FF%0A"),
    ],
)
def test_quote(path, quoted):
    assert http_server.quote(path) == quoted


def test_headers_of_an_environment():
    environ = {
        "HTTP_X_NAME": "v",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "",
        "HTTP_COOKIE": "a=b",
        "HTTP_X_AUTH": "secret",
        "HTTP_HUGE": "x" * 5000,
        "HTTP_ODD": 7,
        "HTTP_REFERER": "https://u:secret@h/a@b?c@d",
        "HTTP_HOST": "u:secret@h:1",
        "PATH": "/bin",
        "wsgi.input": None,
    }
    assert headers.of_environ(environ, SECRETS) == {
        "x-name": "v",
        "content-type": "text/plain",
        "cookie": "[REDACTED]",
        "x-auth": "[REDACTED]",
        "huge": "x" * 1023 + "\u2026",
        "referer": "https://h/a@b?c@d",
        "host": "h:1",
    }


def test_headers_in_pairs():
    pairs = [
        (b"A", b"1"),
        ("a", "2"),
        (b"a", b"\xff3"),
        (b"Set-Cookie", b"secret"),
        (b"set-cookie", b"secret"),
        ("n", 7),
    ]
    found = headers.of_pairs(pairs, SECRETS)
    assert found == {"a": ["1", "2", "\xff3"], "set-cookie": ["[REDACTED]", "[REDACTED]"], "n": "7"}


def test_headers_have_a_room():
    found = headers.of_pairs([(b"n%d" % number, b"x" * 1000) for number in range(1000)], SECRETS)
    assert len(found) == 15
    found = headers.of_environ({f"HTTP_N{number}": "x" * 1000 for number in range(1000)}, SECRETS)
    assert len(found) == 15


def test_names_are_not_remembered_without_end():
    for number in range(2000):
        headers.of_pairs([(f"name-{number}", "1")], SECRETS)
    assert len(headers._memory.pairs) <= 512


def test_another_setting_counts_at_once():
    assert headers.of_pairs([("password", "x")], SECRETS) == {"password": "[REDACTED]"}
    assert headers.of_pairs([("password", "x")], (Matcher("other"),)) == {"password": "x"}


def test_hostile_headers_leave_an_event_that_the_server_takes():
    seen = Collecting()

    def app(environ, start_response):
        start_response("200 OK", [(f"X-{number}", "\xe4" * 9000) for number in range(500)])
        return []

    environ = {f"HTTP_N{number}": "\xff" * 9000 for number in range(500)}
    environ.update(REQUEST_METHOD="G" * 5000, PATH_INFO="/\xe4" * 9000, QUERY_STRING="\xe4" * 9000)
    wsgi.application(seen.tracer, app, None)(environ, lambda *_: None)
    assert seen.transactions[0]["result"] == "HTTP 2xx"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An imported package, and the folder that it is installed in."""
    module = ModuleType("acme")
    module.__file__ = str(tmp_path / "acme" / "__init__.py")
    monkeypatch.setitem(sys.modules, "acme", module)
    return module, tmp_path


def test_version_that_a_package_says(package):
    package[0].__version__ = "1.2"
    assert framework.version("acme") == "1.2"


@pytest.mark.parametrize("folder", ["Acme-3.4.dist-info", "acme-3.4.egg-info", "acme-3.4-py3.11.egg-info"])
def test_version_of_a_distribution(package, folder):
    (package[1] / folder).mkdir()
    (package[1] / "acme-corp-9.dist-info").mkdir()
    (package[1] / "acme-notes").mkdir()
    assert framework.version("acme") == "3.4"


def test_version_elsewhere_on_the_path(package, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "missing"), str(tmp_path / "site")])
    (tmp_path / "site" / "acme-5.6.dist-info").mkdir(parents=True)
    assert framework.version("acme") == "5.6"


def test_no_version(package, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert framework.version("acme") == ""
    assert framework.version("not.imported") == ""


def test_the_version_is_looked_up_once(package):
    package[0].__version__ = "1.2"
    found = framework.Framework("acme")
    settings, _ = config.load({})
    assert found.facts(settings) == ("acme", "1.2")
    package[0].__version__ = "9"
    assert found.facts(settings) == ("acme", "1.2")


def test_options_name_the_framework(package):
    settings, _ = config.load({"ELASTIC_APM_FRAMEWORK_NAME": "own", "ELASTIC_APM_FRAMEWORK_VERSION": "7"})
    assert framework.Framework("acme").facts(settings) == ("own", "7")


def test_what_the_user_said_stays():
    seen = Collecting()

    def app(environ, start_response):
        from apm_run.tracer import current

        transaction = current.get().transaction
        transaction.outcome, transaction.result = "failure", "own"
        transaction.named_by_user, transaction.name = True, "own name"
        http_server.name(transaction, "GET", "/route")
        start_response("200 OK", [])
        return []

    wsgi.application(seen.tracer, app, None)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert seen.lines() == ["own name | own | failure | True"]


def test_an_application_called_without_a_request_is_no_transaction():
    seen = Collecting()

    def app(environ, start_response):
        return [repr(environ).encode()]

    assert wsgi.application(seen.tracer, app, None)({}, None) == [b"{}"]
    assert seen.lines() == []
