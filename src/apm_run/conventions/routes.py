"""Routes that are written as regular expressions, as people would write them: ``^users/(?P<id>[0-9]+)/$``."""

from __future__ import annotations

#: What a group begins with that matches nothing by itself: assertions and comments.
_ASSERTIONS = ("?=", "?!", "?<=", "?<!", "?#")


def is_pattern(route: str) -> bool:
    """Whether a route is, in a part of it, a regular expression; parentheses alone may be meant as they are."""
    return route.endswith("$") or "^" in route or "(?" in route or "\\" in route


#: Patterns that were read before; a program has so many routes.
_MOST = 2000
_kept: dict[str, str] = {}


def plain(pattern: str) -> str:
    """A regular expression without its anchors, and with the names of its groups: ``users/<id>/``."""
    found = _kept.get(pattern)
    if found is None:
        found = _read(pattern)
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[pattern] = found
    return found


def _read(pattern: str) -> str:
    found, position = [], 0
    while position < len(pattern):
        letter = pattern[position]
        after = position + 1
        if letter == "\\":
            after += 1
            found.append(_escaped(pattern[position:after]))
        elif letter == "[":
            after = _end_of_set(pattern, position)
            found.append(pattern[position:after])
        elif letter == "(":
            after = _end_of_group(pattern, position)
            found.append(_group(pattern[position + 1 : after - 1]))
            while pattern[after : after + 1] in ("*", "+"):
                after += 1
        elif letter not in "^$?":
            found.append(letter)
        position = after
    return "".join(found)


def _escaped(pair: str) -> str:
    """An escaped character: itself; a class such as ``\\d`` stays, and a border of words or of the text is nothing."""
    letter = pair[1:]
    if not letter.isalnum():
        return letter
    return "" if letter in "AZbB" else pair


def _group(inside: str) -> str:
    if inside.startswith("?P<"):
        return inside[2 : inside.find(">") + 1]
    if inside.startswith(_ASSERTIONS):
        return ""
    if inside.startswith("?"):  # a group that captures nothing, or flags alone
        return _read(inside.partition(":")[2])
    return "<var>"


def _end_of_set(pattern: str, start: int) -> int:
    """The position behind a set, ``[^]/]`` say, which may hold what means something elsewhere."""
    position = start + 1
    while pattern[position : position + 1] == "^":
        position += 1
    position += 1  # the first one never ends it
    while position < len(pattern) and pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position + 1


def _end_of_group(pattern: str, start: int) -> int:
    """The position behind a group, with those within it."""
    depth, position = 0, start
    while position < len(pattern):
        letter = pattern[position]
        if letter == "\\":
            position += 1
        elif letter == "[":
            position = _end_of_set(pattern, position) - 1
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if not depth:
                break
        position += 1
    return position + 1
