"""Where received events are kept: one SQLite file with a size cap."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable
from threading import RLock
from time import time_ns
from typing import Any

from apm_run.intake.decode import Event
from apm_run.local import rows

#: Bytes that the file may use unless told otherwise.
SIZE_CAP = 256 * 1024 * 1024
#: The smallest cap that can hold the tables and one request.
SMALLEST_CAP = 1024 * 1024
_VERSION = 1
# Events without a trace are kept and evicted in bunches of this many.
_BUNCH = 500
_EVENT_TABLES = ("transactions", "spans", "errors", "metricsets", "logs")
_COMMON = "id INTEGER PRIMARY KEY, bunch TEXT NOT NULL, service TEXT NOT NULL, trace_id TEXT, ts INTEGER"
_TAIL = "metadata INTEGER NOT NULL, raw TEXT NOT NULL"
_SCHEMA = f"""
CREATE TABLE metadata (id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, raw TEXT NOT NULL);
CREATE TABLE bunches (bunch TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX bunches_last ON bunches (last);
CREATE TABLE services (
  service TEXT PRIMARY KEY, agent TEXT, agent_version TEXT, language TEXT, runtime TEXT, framework TEXT,
  environment TEXT, version TEXT, first_seen INTEGER, last_seen INTEGER,
  metadata INTEGER NOT NULL);
CREATE TABLE transactions ({_COMMON}, event_id TEXT, parent_id TEXT, name TEXT, type TEXT, result TEXT,
  outcome TEXT, duration REAL, sampled INTEGER, dropped INTEGER, {_TAIL});
CREATE TABLE spans ({_COMMON}, event_id TEXT, parent_id TEXT, transaction_id TEXT, name TEXT, type TEXT,
  subtype TEXT, action TEXT, outcome TEXT, start REAL, duration REAL, sync INTEGER, calls INTEGER,
  target TEXT, {_TAIL});
CREATE TABLE errors ({_COMMON}, event_id TEXT, parent_id TEXT, transaction_id TEXT, transaction_name TEXT,
  type TEXT, message TEXT, culprit TEXT, handled INTEGER, grouping TEXT, {_TAIL});
CREATE TABLE metricsets ({_COMMON}, {_TAIL});
CREATE TABLE samples (metricset INTEGER NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL,
  labels TEXT NOT NULL, ts INTEGER NOT NULL, value REAL NOT NULL);
CREATE TABLE logs ({_COMMON}, transaction_id TEXT, span_id TEXT, level TEXT, logger TEXT, message TEXT,
  {_TAIL});
CREATE TABLE rejections (id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, message TEXT NOT NULL, document TEXT);
CREATE INDEX transactions_by ON transactions (service, name);
CREATE INDEX transactions_ts ON transactions (ts);
CREATE INDEX spans_target ON spans (service, target);
CREATE INDEX errors_by ON errors (service, grouping);
CREATE INDEX samples_by ON samples (service, name);
CREATE INDEX samples_set ON samples (metricset);
CREATE INDEX logs_by ON logs (service, ts);
PRAGMA user_version = {_VERSION};
""" + "".join(
    f"CREATE INDEX {table}_trace ON {table} (trace_id); CREATE INDEX {table}_bunch ON {table} (bunch);"
    for table in _EVENT_TABLES
)
_REJECTIONS_KEPT = 100


class StoreError(RuntimeError):
    """The file cannot be used as a store; the message says why."""


class Store:
    """The events of one receiver. Safe for threads; what :meth:`add` wrote survives a kill of the process.

    ``path``: the SQLite file, made (mode 0600) if it is not there. ``size_cap`` in bytes: above it the traces
    that have been quiet for longest are evicted whole. Raises StoreError when the file is none of ours.
    """

    def __init__(self, path: str, size_cap: int = SIZE_CAP) -> None:
        self.path = path
        self.size_cap = max(size_cap, SMALLEST_CAP)
        self.evicted = 0
        self.change = 0  # grows with every write, so that the page knows when to ask again
        self._writing, self._reading = RLock(), RLock()
        self._metadata: tuple[dict[str, Any], int] | None = None  # the one of the last event, and its id
        self._loose = 0
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._writer = self._open()
        try:
            self._prepare()
            self._reader = self._open()
        except sqlite3.DatabaseError as error:
            self._writer.close()
            raise StoreError(f"{path} is not a store of apm-run: {error}") from None
        self._reader.row_factory = sqlite3.Row
        self._reader.execute("PRAGMA query_only = ON")

    def add(self, events: Iterable[Event]) -> None:
        """Write events in one transaction. Raises sqlite3.Error when they cannot be written; none is then."""
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for event in events:
                    self._insert(event)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                self._metadata = None
                raise
            self.change += 1
            self._evict()

    def reject(self, errors: Iterable[dict[str, str]]) -> None:
        """Keep what was refused and why, the last hundred of them, for the page to show."""
        with self._writing:
            self._writer.executemany(
                "INSERT INTO rejections (ts, message, document) VALUES (?, ?, ?)",
                [(time_ns() // 1000, error["message"], error["document"]) for error in errors],
            )
            self._writer.execute(
                "DELETE FROM rejections WHERE id <= (SELECT max(id) FROM rejections) - ?", (_REJECTIONS_KEPT,)
            )
            self.change += 1

    def query(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a SELECT."""
        with self._reading:
            return self._reader.execute(sql, values).fetchall()

    def size(self) -> int:
        """Return the bytes in use in the file, free pages not counted."""
        pages, free, page_size = (
            self._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_size)

    def clear(self) -> None:
        """Forget all events."""
        with self._writing:
            for table in (*_EVENT_TABLES, "samples", "bunches", "services", "metadata", "rejections"):
                self._writer.execute(f"DELETE FROM {table}")
            self._metadata = None
            self.change += 1

    def close(self) -> None:
        """Close the file. The store cannot be used any more."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=10)
        connection.execute("PRAGMA busy_timeout = 10000")
        return connection

    def _prepare(self) -> None:
        # Nothing is written before it is known to be a file of ours.
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        empty = not self._writer.execute("SELECT 1 FROM sqlite_master").fetchone()
        if version != (0 if empty else _VERSION):
            raise sqlite3.DatabaseError(f"its version is {version}, this release writes {_VERSION}")
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = NORMAL")
        self._writer.execute("PRAGMA journal_size_limit = 4194304")
        if empty:
            self._writer.executescript(_SCHEMA)

    def _insert(self, event: Event) -> None:
        table, values = rows.row(event)
        values["metadata"] = metadata = self._metadata_id(event.metadata)
        values["raw"] = event.raw
        values["bunch"] = bunch = str(values["trace_id"] or self._loose_bunch())
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self._writer.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        service, seen = values["service"], values["ts"] or time_ns() // 1000
        if table == "metricsets":
            self._writer.executemany(
                "INSERT INTO samples (metricset, service, name, labels, ts, value) VALUES (?, ?, ?, ?, ?, ?)",
                [(cursor.lastrowid, service, n, labels, seen, v) for n, labels, v in rows.samples(event.body)],
            )
        self._writer.execute(
            "INSERT INTO bunches VALUES (?, ?) ON CONFLICT (bunch) DO UPDATE SET last = excluded.last",
            (bunch, time_ns()),
        )
        self._service(str(service), int(seen), metadata, event.metadata["service"])

    def _service(self, service: str, seen: int, metadata: int, facts: dict[str, Any]) -> None:
        agent, language, runtime, framework = (
            facts.get(part) or {} for part in ("agent", "language", "runtime", "framework")
        )
        values = (
            service, agent["name"], agent["version"], language.get("name"), _versioned(runtime),
            _versioned(framework), facts.get("environment"), facts.get("version"), seen, seen, metadata,
        )  # fmt: skip
        self._writer.execute(
            "INSERT INTO services VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (service) DO UPDATE SET agent = excluded.agent,"
            " agent_version = excluded.agent_version, language = excluded.language,"
            " runtime = excluded.runtime, framework = coalesce(excluded.framework, framework),"
            " environment = excluded.environment, version = excluded.version, metadata = excluded.metadata,"
            " first_seen = min(first_seen, excluded.first_seen),"
            " last_seen = max(last_seen, excluded.last_seen)",
            values,
        )

    def _metadata_id(self, metadata: dict[str, Any]) -> int:
        if self._metadata is None or self._metadata[0] is not metadata:
            raw = json.dumps(metadata, separators=(",", ":"))
            digest = hashlib.sha256(raw.encode()).hexdigest()
            self._writer.execute("INSERT OR IGNORE INTO metadata (digest, raw) VALUES (?, ?)", (digest, raw))
            row = self._writer.execute("SELECT id FROM metadata WHERE digest = ?", (digest,)).fetchone()
            self._metadata = (metadata, row[0])
        return self._metadata[1]

    def _loose_bunch(self) -> str:
        self._loose += 1
        return f"~{self._loose // _BUNCH}"

    def _evict(self) -> None:
        """Evict whole traces, the longest quiet first, until a tenth of the cap is free again."""
        if self.size() <= self.size_cap:
            return
        self._writer.execute("BEGIN IMMEDIATE")
        while self.size() > self.size_cap * 0.9:
            oldest = self._writer.execute("SELECT bunch FROM bunches ORDER BY last LIMIT 1").fetchone()
            if oldest is None:
                break
            self._writer.execute(
                "DELETE FROM samples WHERE metricset IN (SELECT id FROM metricsets WHERE bunch = ?)", oldest
            )
            for table in (*_EVENT_TABLES, "bunches"):
                self._writer.execute(f"DELETE FROM {table} WHERE bunch = ?", oldest)
            self.evicted += 1
        for table, column in (("services", "service"), ("metadata", "id")):
            used = "service" if table == "services" else "metadata"
            holders = _EVENT_TABLES if table == "services" else (*_EVENT_TABLES, "services")
            union = " UNION ".join(f"SELECT {used} FROM {holder}" for holder in holders)
            self._writer.execute(f"DELETE FROM {table} WHERE {column} NOT IN ({union})")
        self._metadata = None
        self._writer.execute("COMMIT")


def _versioned(part: dict[str, Any]) -> str | None:
    return " ".join(str(each) for each in (part.get("name"), part.get("version")) if each) or None
