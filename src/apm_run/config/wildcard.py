"""Wildcard patterns of options such as ``sanitize_field_names`` (spec.md section 22).

Only ``*`` is special: any number of any characters, line breaks included. The whole text has to match. Case
is ignored unless the pattern begins with ``(?-i)``. Written with methods of ``str``, which are faster than
:mod:`re` here, cannot backtrack, and cost no import.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_EXACT = "(?-i)"


class Matcher:
    """One compiled pattern."""

    __slots__ = ("_exact", "_head", "_least", "_middle", "_tail", "pattern")

    def __init__(self, pattern: str) -> None:
        """:param pattern: the pattern as the user wrote it; it stays readable as :attr:`pattern`."""
        self.pattern = pattern
        self._exact = pattern.startswith(_EXACT)
        parts = pattern[len(_EXACT) :].split("*") if self._exact else pattern.lower().split("*")
        self._head = parts[0]
        self._tail = parts[-1] if len(parts) > 1 else None
        self._middle = tuple(part for part in parts[1:-1] if part)
        self._least = len(self._head) + len(self._tail or "")

    def match(self, text: str) -> bool:
        """Whether the whole of ``text`` matches."""
        return self._match(text if self._exact else text.lower())

    def _match(self, text: str) -> bool:
        if self._tail is None:
            return text == self._head
        if len(text) < self._least or not text.startswith(self._head) or not text.endswith(self._tail):
            return False
        start = len(self._head)
        end = len(text) - len(self._tail)
        for part in self._middle:
            found = text.find(part, start, end)
            if found < 0:
                return False
            start = found + len(part)
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Matcher({self.pattern!r})"


def any_match(matchers: Iterable[Matcher], text: str) -> bool:
    """Whether one of ``matchers`` matches the whole of ``text`` (lower-cases it only once)."""
    lower = text.lower()
    for matcher in matchers:  # noqa: SIM110 (a generator would cost more than the matching)
        if matcher._match(text if matcher._exact else lower):
            return True
    return False
