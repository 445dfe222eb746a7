"""What the server says of itself, and what follows from it (spec 1.3)."""

from __future__ import annotations

#: From here on the server drops unsampled transactions, so that they need not be sent.
_SAMPLED_ONLY = (8,)
#: This release refuses what it does not know in the metadata.
_STRICT = (8, 7, 0)
_ACTIVATION = b',"activation_method":"wrapper"'

#: What the lines of unsampled transactions begin with, around an id of 16 letters.
_TRANSACTION = b'{"transaction":{"id":"'
_UNSAMPLED = b'","sampled":false,'
_AFTER_ID = len(_TRANSACTION) + 16


class ServerInfo:
    """What is known of the server; a forked child knows it too.

    :ivar version: its numbers; empty where it does not tell; None as long as nobody has asked.
    :ivar wanted: whether something waits for that, so that it is worth to ask before the first request.
    :ivar asked: how often it was asked; twice is enough.
    """

    __slots__ = ("asked", "version", "wanted")

    def __init__(self, skip: bool = False) -> None:
        """:param skip: never ask (``skip_server_info``)."""
        self.version: tuple[int, ...] | None = None
        self.wanted = False
        self.asked = 2 if skip else 0

    @property
    def sampled_only(self) -> bool:
        """Whether it is known to want no unsampled transactions."""
        return self.version is not None and self.version >= _SAMPLED_ONLY

    def metadata(self, line: bytes) -> bytes:
        """A metadata line as this server takes it."""
        return line.replace(_ACTIVATION, b"") if self.version == _STRICT else line


def is_unsampled(lines: bytes) -> bool:
    """Whether the first one of these lines is an unsampled transaction."""
    return lines.startswith(_UNSAMPLED, _AFTER_ID) and lines.startswith(_TRANSACTION)
