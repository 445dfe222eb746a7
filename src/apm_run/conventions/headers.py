"""Headers as they are shown: lower-case names, values of a secret kind redacted by their name (spec 22)."""

from __future__ import annotations

from apm_run.config.wildcard import any_match
from apm_run.intake.limits import KEYWORD, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from apm_run.config.wildcard import Matcher

    Headers = dict[str, str | list[str]]

REDACTED = "[REDACTED]"

#: Characters of all headers of a message together: a hostile one must not cost the whole event (spec 2).
_ROOM = 16_000
#: What holds a URL or the host of one, and so may hold a user name and a password.
_URLS = ("host", "x-forwarded-host", "referer", "origin", "location", "content-location")
#: How a value is shown.
_PLAIN, _SECRET, _URL = 0, 1, 2
#: Remembered names; a client that invents names makes them be forgotten, nothing more.
_NAMES = 512


class _Names(dict[object, "tuple[str, int]"]):
    """A name as it comes -> the name as it is shown, and how its value is. What is no header has an empty name."""

    __slots__ = ("_matchers", "_shown")

    def __init__(self, matchers: tuple[Matcher, ...], shown: Callable[[Any], str]) -> None:
        self._matchers = matchers
        self._shown = shown

    def __missing__(self, key: object) -> tuple[str, int]:
        name = self._shown(key)
        # Cookies hold sessions under names of their own, so that the header as a whole is a secret.
        secret = name == "cookie" or any_match(self._matchers, name)
        if len(self) >= _NAMES:
            self.clear()
        found = self[key] = (name, _SECRET if secret else _URL if name in _URLS else _PLAIN)
        return found


def _of_environ(key: str) -> str:
    if key.startswith("HTTP_"):
        return cut(key[5:].replace("_", "-").lower())
    return key.replace("_", "-").lower() if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else ""


def _of_text(name: str | bytes) -> str:
    return cut((name.decode("latin-1") if isinstance(name, bytes) else name).lower())


class _Memory:
    """What is known of names under one setting of ``sanitize_field_names``."""

    __slots__ = ("environ", "matchers", "pairs")

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers
        self.environ = _Names(matchers, _of_environ)
        self.pairs = _Names(matchers, _of_text)


_memory = _Memory(())


def _remembered(matchers: tuple[Matcher, ...]) -> _Memory:
    global _memory
    memory = _memory
    if memory.matchers is not matchers:
        memory = _memory = _Memory(matchers)
    return memory


def of_environ(environ: dict[str, Any], matchers: tuple[Matcher, ...]) -> Headers:
    """The request's headers in a WSGI environment.

    :param matchers: ``sanitize_field_names``.
    """
    names = _remembered(matchers).environ
    found: Headers = {}
    room = _ROOM
    for key, value in environ.items():
        name, way = names[key]
        if not name or not value or value.__class__ is not str:
            continue
        text = REDACTED if way == _SECRET else value
        if way == _URL and "@" in text:
            text = without_userinfo(text)
        if len(text) > KEYWORD:
            text = cut(text)
        room -= len(text) + len(name)
        if room < 0:
            break
        found[name] = text
    return found


def of_pairs(pairs: Iterable[tuple[Any, Any]], matchers: tuple[Matcher, ...]) -> Headers:
    """Headers given as pairs of bytes (ASGI) or text (WSGI); a repeated one becomes a list.

    :param matchers: ``sanitize_field_names``.
    """
    names = _remembered(matchers).pairs
    found: Headers = {}
    room = _ROOM
    for key, value in pairs:
        name, way = names[key]
        text = REDACTED if way == _SECRET else value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if way == _URL and "@" in text:
            text = without_userinfo(text)
        if len(text) > KEYWORD:
            text = cut(text)
        room -= len(text) + len(name)
        if room < 0:
            break
        before = found.get(name)
        if before is None:
            found[name] = text
        elif isinstance(before, list):
            before.append(text)
        else:
            found[name] = [before, text]
    return found


def without_userinfo(url: str) -> str:
    """A URL, or the host of one, without user name and password."""
    scheme, absolute, rest = url.partition("://")
    if not absolute:
        scheme, rest = "", url
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return f"{scheme}{absolute}{rest[:end].rpartition('@')[2]}{rest[end:]}"
