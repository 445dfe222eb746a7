"""The signature of an SQL statement, used as the span's name (spec 21).

A scanner, not a parser: it knows identifiers, strings, comments and a dozen keywords of any dialect. It reads at
most :data:`LIMIT` characters, each a bounded number of times, and at most :data:`STEPS` tokens.
"""

from __future__ import annotations

from itertools import repeat

from apm_run.intake.limits import cut as cut_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tokens = Iterator[tuple[str, str]]

#: So many characters of a statement are read; it is also what is reported of it (spec 2).
LIMIT = 10_000
#: So many tokens and comments are looked at, and so many quotes and comments inside of one: what has told nothing by
#: then may be a megabyte of noise, which shall not cost the program a millisecond.
STEPS = 1200

_IDENT, _STRING, _NUMBER, _OTHER, _CUT = "ident", "string", "number", "other", "cut"
_LPAREN, _RPAREN, _PERIOD = "(", ")", "."
_KEYWORDS = frozenset(
    ("ALTER", "AS", "CALL", "DELETE", "FROM", "INSERT", "INTO", "OR", "REPLACE", "SELECT", "SET", "TABLE", "TRUNCATE")
) | {"UPDATE"}
_QUOTES = {"`": "`", '"': '"', "[": "]"}


def signature(sql: str) -> str:
    """``SELECT FROM table``, ``INSERT INTO table`` and so on; the verb alone on any doubt, ``""`` for a blank one."""
    tokens = _tokens(sql[:LIMIT], len(sql) > LIMIT)
    kind, text = next(tokens, (_OTHER, ""))
    verb = text.upper()
    rule = _RULES.get(kind)
    name = rule(tokens) if rule is not None else None
    # The span's name as it is sent.
    return cut_name(f"{verb} {name}" if name else verb)


# The rules: what follows the verb, or None


def _select(tokens: Tokens) -> str | None:
    level = 0
    for kind, _ in tokens:
        if kind == _LPAREN:
            level += 1
        elif kind == _RPAREN:
            level -= 1
        elif kind == "FROM" and level == 0:
            return _prefixed("FROM", tokens)
    return None


def _delete(tokens: Tokens) -> str | None:
    kind, _ = next(tokens, (_OTHER, ""))
    return _prefixed("FROM", tokens) if kind == "FROM" else None


def _insert(tokens: Tokens) -> str | None:
    for kind, _ in tokens:
        if kind == "INTO":
            return _prefixed("INTO", tokens)
    return None


def _update(tokens: Tokens) -> str | None:
    """The last name before what is no name: the ones before it are options (``IGNORE``, ``ONLY``, ``OR REPLACE``)."""
    name: str | None = None
    before = ""
    for kind, text in tokens:
        if kind == _IDENT:
            name = f"{name}.{text}" if before == _PERIOD and name else text
        elif kind == _CUT:
            return None
        elif kind not in (_PERIOD, "OR") and not (kind == "REPLACE" and before == "OR"):
            break
        before = kind
    return name


def _name(tokens: Tokens) -> str | None:
    """A table's name, its parts joined with dots; None where there is none, or it may go on where the text was cut."""
    kind, name = next(tokens, (_OTHER, ""))
    if kind != _IDENT:
        return None
    kind, _ = next(tokens, (_OTHER, ""))
    while kind == _PERIOD:
        kind, text = next(tokens, (_OTHER, ""))
        if kind != _IDENT:
            break
        name = f"{name}.{text}"
        kind, _ = next(tokens, (_OTHER, ""))
    return None if kind == _CUT else name


def _prefixed(keyword: str, tokens: Tokens) -> str | None:
    name = _name(tokens)
    return f"{keyword} {name}" if name else None


_RULES: dict[str, Callable[[Tokens], str | None]] = {
    "SELECT": _select,
    "DELETE": _delete,
    "INSERT": _insert,
    "REPLACE": _insert,
    "UPDATE": _update,
    "CALL": _name,
}


# The scanner


def _tokens(sql: str, cut: bool) -> Tokens:
    """Kind and text of each token, without comments and white space; last of all ``cut`` where there is more text."""
    at, end = 0, len(sql)
    for _ in repeat(None, STEPS):
        while at < end and sql[at].isspace():
            at += 1
        if at >= end:
            break
        start, char = at, sql[at]
        if char.isalpha() or char == "_":
            at = _word(sql, at + 1, end)
            text = sql[start:at]
            upper = text.upper()
            yield (upper if upper in _KEYWORDS else _IDENT), text
        elif char in "().":
            at += 1
            yield char, char
        elif char in _QUOTES:
            kind, text, at = _quoted(sql, at, _QUOTES[char])
            yield kind, text
        elif char in "-/" and sql.startswith(char, at + 1):
            at = _after(sql, "\n", at, end)
        elif char == "/" and sql.startswith("/*", at):
            at = _comment(sql, at + 2, end)
        else:
            kind, at = _literal(sql, char, at, end)
            yield kind, sql[start:at]
    if cut or at < end:
        yield _CUT, ""


def _literal(sql: str, char: str, at: int, end: int) -> tuple[str, int]:
    if char == "'":
        return _STRING, _string(sql, at + 1, end)
    if char == "$":
        return _dollar(sql, at, end)
    if char.isdecimal():
        return _NUMBER, _number(sql, at + 1, end)
    return _OTHER, at + 1


def _word(sql: str, at: int, end: int) -> int:
    while at < end and (sql[at].isalnum() or sql[at] in "_$"):
        at += 1
    return at


def _after(sql: str, what: str, at: int, end: int) -> int:
    found = sql.find(what, at)
    return end if found < 0 else found + len(what)


def _quoted(sql: str, start: int, quote: str) -> tuple[str, str, int]:
    """A quoted identifier; ``""`` inside stands for one quote and is kept as it is written."""
    at = start + 1
    for _ in repeat(None, STEPS):
        found = sql.find(quote, at)
        if found < 0:
            break
        if quote == '"' and sql.startswith('""', found):
            at = found + 2
            continue
        return _IDENT, sql[start + 1 : found], found + 1
    return _OTHER, sql[start:], len(sql)


def _string(sql: str, at: int, end: int) -> int:
    """The end of a string; ``''`` and a character after a backslash belong to it."""
    find = sql.find
    escape = find("\\", at)
    for _ in repeat(None, STEPS):
        quote = find("'", at)
        if 0 <= escape < quote or (quote < 0 <= escape):
            at = escape + 2
            escape = find("\\", at)
        elif quote < 0:
            return end
        elif quote + 1 < end and sql[quote + 1] == "'":
            at = quote + 2
        else:
            return quote + 1
    return end


def _comment(sql: str, at: int, end: int) -> int:
    """The end of a comment that others may be nested in."""
    opening, closing, depth = sql.find("/*", at), sql.find("*/", at), 1
    while depth:
        if closing < 0 or depth > STEPS:
            return end
        if 0 <= opening < closing:
            depth, at = depth + 1, opening + 2
            opening = sql.find("/*", at)
            if closing < at:
                closing = sql.find("*/", at)
        else:
            depth, at = depth - 1, closing + 2
            closing = sql.find("*/", at)
            if 0 <= opening < at:
                opening = sql.find("/*", at)
    return at


def _dollar(sql: str, start: int, end: int) -> tuple[str, int]:
    """``$tag$ ... $tag$``; without its end, and for ``$1``, everything up to the next white space."""
    at = start + 1
    if at < end and not sql[at].isdecimal():
        at = _tag(sql, at, end)
        if at < end and sql[at] == "$":
            tag = sql[start : at + 1]
            found = sql.find(tag, at + 1)
            if found >= 0:
                return _STRING, found + len(tag)
    at = start + 1
    while at < end and not sql[at].isspace():
        at += 1
    return _OTHER, at


def _tag(sql: str, at: int, end: int) -> int:
    while at < end and (sql[at].isalnum() or sql[at] == "_"):
        at += 1
    return at


def _number(sql: str, at: int, end: int) -> int:
    """The end of a number: digits, one period, one exponent."""
    period = exponent = False
    while at < end:
        char = sql[at]
        if char == "." and not period and not exponent:
            period = True
        elif char in "eE" and not exponent:
            exponent = True
            if at + 1 < end and sql[at + 1] in "+-":
                at += 1
        elif not char.isdecimal():
            break
        at += 1
    return at
