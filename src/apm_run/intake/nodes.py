"""The vocabulary of the tables in :mod:`apm_run.intake.schema`: what a JSON value may be. Data only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Node = Union[
        "Text", "Whole", "Number", "Flag", "Time", "Anything", "TextOrWhole", "TextOrMap",
        "Headers", "Labels", "FreeMap", "MapOf", "ListOf", "Record",
    ]  # fmt: skip


class _Field:
    __slots__ = ("required",)

    def __init__(self, required: bool = False) -> None:
        self.required = required


class Text(_Field):
    """A string of at most ``limit`` code points (0: any) made of ``alphabet``, one of ``choices``."""

    __slots__ = ("alphabet", "choices", "least", "limit")

    def __init__(
        self,
        limit: int = 0,
        required: bool = False,
        least: int = 0,
        alphabet: frozenset[str] | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        super().__init__(required)
        self.limit = limit
        self.least = least
        self.alphabet = alphabet
        self.choices = choices


class Whole(_Field):
    """A JSON integer of 64 bits: ``5.0`` is none (the server decodes into Go integers)."""

    __slots__ = ("least",)

    def __init__(self, required: bool = False, least: int | None = None) -> None:
        super().__init__(required)
        self.least = least


class Number(Whole):
    """Any finite JSON number."""

    __slots__ = ()


class Flag(_Field):
    """A JSON boolean."""

    __slots__ = ()


class Time(_Field):
    """Microseconds since the epoch as an integer, or an RFC 3339 string."""

    __slots__ = ()


class Anything(_Field):
    """Any JSON value."""

    __slots__ = ()


class TextOrWhole(_Field):
    """A keyword string or an integer; with ``numeric`` the string must be a decimal integer."""

    __slots__ = ("numeric",)

    def __init__(self, numeric: bool = False) -> None:
        super().__init__()
        self.numeric = numeric


class TextOrMap(_Field):
    """A string or an object."""

    __slots__ = ()


class Headers(_Field):
    """An object whose values are strings or arrays of strings."""

    __slots__ = ()


class Labels(_Field):
    """An object whose values are keyword strings, booleans, numbers or null."""

    __slots__ = ()


class FreeMap(_Field):
    """An object with any values."""

    __slots__ = ()


class MapOf(_Field):
    """An object whose values follow ``item`` and whose keys have no character of ``forbidden``."""

    __slots__ = ("forbidden", "item")

    def __init__(self, item: Node, required: bool = False, forbidden: str = "") -> None:
        super().__init__(required)
        self.item = item
        self.forbidden = forbidden


class ListOf(_Field):
    """An array whose elements follow ``item``."""

    __slots__ = ("item",)

    def __init__(self, item: Node) -> None:
        super().__init__()
        self.item = item


class Record(_Field):
    """An object with known fields.

    It counts as set when one of its known fields is set; only then its own conditions hold (so ``{}`` is as
    good as absent). ``any_of``: one of these must be set. ``needs``: (field, others): required when one of
    the others is set.
    """

    __slots__ = ("any_of", "fields", "needs")

    def __init__(
        self,
        fields: dict[str, Any],
        required: bool = False,
        any_of: tuple[str, ...] = (),
        needs: tuple[tuple[str, tuple[str, ...]], ...] = (),
    ) -> None:
        super().__init__(required)
        self.fields = fields
        self.any_of = any_of
        self.needs = needs


def each(names: str, node: Any) -> dict[str, Any]:
    """Return the same node for each of the space-separated names."""
    return dict.fromkeys(names.split(), node)


def records(fields: dict[str, Any], **conditions: Any) -> ListOf:
    """Return an array of records; an element that is not set is an error, so it is marked as required."""
    return ListOf(Record(fields, required=True, **conditions))
