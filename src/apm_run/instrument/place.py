"""Where the path of a target leads."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


class Missing(Exception):
    """What a target names is not there: another release of the library, most likely."""


def resolve(module: ModuleType, attribute: str) -> tuple[Any, str, Any]:
    """The holder of an attribute path, the last name of it and what is there.

    :raises Missing: where it is not.
    """
    holder: Any = module
    *path, name = attribute.split(".")
    for part in path:
        holder = getattr(holder, part, None)
    found = getattr(holder, name, None)
    if found is None:
        raise Missing(f"no {attribute}")
    return holder, name, found


def replace(module: ModuleType, attribute: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of a function; static and class methods stay what they are.

    A method that a class inherits is put on that class, so that its base is left alone.

    :raises Missing: where there is no such function.
    """
    holder, name, found = resolve(module, attribute)
    raw = found
    for owner in getattr(holder, "__mro__", (holder,)):
        if name in getattr(owner, "__dict__", ()):
            raw = owner.__dict__[name]
            break
    if isinstance(raw, (staticmethod, classmethod)):
        setattr(holder, name, type(raw)(make(raw.__func__)))
    elif isinstance(raw, type) or not callable(raw):
        raise Missing(f"{attribute} is no function")
    else:
        setattr(holder, name, make(raw))
