"""MongoDB: a span per command, ``users.find``, or ``shop.listCollections`` without a collection (spec 18.2)."""

from __future__ import annotations

from apm_run.config.wildcard import any_match
from apm_run.conventions import extended_json
from apm_run.model import SpanDraft
from apm_run.sanitize import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from apm_run.config import Settings

#: What a client says of itself, to be let in or to see who is there: nothing the program has asked for.
_OWN = frozenset((
    "authenticate", "copydbgetnonce", "copydbsaslstart", "getnonce", "hello", "isMaster", "ismaster", "saslContinue",
    "saslStart",
))  # fmt: skip
#: Commands whose first value names a collection. Of others it may be a user or a parameter.
_OF_COLLECTIONS = frozenset((
    "aggregate", "cloneCollectionAsCapped", "collMod", "collStats", "collstats", "compact", "convertToCapped", "count",
    "create", "createIndexes", "createSearchIndexes", "delete", "distinct", "drop", "dropIndexes", "dropSearchIndex",
    "find", "findAndModify", "findandmodify", "geoNear", "geoSearch", "insert", "killCursors", "listIndexes",
    "listSearchIndexes", "mapReduce", "mapreduce", "parallelCollectionScan", "planCacheClear", "reIndex", "update",
    "updateSearchIndex", "validate",
))  # fmt: skip
#: What a client adds to commands: not what the program has asked.
_ADDED = frozenset((
    "$clusterTime", "$db", "$readPreference", "autocommit", "lsid", "readConcern", "startTransaction", "txnNumber",
))  # fmt: skip
_BROKEN_OFF = ("CancelledError", "GeneratorExit", "GreenletExit", "KeyboardInterrupt", "SystemExit", "Timeout")


def command(name: str, document: Any, database: str, address: Any, settings: Settings) -> SpanDraft | None:
    """The span of a command.

    :param document: the command as it is sent. :param address: host and port of the server.
    """
    if name in _OWN:
        return None
    # Its values are the program's: nothing of a type of its own is called.
    known = document if isinstance(document, dict) else {}
    collection = dict.get(known, name if name in _OF_COLLECTIONS else "collection" if name == "getMore" else "")
    owner = collection if type(collection) is str else database
    db: dict[str, Any] = {"type": "mongodb", "instance": database}
    if any_match(settings.mongodb_capture_statement_commands, name):
        shown = {key: value for key, value in dict.items(known) if key not in _ADDED}
        db["statement"] = extended_json.text(shown, names(settings.sanitize_field_names))
    return _draft(f"{owner}.{name}", name, db, address)


def unreachable(address: Any) -> SpanDraft:
    """The span of a command that there is no server for; neither its collection nor its database is known there."""
    return _draft("MongoDB connect", "connect", {"type": "mongodb"}, address)


def answered(draft: SpanDraft, reply: Any) -> None:
    """A server does what it can of a write, says that it is done, and in its answer what has failed."""
    if isinstance(reply, dict) and (dict.get(reply, "writeErrors") or dict.get(reply, "nErrors")):
        draft.outcome = "failure"


def failed(draft: SpanDraft, failure: Any) -> None:
    """A command has failed, or was broken off."""
    kind = dict.get(failure, "errtype") if isinstance(failure, dict) else None
    draft.outcome = "unknown" if kind in _BROKEN_OFF else "failure"


def _draft(name: str, action: str, db: dict[str, Any], address: Any) -> SpanDraft:
    host, port = address if type(address) is tuple and len(address) == 2 else (None, None)
    if port is None and host:
        host = f"unix://{host}"
    return SpanDraft(name, "db", "mongodb", action, db=db, address=host, port=port)
