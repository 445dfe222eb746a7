"""What psycopg2 and psycopg have in common: composed statements, and how connections are asked for.

Statements are put together here, and not by the library: that would run adapters of the program's, twice.
"""

from __future__ import annotations

from apm_run.conventions import database
from apm_run.conventions.sql import LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from apm_run.model import Call, SpanDraft

    Describe = Callable[[Call], "SpanDraft | None"]

_TEMPLATE = "string.templatelib"
_MODULES = ("psycopg.sql", "psycopg2.sql", _TEMPLATE)
_DEEP = 20
_PAIR = r"(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))"
_KEYS = {"database": "dbname", "hostaddr": "host"}


class Driver:
    """What is reported of the calls of one driver."""

    __slots__ = ("_first", "_library", "_place")

    def __init__(self, library: str, place: Callable[[Any], database.Place], first: int) -> None:
        """Say what is special of it.

        :param place: where a connection leads. :param first: the position of the connection string of ``connect``.
        """
        self._library = library
        self._place = place
        self._first = first

    def statement(self, name: str) -> Describe:
        """The span of a cursor's call with a statement as the argument of this name."""

        def describe(call: Call) -> SpanDraft | None:
            return database.executed("postgresql", text(call.argument(1, name)), self._place(call.instance.connection))

        return describe

    def procedure(self, call: Call) -> SpanDraft | None:
        """The span of a ``callproc``."""
        return database.procedure("postgresql", call.argument(1, "procname"), self._place(call.instance.connection))

    def connect(self, call: Call) -> SpanDraft:
        """The span of making a connection."""
        asked = call.args[self._first] if len(call.args) > self._first else call.kwargs.get("dsn")
        return database.connect(self._library, "postgresql", place(asked or call.kwargs.get("conninfo"), call.kwargs))

    def connected(self, call: Call, result: object, draft: SpanDraft) -> None:
        """Where the connection leads."""
        if not isinstance(result, BaseException):
            database.connected(draft, self._place(result))


def text(query: Any) -> str | None:
    """A statement as text: a string, bytes, an ``sql.Composed`` or a template string."""
    found = database.text(query)
    if found is not None or _kind(query) is None:
        return found
    parts: list[str] = []
    length = 0
    for part in _parts(query, _DEEP):
        parts.append(part)
        length += len(part)
        if length > LIMIT:
            break
    return "".join(parts)


def _kind(item: Any) -> type | None:
    """The class of a driver's, or of the standard library's, that something is of or derived from."""
    for kind in type(item).__mro__:
        if kind.__module__ in _MODULES:
            return kind
    return None


def _parts(item: Any, deep: int) -> Iterator[str]:
    kind = _kind(item)
    if kind is None:
        yield _value(item)
        return
    if kind.__module__ == _TEMPLATE:
        for part in item if deep else ():
            yield from (part,) if type(part) is str else _interpolated(part, deep - 1)
        return
    held = getattr(item, "_wrapped" if kind.__module__ == "psycopg2.sql" else "_obj", None)
    if kind.__name__ == "SQL" and type(held) is str:
        yield held
    elif kind.__name__ == "Identifier" and type(held) is tuple:
        yield ".".join(_identifier(name) for name in held)
    elif kind.__name__ == "Literal":
        yield _value(held)
    elif kind.__name__ == "Placeholder":
        yield f"%({held})s" if type(held) is str and held else "%s"
    elif kind.__name__ == "Composed" and type(held) is list and deep:
        for part in held:
            yield from _parts(part, deep - 1)
    else:
        yield "?"


def _interpolated(part: Any, deep: int) -> Iterator[str]:
    """What stands in the braces of a template string: a parameter, if nothing else is asked for."""
    value, form = getattr(part, "value", None), getattr(part, "format_spec", "")
    if form == "i" and type(value) is str:
        yield _identifier(value)
    elif form == "l":
        yield _value(value)
    elif _kind(value) is not None:
        yield from _parts(value, deep)
    else:
        yield "%s"


def _identifier(name: object) -> str:
    return '"{}"'.format(name.replace('"', '""')) if type(name) is str else "?"


def _value(value: object) -> str:
    """A literal; what is of a type of its own, or of the program's, is not looked into."""
    if type(value) is str:
        return "'{}'".format(value[: LIMIT + 1].replace("'", "''"))
    if value is None:
        return "NULL"
    return str(value) if type(value) in (int, float, bool) else "?"


def place(conninfo: object, arguments: Mapping[str, Any]) -> database.Place:
    """Where a connection string and keyword arguments lead, as far as they say so."""
    facts: dict[str, Any] = {}
    if type(conninfo) is str:
        facts.update(_url(conninfo) if "://" in conninfo[:16] else _pairs(conninfo))
    facts.update({_KEYS.get(name, name): value for name, value in arguments.items() if value is not None})
    port = facts.get("port")
    if type(port) is str and port.isdecimal() and len(port) < 6:
        port = int(port)
    return database.Place(facts.get("dbname"), facts.get("user"), facts.get("host"), port)


def reached(connection: Any) -> database.Place:
    """Where a connection of asyncpg leads."""
    address, parameters = getattr(connection, "_addr", None), getattr(connection, "_params", None)
    host, port = address[:2] if type(address) is tuple else (None, None)
    return database.Place(getattr(parameters, "database", None), getattr(parameters, "user", None), host, port)


def status(call: Call, result: object, draft: SpanDraft) -> None:
    """The number of rows at the end of the server's own word on a statement, such as ``INSERT 0 5``."""
    last = result.rpartition(" ")[2] if type(result) is str else ""
    if last.isdecimal():
        database.affected(draft, int(last))


def _pairs(conninfo: str) -> dict[str, str]:
    import re

    found = {name: quoted or plain for name, quoted, plain in re.findall(_PAIR, conninfo)}
    return {_KEYS.get(name, name): re.sub(r"\\(.)", r"\1", value) for name, value in found.items()}


def _url(conninfo: str) -> dict[str, str]:
    before, _, query = conninfo.partition("://")[2].partition("?")
    authority, _, name = before.partition("/")
    login, _, server = authority.rpartition("@")
    host, _, port = server.rpartition(":") if server.rpartition(":")[2].isdecimal() else (server, "", "")
    facts = {"dbname": name, "user": login.partition(":")[0], "host": host.strip("[]"), "port": port}
    facts.update(pair.partition("=")[::2] for pair in query.split("&") if "=" in pair)
    return {key: value for key, value in facts.items() if value and "%" not in value}
