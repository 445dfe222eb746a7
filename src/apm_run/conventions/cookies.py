"""Cookies as they are shown: by their names, what could be a session or a key redacted (spec 22)."""

from __future__ import annotations

from apm_run.intake.limits import cut
from apm_run.sanitize import REDACTED, is_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.sanitize import Names

#: Characters of all cookies of a request together.
_ROOM = 8_000


def parsed(header: str, secret: Names) -> dict[str, str]:
    """``context.request.cookies``; of two with one name the first counts, as the more specific one is sent first."""
    found: dict[str, str] = {}
    room = _ROOM
    for part in header.split(";"):
        name, mark, value = part.partition("=")
        name = cut(name.strip())
        if not name or not mark or name in found:
            continue
        shown = REDACTED if _holds_key(name, secret) else cut(value.strip())
        room -= len(name) + len(shown)
        if room < 0:
            break
        found[name] = shown
    return found


def set_cookie(header: str, secret: Names) -> str:
    """A ``Set-Cookie`` header, where the setting of ``sanitize_field_names`` does not hide all of it."""
    name, mark, rest = header.partition("=")
    if not mark or not _holds_key(name.strip(), secret):
        return header
    _, semicolon, attributes = rest.partition(";")
    return f"{name}={REDACTED}{semicolon}{attributes}"


def _holds_key(name: str, secret: Names) -> bool:
    """Whether a cookie opens a door: sessions go by names like ``PHPSESSID`` and ``connect.sid``."""
    lower = name.lower()
    return is_key(name, secret) or "sess" in lower or lower.endswith("sid")
