"""Names of transactions as events show them: grouped, and never more than the server can make statistics of."""

from __future__ import annotations

from apm_run import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.config.wildcard import Matcher

#: Different names in a process; a program that puts ids into them would cost its users all statistics.
MOST = 2000
#: What further ones become: the word that APM Server has for what it does not tell apart.
OTHER = "_other"


class Names:
    """The names that have been shown, under one setting of ``transaction_name_groups``."""

    __slots__ = ("_full", "_groups", "_known", "_shown")

    def __init__(self) -> None:
        self._groups: tuple[Matcher, ...] = ()
        #: A name as it was given -> as it is shown.
        self._known: dict[str, str] = {}
        self._shown: set[str] = set()
        self._full = False

    def shown(self, name: str, groups: tuple[Matcher, ...]) -> str:
        """The text of the first pattern that a name matches, or the name itself while there is room for one more.

        :param groups: ``transaction_name_groups``.
        """
        if groups is not self._groups:
            self._groups = groups
            self._known = {}
        found = self._known.get(name)
        if found is None:
            found = next((group.pattern for group in groups if group.match(name)), name)
            if found not in self._shown:
                if len(self._shown) >= MOST:
                    return self._other()
                self._shown.add(found)
            if len(self._known) < MOST:
                self._known[name] = found
        return found

    def _other(self) -> str:
        if not self._full:
            self._full = True
            text = f"more than {MOST} different names of transactions: further ones are reported as {OTHER}; "
            log.write("warning", "name.many", f"{text}transaction_name_groups can group them")
        return OTHER
