"""Who a request is from, as far as the program itself has found out (``context.user``).

What lies in the user object is shown; nothing is computed or loaded for it. A lazy object that the program has not
looked into is left alone.
"""

from __future__ import annotations

from apm_run.intake.plain import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import CurrentTransaction

#: Lazy objects within lazy ones.
_DEEPEST = 4


def found(user: object) -> Any:
    """The user itself behind a lazy object of Django's kind; None where nobody has asked it yet."""
    for _ in range(_DEEPEST):
        facts = _facts(user)
        if facts is None or "_wrapped" not in facts:
            return None if facts is None else user
        user = facts["_wrapped"]
    return None


def note(
    transaction: CurrentTransaction, user: object, *, id: str = "id", username: str = "username", email: str = "email"
) -> None:
    """Say who the user is, unless that has been said.

    :param id: the name of the attribute that is, and so on.
    """
    facts = _facts(user) or {}
    told = {"id": facts.get(id), "username": facts.get(username), "email": facts.get(email)}
    shown = {name: text(value) for name, value in told.items() if type(value) in (str, int) or _is_uuid(value)}
    if shown:
        transaction.context.setdefault("user", shown)


def _facts(user: object) -> dict[str, Any] | None:
    """An object's own attributes; a lazy one's own, where its class says that it has those of another."""
    try:
        facts: dict[str, Any] = object.__getattribute__(user, "__dict__")
    except AttributeError:
        return None
    return facts


def _is_uuid(value: object) -> bool:
    return type(value).__module__ == "uuid"
