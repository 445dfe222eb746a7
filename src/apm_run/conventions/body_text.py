"""Bodies of requests as text and as fields, whole or cut off, without what their names say is secret (spec 22)."""

from __future__ import annotations

import re
from _json import scanstring

from apm_run.sanitize import REDACTED, is_key, unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from apm_run.sanitize import Names

#: Bounded in time for any text, as all expressions here: the client writes it.
_PARAMETER = re.compile(r"""(?:^|[;\s])([\w-]+\*?)=("(?:[^"\\]|\\.)*"?|[^;\s]*)""")
#: Encodings that bodies come in; Python has others, some of which take their time.
_CHARSET = re.compile(r"(?i)utf-?(8|16|32)|us-ascii|ascii|latin-?1|iso-8859-|windows-12|cp12|shift|euc|gb|big5|koi8")
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
#: A token of JSON, a string that was cut off too; what closes a string is the second group.
_TOKEN = re.compile(r"""[ \t\r\n\ufeff]*("(?:[^"\\]|\\.)*(?:\\?$|("))|[{}\[\]:,]|[\w.+-]+)""", re.DOTALL)
#: What may come next.
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _AFTER, _WRONG = range(7)


def parameter(text: str, name: str) -> str:
    """A parameter of a header, ``charset`` of a content type say; empty where there is none."""
    for key, value in _PARAMETER.findall(text):
        if key.lower() == name:
            return re.sub(r"\\(.)", r"\1", value.strip('"')) if value[:1] == '"' else value
    return ""


def decoded(data: bytes, charset: str, whole: bool) -> str | None:
    """Bytes as text; None where they are none.

    :param whole: False where they may have been cut off in the middle of a character.
    """
    if charset and not _CHARSET.match(charset):
        return None
    try:
        text = data.decode(charset or "utf-8", "strict" if whole else "replace")
    except (LookupError, ValueError):
        return None
    return None if "\0" in text else text


def form(text: str, secret: Names) -> dict[str, Any]:
    """The fields of ``application/x-www-form-urlencoded``; one that comes several times is a list."""
    found: dict[str, Any] = {}
    for part in text.split("&"):
        name, _, value = part.partition("=")
        name = unquoted(name)
        if part:
            _put(found, name, REDACTED if is_key(name, secret) else unquoted(value))
    return found


def _put(found: dict[str, Any], name: str, value: str) -> None:
    before = found.get(name)
    if before is None:
        found[name] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        found[name] = [before, value]


def multipart(data: bytes, boundary: str, limit: int, secret: Names) -> dict[str, Any]:
    """The fields of ``multipart/form-data``; of files only the names, under ``_files``.

    :param limit: characters of all values together.
    """
    found: dict[str, Any] = {}
    files: dict[str, Any] = {}
    for head, content in _parts(data, boundary.encode("latin-1", "replace")):
        kind = disposition = ""
        for line in head.decode("utf-8", "replace").split("\n"):
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-disposition":
                disposition = value
            elif name.strip().lower() == "content-type":
                kind = value.strip().lower()
        name = parameter(disposition, "name")
        if not name or limit <= 0:
            continue
        file = parameter(disposition, "filename") or parameter(disposition, "filename*")
        shown = file or decoded(content[: limit * 4], "", whole=False) or ""
        if is_key(name, secret):
            shown = REDACTED
        elif not file and ("json" in kind or shown.lstrip()[:1] in ("{", "[")):
            sound = json(shown, secret)
            shown = sound if sound is not None else shown if not kind else REDACTED
        shown = shown[:limit]
        limit -= len(shown) + len(name)
        _put(files if file else found, name, shown)
    if files:
        found["_files"] = files
    return found


def _parts(data: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Head and content of each part; the last one may have been cut off."""
    for part in (b"\r\n" + data).split(b"\r\n--" + boundary)[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if separator and not part.startswith(b"--"):
            yield head, content


def json(text: str, secret: Names) -> str | None:
    """JSON, whole or cut off at any place, the values under secret names redacted at any depth.

    What is shown stays as it was sent. What is no JSON at all is not, since nobody knows what it holds.

    :returns: None for that.
    """
    out: list[str] = []
    written = at = level = 0
    hidden = -1  # where the value begins that is to be redacted
    state, key = _VALUE, ""
    around: list[str] = []
    while token := _TOKEN.match(text, at):
        word, at, before = token[1], token.end(), state
        state = _follow(state, word[0], around)
        if state == _WRONG:
            return None
        if state == _COLON:
            try:
                key = scanstring(word, 1, False)[0]
            except ValueError:
                if token[2]:  # not cut off, but wrong
                    return None
        elif before == _COLON and hidden < 0 and is_key(key, secret):
            hidden, level = _SPACE.match(text, at).end(), len(around)  # type: ignore[union-attr]
        elif state == _AFTER and hidden >= 0 and len(around) == level:
            out += (text[written:hidden], f'"{REDACTED}"')
            written, hidden = at, -1
    if text[at:].strip():
        return None
    if hidden >= 0:
        out += (text[written:hidden], f'"{REDACTED}"')
        written = len(text)
    return "".join([*out, text[written:]])


def _follow(state: int, mark: str, around: list[str]) -> int:
    """What may stand after a token of JSON, by its first character.

    :param around: the brackets that are to close what is open.
    """
    if mark in "}]":
        if not around or around[-1] != mark or state not in (_AFTER, _FIRST_KEY, _FIRST_VALUE):
            return _WRONG
        around.pop()
        return _AFTER
    if state in (_KEY, _FIRST_KEY):
        return _COLON if mark == '"' else _WRONG
    if state == _COLON:
        return _VALUE if mark == ":" else _WRONG
    if state == _AFTER and around:
        return _WRONG if mark != "," else _KEY if around[-1] == "}" else _VALUE
    if mark in "{[":
        around.append("}" if mark == "{" else "]")
        return _FIRST_KEY if mark == "{" else _FIRST_VALUE
    return _WRONG if mark in ":," else _AFTER
