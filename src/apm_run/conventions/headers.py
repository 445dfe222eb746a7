"""Headers as they are shown: lower-case names, values of a secret kind redacted by their name (spec 22)."""

from __future__ import annotations

from apm_run import sanitize
from apm_run.conventions import cookies
from apm_run.intake.limits import KEYWORD, cut
from apm_run.intake.plain import Shown
from apm_run.sanitize import REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from apm_run.config.wildcard import Matcher

    Headers = dict[str, str | list[str]]

#: Characters of all headers of a message together: a hostile one must not cost the whole event (spec 2).
_ROOM = 16_000
#: What holds URLs or the host of one, and so may hold passwords and what opens other doors.
_URLS = (
    "host", "x-forwarded-host", "referer", "origin", "location", "content-location", "link", "refresh", "destination",
    "x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-url", "x-forwarded-uri", "referrer",
)  # fmt: skip
#: How a value is shown.
_PLAIN, _SECRET, _URL, _COOKIE = 0, 1, 2, 3
#: Remembered names; a client that invents names makes them be forgotten, nothing more.
_NAMES = 512
#: Remembered environments, how many keys one has at most, and how long the key of a header is.
_SHAPES, _KEYS, _KEY = 64, 100, 100
#: So few headers have room in any case.
_FEW = _ROOM // (KEYWORD + _KEY)


class _Names(dict[object, "tuple[str, int]"]):
    """A name as it comes -> the name as it is shown, and how its value is. What is no header has an empty name."""

    __slots__ = ("_secret", "_shown")

    def __init__(self, secret: sanitize.Names, shown: Callable[[Any], str]) -> None:
        self._secret = secret
        self._shown = shown

    def __missing__(self, key: object) -> tuple[str, int]:
        name = self._shown(key)
        way = _URL if name in _URLS else _COOKIE if name == "set-cookie" else _PLAIN
        # What the request's cookies are called is shown in ``request.cookies``.
        if name == "cookie" or self._secret[name]:
            way = _SECRET
        if len(self) >= _NAMES:
            self.clear()
        found = self[key] = (name, way)
        return found


def _of_environ(key: str) -> str:
    if key.startswith("HTTP_"):
        return cut(key[5:].replace("_", "-").lower())
    return key.replace("_", "-").lower() if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else ""


def _of_text(name: str | bytes) -> str:
    return cut((name.decode("latin-1") if isinstance(name, bytes) else name).lower())


class _Memory:
    """What is known of names under one setting of ``sanitize_field_names``."""

    __slots__ = ("environ", "matchers", "pairs", "secret", "shapes")

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers
        self.secret = sanitize.names(matchers)
        self.environ = _Names(self.secret, _of_environ)
        self.pairs = _Names(self.secret, _of_text)
        #: The keys of a WSGI environment, which are the same from one request to the next -> those of its headers.
        self.shapes: dict[tuple[Any, ...], list[tuple[str, str, int]]] = {}

    def shaped(self, shape: tuple[Any, ...]) -> list[tuple[str, str, int]]:
        """The keys that are headers', with the name of each and how its value is shown."""
        names = [(key, *self.environ[key]) for key in shape if type(key) is str]
        found = [(key, name, way) for key, name, way in names if name]
        if len(shape) <= _KEYS and all(len(key) <= _KEY for key, _, _ in found):
            if len(self.shapes) >= _SHAPES:
                self.shapes.clear()
            self.shapes[shape] = found
        return found


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
    memory = _remembered(matchers)
    shape = tuple(environ)
    names = memory.shapes.get(shape)
    if names is None:
        names = memory.shaped(shape)
    found: Headers = Shown()
    room, many = _ROOM, len(names) > _FEW
    for key, name, way in names:
        text = environ[key]
        if not text or text.__class__ is not str:
            continue
        if way:
            if way == _SECRET:
                text = REDACTED
            elif way == _URL and ("@" in text or "=" in text):
                text = sanitize.url(text, memory.secret)
        if len(text) > KEYWORD:
            text = cut(text)
        if many:
            room -= len(text) + len(name)
            if room < 0:
                break
        found[name] = text
    return found


def of_pairs(pairs: Iterable[tuple[Any, Any]], matchers: tuple[Matcher, ...]) -> Headers:
    """Headers given as pairs of bytes (ASGI) or text (WSGI); a repeated one becomes a list.

    :param matchers: ``sanitize_field_names``.
    """
    memory = _remembered(matchers)
    names = memory.pairs
    found: Headers = Shown()
    room = _ROOM
    for key, value in pairs:
        name, way = names[key]
        text = value if value.__class__ is str else value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if way:
            if way == _SECRET:
                text = REDACTED
            elif way == _URL:
                text = sanitize.url(text, memory.secret)
            else:
                text = cookies.set_cookie(text, memory.secret)
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
