"""What of a value is shown: never by running the program's code (spec 9, 22).

A ``__repr__`` may raise, block, recurse, ask a database, or evaluate what is lazy, and nothing can interrupt it. So
values of Python's own plain types are shown within the limits, and of all others the type.
"""

from __future__ import annotations

import sys
from _collections import deque  # type: ignore[import-not-found]
from itertools import islice

from apm_run import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from apm_run.config import Settings

#: Containers in containers; values in all of one event; variables of one frame; bits of a number.
_DEPTH = 4
_VALUES = 2000
_VARIABLES = 100
_BITS = 640
_INT64 = 1 << 63
#: They hold sessions under names of their own, so that the header as a whole is a secret.
_COOKIES = ("cookie", "Cookie", "HTTP_COOKIE")

_SCALARS: tuple[type, ...] = (str, int, float, bool, bytes, type(None), complex, range, type(...))
_SEQUENCES: tuple[type, ...] = (list, tuple, set, frozenset, deque)
#: Types of the standard library whose texts run none but its own code: only of modules that are loaded already.
_TEXTS = (
    ("_datetime", ("date", "timedelta", "timezone")),
    ("_decimal", ("Decimal",)),
    ("uuid", ("UUID",)),
    ("pathlib", ("PosixPath", "PurePosixPath")),
    ("pathlib._local", ("PosixPath", "PurePosixPath")),
)

_qualname = type.__dict__["__qualname__"].__get__
_module = type.__dict__["__module__"].__get__


def name_of(kind: type) -> tuple[str, str]:
    """Module and name of a type, whatever its metaclass makes of them; a local one without where it was made."""
    module = _module(kind)
    name: str = _qualname(kind)
    return module if isinstance(module, str) else "", name.rpartition("<locals>.")[2]


def type_of(value: object) -> str:
    """What stands for a value that is not shown."""
    module, name = name_of(type(value))
    return f"<{name}>" if module in ("builtins", "") else f"<{module}.{name}>"


def clean(text: str, secret: sanitize.Names) -> str:
    """A text without what its URLs and connection strings hold of secrets."""
    if "=" not in text and "@" not in text:
        return text
    if "=" in text and " " not in text and "?" not in text:
        text = sanitize.query(text, secret)
    elif "=" in text:
        text = " ".join([_clean_word(word, secret) for word in text.split(" ")])
    return sanitize.connection(text)


def _clean_word(word: str, secret: sanitize.Names) -> str:
    if "=" not in word:
        return word
    return sanitize.url(word, secret) if "?" in word else sanitize.query(word, secret) if "&" in word else word


def clean_source(line: str, secret: sanitize.Names) -> str:
    """A line of source without the literals that it gives to secret names, ``password = "..."`` say."""
    if '"' in line or "'" in line:
        import re

        line = re.sub(
            r"((\w+)[\"']?\]?\s*(?:[:=]|:[^=]*=)\s*[bBrRuUfF]*)([\"'])(?:\\.|(?!\3).)*(?:\3|$)",
            lambda found: f"{found[1]}{found[3]}{sanitize.REDACTED}{found[3]}" if secret[found[2]] else found[0],
            line,
        )
    return sanitize.connection(line) if "://" in line else line


class Values:
    """The values of one event; it runs out of room rather than make the event grow."""

    __slots__ = ("_items", "_keys", "_left", "_secret", "_text")

    def __init__(self, settings: Settings) -> None:
        """Begin with all the room there is."""
        self._text = settings.local_var_max_length
        self._items = settings.local_var_list_max_length
        self._keys = settings.local_var_dict_max_length
        self._secret = sanitize.names(settings.sanitize_field_names)
        self._left = _VALUES

    def variables(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """The local variables of a frame."""
        self._left -= len(namespace)
        of, named = self.of, self._is_secret
        return {
            name: sanitize.REDACTED if named(name) else of(value, 0)
            for name, value in islice(namespace.items(), _VARIABLES)
        }

    def _is_secret(self, name: str) -> bool:
        return self._secret[name] or name in _COOKIES

    def of(self, value: object, depth: int = 0) -> Any:
        """A value as it is shown."""
        kind = type(value)
        if kind is str:
            text: Any = value
            simple = len(text) <= self._text and "=" not in text and "@" not in text
            return text if simple else self.cut(text[: self._text + 1])
        if value is None or kind is bool or (kind is int and -_INT64 <= value < _INT64):  # type: ignore[operator]
            return value
        try:
            return self._shown(value, kind, depth) if self._left > 0 else "\u2026"
        except Exception:  # changed by another thread meanwhile
            return type_of(value)

    def _shown(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, str):
            return self.cut(str.__getitem__(value, slice(self._text + 1)))
        if issubclass(kind, int):
            return _number(int.__add__(value, 0))
        if issubclass(kind, float):
            return _number(float.__add__(value, 0.0))
        if issubclass(kind, (bytes, bytearray)):
            base: Any = bytes if issubclass(kind, bytes) else bytearray
            head = bytes(base.__getitem__(value, slice(self._text + 1))).decode("latin-1")
            return self.cut(repr(clean(head, self._secret).encode("latin-1")))
        if issubclass(kind, dict):
            return self._mapping(value, depth)
        for base in _SEQUENCES:
            if issubclass(kind, base):
                return self._sequence(base, value, depth)
        return self.cut(str(value)) if has_text(value) else _described(value)

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        size = dict.__len__(value)
        if depth >= _DEPTH:
            return f"<dict of {size}>"
        found = {}
        self._left -= min(size, self._keys)
        for key, item in list(islice(dict.items(value), self._keys)):
            name = _name(key)
            secret = self._is_secret(name)
            found[self.cut(name)] = sanitize.REDACTED if secret else self.of(item, depth + 1)
        if size > self._keys:
            found["\u2026"] = f"{size - self._keys} more"
        return found

    def _sequence(self, base: Any, value: Any, depth: int) -> Any:
        size = base.__len__(value)
        if depth >= _DEPTH:
            return f"<{base.__name__} of {size}>"
        items = list(islice(base.__iter__(value), self._items))
        self._left -= len(items)
        if len(items) == size == 2 and type(items[0]) in (str, bytes):
            # A header, a form field, a parameter.
            secret = self._is_secret(_name(items[0]))
            return [self.of(items[0], depth + 1), sanitize.REDACTED if secret else self.of(items[1], depth + 1)]
        found = [self.of(item, depth + 1) for item in items]
        if size > self._items:
            found.append(f"\u2026 {size - self._items} more")
        return found

    def cut(self, text: str) -> str:
        """A text within the limit, without secrets of URLs in it."""
        text = clean(text, self._secret)
        return text if len(text) <= self._text else f"{text[: max(self._text - 1, 0)]}\u2026"[: self._text]


def _name(key: object) -> str:
    """The key of a dictionary as a name."""
    if issubclass(type(key), str):
        return str.__str__(key)
    if type(key) is bytes:
        return key[:200].decode("latin-1")
    return str(key) if type(key) in _SCALARS or has_text(key) else type_of(key)


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if -_INT64 <= value < _INT64:
        return value
    bits = value.bit_length()
    return repr(value) if bits <= _BITS else f"<int of {bits} bits>"


def has_text(value: object) -> bool:
    """Whether the text of a value can be had without running the program's code."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    for name, kinds in _TEXTS:
        module = sys.modules.get(name)
        if module is not None and any(kind is module.__dict__.get(each) for each in kinds):
            return True
    module = sys.modules.get("_datetime")
    if module is not None and kind in (module.__dict__.get("datetime"), module.__dict__.get("time")):
        return value.tzinfo is None or type(value.tzinfo) is module.__dict__.get("timezone")  # type: ignore[attr-defined]
    return False


def is_plain(value: object, depth: int = 0) -> bool:
    """Whether a value and all that is in it has a text that runs none of the program's code."""
    kind = type(value)
    if kind is dict:
        items: Iterator[object] = iter((*value.keys(), *value.values()))  # type: ignore[attr-defined]
    elif kind in _SEQUENCES:
        items = iter(value)  # type: ignore[call-overload]
    else:
        return has_text(value)
    return depth < 2 * _DEPTH and len(value) <= _VALUES and all(is_plain(item, depth + 1) for item in items)  # type: ignore[arg-type]


def _described(value: Any) -> str:
    kind = type(value)
    if kind is type(_described):
        return f"<function {value.__qualname__}>"
    if kind is type(sys):
        return f"<module {value.__dict__.get('__name__')!s}>"
    if issubclass(kind, type):
        return "<class {}.{}>".format(*name_of(value))
    return type_of(value)
