"""Redis and what speaks its protocol: a span per command, named by it; a statement would be its data (spec 18.2)."""

from __future__ import annotations

from apm_run.model import SpanDraft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.model import Call

#: Commands whose second word is part of their name; other words after the first are the program's data.
_CONTAINERS = frozenset((
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT",
    "PUBSUB", "SCRIPT", "SENTINEL", "SLOWLOG", "XGROUP", "XINFO",
))  # fmt: skip


def name(word: Any) -> str | None:
    """The name of a command, from what comes first in its call: ``set``, ``b"GET"``, ``CONFIG GET``.

    :returns: None for what is no text, which the client will refuse.
    """
    if type(word) is not str:
        if isinstance(word, bytes):
            word = word.decode("latin-1")
        elif isinstance(word, str):
            word = str.__str__(word)  # a subclass may be shown as it likes
        else:
            return None
    if " " not in word:
        return str(word.upper())
    # Clients split it: SET key value may be a single text.
    words = word.upper().split(None, 2)[:2]
    return " ".join(words if words and words[0] in _CONTAINERS else words[:1])


def command(call: Call) -> SpanDraft | None:
    """The span of a client's ``execute_command("GET", ...)``."""
    found = name(call.args[1]) if len(call.args) > 1 else None
    return _draft(found, call.args[0]) if found else None


def pipeline(call: Call) -> SpanDraft | None:
    """The span of a pipeline's ``execute()``, a transaction or not; an empty one sends nothing."""
    sender = call.instance
    if not len(sender) and not getattr(sender, "watching", False):
        return None
    return _draft("Pipeline.execute", sender)


def reached(call: Call, result: object, draft: SpanDraft) -> None:
    """The address of a server that the client has had to ask for: a sentinel has named it."""
    if draft.address is None:
        found = getattr(getattr(call.instance, "connection_pool", None), "master_address", None)
        if type(found) is tuple and len(found) == 2:
            draft.address, draft.port = found


def _draft(found: str, client: Any) -> SpanDraft:
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
    address: str | None = None
    port: Any = None
    if type(options) is dict:
        if "path" in options:
            address = f"unix://{options['path']}"
        elif "connection_pool" not in options:  # as a pool has it that asks sentinels
            address, port = options.get("host", "localhost"), options.get("port", 6379)
            if type(port) is str and port.isdigit():
                port = int(port)
    return SpanDraft(found, "db", "redis", "query", db={"type": "redis"}, address=address, port=port)
