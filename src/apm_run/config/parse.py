"""The types of option values: from the text of an environment variable, or a TOML value, to a typed value.

The forms are those of spec.md section 4. A :class:`Kind` refuses a bad value with :class:`ValueError`; its
text continues a sentence ("is not a number from 0 to 1").
"""

from __future__ import annotations

from apm_run.config.wildcard import Matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: What no option needs to exceed; it keeps integers within what sockets, clocks and the wire can take.
_LARGEST = 2**31 - 1
_DAY = 86_400.0
_SCHEMES = {"http": 80, "https": 443}


class Kind:
    """A type of option values.

    :ivar label: the type, as the documentation names it.
    :ivar wants: what a value has to be, completing "is not ...".
    :ivar many: whether the value is a collection, so that an empty text means an empty one and not "unset".
    """

    __slots__ = ("_convert", "label", "many", "wants")

    def __init__(self, label: str, wants: str, convert: Callable[[Any], object], many: bool = False) -> None:
        self.label = label
        self.wants = wants
        self.many = many
        self._convert = convert

    def parse(self, raw: object) -> Any:
        """Return the typed value.

        :param raw: a text (surrounding white space does not count), or a value as TOML has them.
        :raises ValueError: with the reason, as "is not ...", if it is not a value of this type.
        """
        try:
            return self._convert(raw if self.many and isinstance(raw, (list, dict)) else _text(raw))
        except (ValueError, KeyError):
            raise ValueError(f"is not {self.wants}") from None


def _text(raw: object) -> str:
    if isinstance(raw, str):
        return raw.strip()
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, (int, float)):
        return repr(raw)
    raise ValueError


def _whole(text: str) -> int:
    """Read decimal ASCII digits after an optional minus; ``int()`` would take other digits and ``_`` too."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise ValueError
    return int(text)


def _within(value: Any, low: float | None, high: float | None) -> Any:
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError
    return value


def _range(low: object, high: object) -> str:
    return f" from {low} to {high}" if high is not None else "" if low is None else f" of {low} or more"


def boolean() -> Kind:
    """``true`` or ``false``, in any case."""

    def convert(text: str) -> bool:
        return {"true": True, "false": False}[text.lower()]

    return Kind("boolean", "true or false", convert)


def integer(low: int | None = None, high: int | None = None) -> Kind:
    """A whole number."""
    return Kind(
        "integer",
        f"a whole number{_range(low, high)}",
        lambda text: _within(_whole(text), -_LARGEST if low is None else low, _LARGEST if high is None else high),
    )


def _finite(text: str) -> float:
    if not text.isascii() or "_" in text:
        raise ValueError
    value = float(text)
    if value - value != 0.0:  # infinities and NaN
        raise ValueError
    return value


def sample_rate() -> Kind:
    """A rate rounded to four decimals, half away from zero; what is above 0 stays above (spec.md 4.2)."""

    def convert(text: str) -> float:
        rate = _within(_finite(text), 0.0, 1.0)
        if 0.0 < rate < 0.0001:
            return 0.0001
        # The shifted text and not `rate * 10_000`, which would make 1.4999999999999998 of 0.00015.
        return int(float(f"{rate!r}e4") + 0.5) / 10_000

    return Kind("number", "a number from 0 to 1", convert)


def text() -> Kind:
    """Any text without control characters."""

    def convert(value: str) -> str:
        if any(not char.isprintable() for char in value):
            raise ValueError
        return value

    return Kind("string", "a text of printable characters", convert)


def credential() -> Kind:
    """What goes into an HTTP header as it is: printable ASCII, since other letters have no agreed encoding there."""

    def convert(value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise ValueError
        return value

    return Kind("string", "a text of printable ASCII characters", convert)


def path() -> Kind:
    """The path of a file that may not exist yet."""

    def convert(value: str) -> str:
        if "\0" in value:
            raise ValueError
        return value

    return Kind("path", "a path", convert)


def readable_file() -> Kind:
    """The path of a file that this process can read now."""

    def convert(value: str) -> str:
        import os

        if not os.path.isfile(value) or not os.access(value, os.R_OK):
            raise ValueError
        return value

    return Kind("path", "a file that can be read", convert)


def url() -> Kind:
    """An http or https URL with a host; trailing slashes do not count. Userinfo is allowed."""

    def convert(value: str) -> str:
        value = value.rstrip("/")
        split_url(value)
        return value

    return Kind("URL", "an http or https URL with a host, such as http://apm:8200, and without a query", convert)


def split_url(value: str) -> tuple[str, str, int, str]:
    """Split a server URL into (scheme, host, port, path); the path is empty or begins with a slash.

    The host of an IPv6 address comes without brackets; userinfo is left out.

    :raises ValueError: if it is not an http or https URL with a host, or if it has a query or fragment.
    """
    scheme, separator, rest = value.partition("://")
    scheme = scheme.lower()
    if (
        not separator
        or scheme not in _SCHEMES
        or any(not "!" <= char <= "~" or char in '"<>\\^`{|}?#' for char in rest)
    ):
        raise ValueError("is not an http or https URL with a host")
    netloc, slash, tail = rest.partition("/")
    host, port = _host_port(netloc.rpartition("@")[2])
    if not host or not (port == "" or port.isdigit()):
        raise ValueError("is not an http or https URL with a host")
    number = _within(_whole(port), 1, 65_535) if port else _SCHEMES[scheme]
    return scheme, host, number, slash + tail


def _host_port(netloc: str) -> tuple[str, str]:
    if netloc.startswith("["):
        host, bracket, after = netloc[1:].partition("]")
        known = bracket and ":" in host and all(char in "0123456789abcdefABCDEF:.%" for char in host)
        if not known or (after and not after.startswith(":")):
            return "", ""
        return host, after[1:]
    host, _, port = netloc.partition(":")
    if any(not (char.isalnum() or char in "-._~%!$&'()*+,;=") for char in host):
        return "", ""
    return host, port


def without_secrets(value: str) -> str:
    """Return ``value`` with what stands before the host of a URL, and in its query, replaced by ``[REDACTED]``."""
    at = value.rfind("@")
    if at >= 0:
        scheme, separator, _ = value[:at].partition("://")
        value = f"{scheme if separator else ''}{separator}[REDACTED]{value[at:]}"
    rest, query, _ = value.partition("?")
    return f"{rest}?[REDACTED]" if query else value


def choice(names: tuple[str, ...], aliases: dict[str, str] | None = None) -> Kind:
    """One of ``names``, in any case."""
    known = {**{name: name for name in names}, **(aliases or {})}
    return Kind(
        "one of " + ", ".join(f"`{name}`" for name in names),
        "one of " + ", ".join(names),
        lambda value: known[value.lower()],
    )


_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def milliseconds(low: float | None = None, granular: bool = False, bare: bool = False) -> Kind:
    """A duration, as float milliseconds.

    :param low: the shortest, in milliseconds; None allows negative ones.
    :param granular: whether microseconds (``us``) are a unit too.
    :param bare: whether a number without unit is taken as milliseconds, as older agents do.
    """
    units = {"us": 0.001, **_MS} if granular else {**_MS, "": 1.0} if bare else _MS
    sign = "" if low is None else " that is not negative"
    return Kind(
        "granular duration" if granular else "duration",
        f"a duration such as {'500us or ' if granular else ''}5ms{sign}",
        lambda value: _within(_with_unit(value, units), low, _DAY * 1_000),
    )


def seconds(bare: bool = False) -> Kind:
    """A duration above zero and up to a day, as float seconds.

    :param bare: whether a number without unit is taken as seconds, as the official agent for Python does for
        its oldest options.
    """
    units = {**_SECONDS, "": 1.0} if bare else _SECONDS
    return Kind(
        "duration",
        "a duration such as 5s, from 1ms to 1440m",
        lambda value: _within(_with_unit(value, units), 0.001, _DAY),
    )


def interval() -> Kind:
    """A time between two reports, as float seconds: nothing below a second, 0 for none at all."""

    def convert(value: str) -> object:
        found = _with_unit(value, {**_SECONDS, "": 1.0} if value.strip() == "0" else _SECONDS)
        return found if found == 0 else _within(found, 1.0, _DAY)

    return Kind("duration", "a duration such as 30s, from 1s to 1440m, or 0s", convert)


def _with_unit(value: str, units: dict[str, float]) -> float:
    number = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = units.get(value[len(number) :])
    if factor is None:
        raise ValueError
    return _whole(number) * factor


_SIZES = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def size() -> Kind:
    """A size with its unit in any case (multiples of 1024), as bytes; at least one byte."""

    def convert(value: str) -> object:
        value = value.lower()
        number = value.rstrip("bgkm")
        return _within(_whole(number) * _SIZES[value[len(number) :]], 1, _LARGEST)

    return Kind("size", "a size such as 768kb, from 1b to less than 2gb", convert)


def _items(raw: object) -> list[str]:
    if isinstance(raw, str):
        items = raw.split(",")
    elif isinstance(raw, list):
        items = [_text(item) for item in raw]
    else:
        raise ValueError
    return [item for item in (item.strip() for item in items) if item]


def wildcards() -> Kind:
    """Wildcard patterns, separated by commas: a tuple of :class:`~apm_run.config.wildcard.Matcher`."""
    return Kind(
        "list of wildcards",
        "a list of wildcards",
        lambda raw: tuple([Matcher(item) for item in _items(raw)]),
        many=True,
    )


def patterns() -> Kind:
    """Regular expressions, separated by commas: a tuple of compiled ones. What has none imports no :mod:`re`."""

    def convert(raw: object) -> tuple[Any, ...]:
        items = _items(raw)
        if not items:
            return ()
        import re
        import warnings

        try:
            with warnings.catch_warnings():  # what re may change one day is no business of the program's
                warnings.simplefilter("ignore")
                return tuple([re.compile(item) for item in items])
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError from error

    return Kind("list of regular expressions", "a list of regular expressions", convert, many=True)


def mapping() -> Kind:
    """Pairs ``key=value``, separated by commas: a dict of texts."""

    def convert(raw: object) -> dict[str, str]:
        pairs: dict[str, str] = {}
        if isinstance(raw, dict):
            pairs = {str(key): _text(value) for key, value in raw.items()}
        else:
            for item in _items(raw):
                key, separator, value = item.partition("=")
                if not separator:
                    raise ValueError
                pairs[key.strip()] = value.strip()
        if "" in pairs:
            raise ValueError
        return pairs

    return Kind("mapping", "a mapping such as key=value,key2=value2", convert, many=True)
