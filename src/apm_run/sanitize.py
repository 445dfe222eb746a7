"""What must not leave the process: values of a secret kind, by the names they go under, and URLs' user info (spec 22).

The one place of the rule: headers, cookies, forms, JSON, query strings, message headers and local variables all
ask here. ``sanitize_field_names`` decides; parameters of a URL that are a key by themselves (presigned requests,
OAuth) are secret in any case.
"""

from __future__ import annotations

from apm_run.config.wildcard import any_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config.wildcard import Matcher

REDACTED = "[REDACTED]"

#: Remembered names; a client that invents names makes them be forgotten, nothing more.
_NAMES = 512
#: How deep a value is followed; what lies deeper is not shown.
_DEPTH = 20
#: Characters of a query string that are looked at, and kept.
_LONGEST = 10_000
#: Parameters of URLs that open what the URL names, whatever ``sanitize_field_names`` says; in lower case.
_KEYS = frozenset((
    "access_token", "assertion", "awsaccesskeyid", "client_assertion", "client_secret", "code_verifier", "hmac",
    "id_token", "jwt", "refresh_token", "samlresponse", "sig", "signature", "token", "x-amz-credential",
    "x-amz-security-token", "x-amz-signature", "x-goog-credential", "x-goog-signature",
))  # fmt: skip


class Names(dict[str, bool]):
    """A name -> whether what goes under it is secret, under one setting of ``sanitize_field_names``."""

    __slots__ = ("matchers",)

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        """:param matchers: ``sanitize_field_names``."""
        self.matchers = matchers

    def __missing__(self, name: str) -> bool:
        if len(self) >= _NAMES:
            self.clear()
        # user[password] and login.password are fields called password.
        parts = name.replace("]", "").replace("[", ".").split(".")[:_DEPTH] if "[" in name or "." in name else ()
        found = self[name] = any_match(self.matchers, name) or any(any_match(self.matchers, part) for part in parts)
        return found


_names = Names(())


def names(matchers: tuple[Matcher, ...]) -> Names:
    """What is known of names under a setting of ``sanitize_field_names``; another setting counts at once."""
    global _names
    found = _names
    if found.matchers is not matchers:
        found = _names = Names(matchers)
    return found


def sanitized(value: Any, secret: Names, depth: int = 0) -> Any:
    """A copy of what dictionaries, lists and tuples hold, the values under secret names redacted at any depth.

    Nothing else is looked into, and nothing of the program's is called: subclasses are left as they are.
    """
    kind = type(value)
    if kind is not dict and kind is not list and kind is not tuple:
        return value
    if depth >= _DEPTH:
        return REDACTED
    if kind is dict:
        return {
            key: REDACTED if is_secret(key, secret) else sanitized(item, secret, depth + 1)
            for key, item in value.items()
        }
    return [sanitized(item, secret, depth + 1) for item in value]


def is_secret(name: Any, secret: Names) -> bool:
    """Whether what goes under a name is to be redacted; only text and bytes are names."""
    if type(name) is bytes:
        name = name.decode("latin-1")
    return type(name) is str and secret[name]


def is_key(name: str, secret: Names) -> bool:
    """Whether a parameter or a cookie is to be redacted."""
    return secret[name] or name.lower() in _KEYS


def url(text: str, secret: Names) -> str:
    """A URL of any form, or a header that holds some, without user info and without its secret parameters."""
    if ">" in text:  # of Link headers: no URL holds one
        return ">".join([url(part, secret) for part in text.split(">")])
    if "@" in text:
        text = without_userinfo(text)
    if "=" not in text:
        return text
    rest, mark, fragment = text.partition("#")
    path, ask, parameters = rest.partition("?")
    if ";" in path and "=" in path:
        path = "/".join([_parameters(part, ";", secret) if ";" in part else part for part in path.split("/")])
    if "=" in fragment:
        fragment = url(fragment, secret) if "?" in fragment else query(fragment, secret)
    return f"{path}{ask}{query(parameters, secret)}{mark}{fragment}"


def query(text: str, secret: Names, depth: int = 0) -> str:
    """A query string, the values of its secret parameters redacted; what is not secret stays as it was sent."""
    if "=" not in text:
        return text
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
    return "&".join(
        [
            _parameters(part, ";", secret, depth) if ";" in part else _parameter(part, secret, depth)
            for part in _with_code(text).split("&")
        ]
    )


def _with_code(text: str) -> str:
    """The answer of an OAuth server: ``code`` beside ``state`` is as good as the token it is exchanged for."""
    if "code=" not in text or "state=" not in text:
        return text
    return "&".join([f"code={REDACTED}" if part.startswith("code=") else part for part in text.split("&")])


def _parameters(text: str, separator: str, secret: Names, depth: int = 0) -> str:
    return separator.join([_parameter(part, secret, depth) for part in text.split(separator)])


def _parameter(text: str, secret: Names, depth: int = 0) -> str:
    name, mark, value = text.partition("=")
    if not mark:
        return text
    if is_key(unquoted(name).strip(), secret):
        return f"{name}={REDACTED}"
    if depth < 3 and ("://" in value or "%3a%2f%2f" in value.lower()):
        return f"{name}={_nested(value, secret, depth)}"
    return text


def _nested(value: str, secret: Names, depth: int) -> str:
    """A parameter that is a URL itself, where to go after a login say."""
    from urllib.parse import quote

    plain = unquoted(value)
    scheme, separator, rest = without_userinfo(plain).partition("?")
    shown = f"{scheme}{separator}{query(rest, secret, depth + 1)}"
    return value if shown == plain else quote(shown, safe="/:?=[]")


def unquoted(text: str) -> str:
    """A part of a query string or form as it is meant."""
    if "%" not in text and "+" not in text:
        return text
    from urllib.parse import unquote_plus

    return unquote_plus(text)


def without_userinfo(text: str) -> str:
    """A URL, or the host of one, without user name and password."""
    scheme, absolute, rest = text.partition("//")
    if not absolute or any(mark in scheme for mark in "/?#"):
        scheme, absolute, rest = "", "", text
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return f"{scheme}{absolute}{rest[:end].rpartition('@')[2]}{rest[end:]}"


def connection(text: str, statement: bool = False) -> str:
    """What a database is reached by, without passwords: URLs and ``password=...`` wherever they stand in a text.

    :param statement: it is SQL: what stands in quotes there is a literal and no part of the address.
    """
    if "://" in text and "@" in text:
        import re

        text = re.sub(r"(://)[^\s/?#'\"]*@", r"\1", text)
    if "=" not in text:
        return text
    lower = text.lower()
    if "pwd" in lower or "passwd" in lower or "password" in lower:
        import re

        quoted = "" if statement else r"'[^']*'?|\"[^\"]*\"?|\{[^}]*\}?|"
        text = re.sub(rf"(?i)\b(password|passwd|pwd)(\s*=\s*)({quoted}[^\s;&'\"?$:%@,()]+)", rf"\1\2{REDACTED}", text)
    return text
