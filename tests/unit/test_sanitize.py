"""What is secret by its name is not shown, wherever it stands (spec 22); what is not secret stays as it was."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apm_run import config, sanitize
from apm_run.config.wildcard import Matcher
from apm_run.conventions import body_text, cookies

DEFAULT = config.load({})[0].sanitize_field_names
SECRET = sanitize.names(DEFAULT)
#: A name of each pattern of the default list (spec 22).
NAMES = [
    "password", "PASSWD", "pwd", "secret", "x-api-key", "csrf_token", "my-session-id", "credit", "card-number",
    "Authorization", "set-cookie", "principal",
]  # fmt: skip
#: So that a hidden value is found by its text.
HIDDEN = "s3cr3t"


@pytest.mark.parametrize("name", NAMES)
def test_default_list_is_that_of_the_spec(name):
    """Spec 22: sanitize_field_names."""
    assert SECRET[name]


@pytest.mark.parametrize("name", ["user", "passwords", "keyboard", "cookie", "secrets", "host", ""])
def test_other_names_are_shown(name):
    assert not SECRET[name]


def test_a_setting_replaces_the_default():
    found = sanitize.names((Matcher("other"),))
    assert found["other"]
    assert not found["password"]
    assert sanitize.names(DEFAULT)["password"]


@pytest.mark.parametrize("name", ["user[password]", "login.password", "a[b][pwd]"])
def test_fields_of_fields(name):
    assert SECRET[name]


def test_names_are_not_remembered_without_end():
    found = sanitize.Names(DEFAULT)
    for number in range(2000):
        assert not found[f"name-{number}"]
    assert len(found) <= 512


def test_values_at_any_depth():
    value = {"a": [{"password": HIDDEN, "b": ({b"Token": HIDDEN}, 1)}], "secret": {"x": HIDDEN}, 7: "seven"}
    assert sanitize.sanitized(value, SECRET) == {
        "a": [{"password": "[REDACTED]", "b": [{b"Token": "[REDACTED]"}, 1]}],
        "secret": "[REDACTED]",
        7: "seven",
    }
    assert value["secret"] == {"x": HIDDEN}


def test_a_value_without_end():
    value: dict = {"password": HIDDEN}
    value["self"] = value
    assert HIDDEN not in str(sanitize.sanitized(value, SECRET))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:s3cr3t@h:1/a@b?c=d@e#f", "https://h:1/a@b?c=d@e#f"),
        ("//u:s3cr3t@h/", "//h/"),
        ("u:s3cr3t@h:1", "h:1"),
        ("/a//u:x@h", "/a//u:x@h"),
        ("/a?password=s3cr3t&b=1", "/a?password=[REDACTED]&b=1"),
        ("/a?pass%77ord=s3cr3t", "/a?pass%77ord=[REDACTED]"),
        ("/a?user%5Bpassword%5D=s3cr3t", "/a?user%5Bpassword%5D=[REDACTED]"),
        ("/a?b=1;password=s3cr3t", "/a?b=1;password=[REDACTED]"),
        ("/a;jsessionid=s3cr3t;v=1/b", "/a;jsessionid=[REDACTED];v=1/b"),
        ("/a#access_token=s3cr3t&b=1", "/a#access_token=[REDACTED]&b=1"),
        ("/a#/b?token=s3cr3t", "/a#/b?token=[REDACTED]"),
        ("/cb?code=s3cr3t&state=1", "/cb?code=[REDACTED]&state=1"),
        ("/cb?code=404&status=1", "/cb?code=404&status=1"),
        ('<https://a?sig=s3cr3t>; rel="next", <b?c=1>', '<https://a?sig=[REDACTED]>; rel="next", <b?c=1>'),
        ("0; url=https://u:s3cr3t@b/?token=s3cr3t", "0; url=https://b/?token=[REDACTED]"),
        ("/login?next=%2Fa%3Fb%3D1&c=2", "/login?next=%2Fa%3Fb%3D1&c=2"),
        ("/login?next=https%3A%2F%2Fa%2Fb%3Fc%3D1", "/login?next=https%3A%2F%2Fa%2Fb%3Fc%3D1"),
        ("/login?next=https%3A%2F%2Fu%3As3cr3t%40a%2F%3Ftoken%3Ds3cr3t", "/login?next=https://a/?token=[REDACTED]"),
        ("/a?&&=&b&=c", "/a?&&=&b&=c"),
        ("/a?password", "/a?password"),
        ("", ""),
    ],
)
def test_urls(url, shown):
    """Issue 4: URL userinfo removed everywhere; query-string secrets redacted by name."""
    assert sanitize.url(url, SECRET) == shown


@pytest.mark.parametrize(
    "name",
    ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "sig", "Signature", "X-Goog-Signature",
     "AWSAccessKeyId", "access_token", "token", "client_secret"],
)  # fmt: skip
def test_what_signs_a_url_is_secret_whatever_the_setting(name):
    names = sanitize.names((Matcher("other"),))
    assert sanitize.query(f"a=1&{name}=s3cr3t&other=s3cr3t&b=2", names) == (
        f"a=1&{name}=[REDACTED]&other=[REDACTED]&b=2"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:s3cr3t@h:5432/db?x=1", "postgresql://h:5432/db?x=1"),
        ("host=h password=s3cr3t dbname=d", "host=h password=[REDACTED] dbname=d"),
        ("host=h password='s3 cr3t' dbname=d", "host=h password=[REDACTED] dbname=d"),
        ("Driver={X};UID=u;PWD={s3;cr3t};A=1", "Driver={X};UID=u;PWD=[REDACTED];A=1"),
        ("shop", "shop"),
        ("a=1", "a=1"),
    ],
)
def test_what_a_database_is_reached_by(text, shown):
    assert sanitize.connection(text) == shown


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("ATTACH 'postgres://u:s3cr3t@h/d'", "ATTACH 'postgres://h/d'"),
        ("SELECT dblink('host=h password=s3cr3t','x')", "SELECT dblink('host=h password=[REDACTED]','x')"),
        ("SELECT * FROM u WHERE password = ?", "SELECT * FROM u WHERE password = ?"),
        ("SELECT * FROM u WHERE password=%s AND b='c'", "SELECT * FROM u WHERE password=%s AND b='c'"),
        ("SELECT 'a@b', '://'", "SELECT 'a@b', '://'"),
    ],
)
def test_addresses_in_a_statement(sql, shown):
    assert sanitize.connection(sql, statement=True) == shown


def test_cookies_by_name():
    """Spec 22: each of the parsed cookies is sanitised; sessions go by many names."""
    header = "theme=dark; sessionid=s3cr3t; csrftoken=s3cr3t; PHPSESSID=s3cr3t; connect.sid=s3cr3t; theme=2; bare; =x"
    assert cookies.parsed(header, SECRET) == {
        "theme": "dark",
        "sessionid": "[REDACTED]",
        "csrftoken": "[REDACTED]",
        "PHPSESSID": "[REDACTED]",
        "connect.sid": "[REDACTED]",
    }


def test_cookies_have_a_room():
    found = cookies.parsed(";".join(f"n{number}={'x' * 900}" for number in range(100)), SECRET)
    assert len(found) == 8
    assert cookies.parsed("a=" + "x" * 5000, SECRET)["a"] == "x" * 1023 + "\u2026"


def test_set_cookie_by_the_name_of_the_cookie_where_the_setting_shows_the_header():
    names = sanitize.names((Matcher("private"),))
    assert cookies.set_cookie("private=s3cr3t; Path=/", names) == "private=[REDACTED]; Path=/"
    assert cookies.set_cookie("sid=s3cr3t", names) == "sid=[REDACTED]"
    assert cookies.set_cookie("theme=dark; Path=/", names) == "theme=dark; Path=/"
    assert cookies.set_cookie("odd", names) == "odd"


# Properties

prop = settings(deadline=None, database=None)  # the machine may be busy

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
plain_names = st.sampled_from(["user", "q", "page", "na me", "\u00e4", "a.b", "x"])
secret_names = st.sampled_from(NAMES)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(plain_names, inner, max_size=4)
        | st.dictionaries(secret_names, st.just(HIDDEN) | st.lists(st.just(HIDDEN)), max_size=2)
    ),
    max_leaves=20,
)


@prop
@given(values, st.booleans(), st.sampled_from([None, 1]), st.integers(0, 400))
def test_no_json_shows_a_secret_however_it_is_written_or_cut(value, ascii_only, indent, cut):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    shown = body_text.json(text, SECRET)
    assert HIDDEN not in shown
    assert json.loads(shown) == sanitize_json(value)
    part = body_text.json(text[:cut], SECRET)
    assert part is not None
    assert "s3c" not in part


def sanitize_json(value):
    if isinstance(value, dict):
        return {k: "[REDACTED]" if SECRET[k] else sanitize_json(v) for k, v in value.items()}
    return [sanitize_json(item) for item in value] if isinstance(value, list) else value


@prop
@given(st.lists(st.tuples(plain_names | secret_names | texts, texts), max_size=8), st.sampled_from(["&", ";"]))
def test_no_query_shows_a_secret_and_what_is_not_secret_stays(pairs, separator):
    pairs = [(name, HIDDEN if sanitize.is_key(name.strip(), SECRET) else value) for name, value in pairs]
    text = separator.join(f"{quote_plus(name)}={quote(value, safe='')}" for name, value in pairs)
    shown = sanitize.query(text, SECRET)
    assert HIDDEN not in shown
    nested = any("://" in value for _, value in pairs)
    if not nested and not any(value == HIDDEN for _, value in pairs) and "code=" not in text:
        assert shown == text


@prop
@given(st.text(max_size=60))
def test_any_text_is_a_url_and_a_cookie_and_json_without_an_error(text):
    sanitize.url(text, SECRET)
    sanitize.connection(text)
    cookies.parsed(text, SECRET)
    body_text.json(text, SECRET)
    body_text.form(text, SECRET)


@prop
@given(values)
def test_no_value_shows_a_secret(value):
    assert HIDDEN not in str(sanitize.sanitized(value, SECRET))
