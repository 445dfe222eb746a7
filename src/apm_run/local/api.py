"""What the page asks for, as JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from time import time_ns
from typing import Any

from apm_run.local import figures
from apm_run.local.figures import Measured
from apm_run.local.store import Store
from apm_run.local.tally import Tally
from apm_run.version import __version__

_MOST_ROWS = 200_000
_MOST_LISTED = 200
_MOST_OF_TRACE = 5_000
_MOST_SERIES = 300
_EVENT_TABLES = ("transactions", "spans", "errors", "metricsets", "logs")

Params = dict[str, str]


class NotFound(Exception):
    """There is no such thing."""


class Api:
    """The questions of the page. ``since`` (microseconds) in the parameters leaves older events out."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self._store = store
        self._tally = tally
        self._questions: dict[str, Callable[[Params], Any]] = {
            "state": self._state,
            "services": self._services,
            "transactions": self._transactions,
            "transaction": self._transaction,
            "traces": self._traces,
            "trace": self._trace,
            "errors": self._errors,
            "error": self._error,
            "dependencies": self._dependencies,
            "metrics": self._metrics,
            "logs": self._logs,
            "rejections": self._rejections,
        }

    def answer(self, name: str, params: Params) -> str:
        """Return the JSON text for one question. Raises NotFound."""
        if name == "event":
            return self._event(params)
        question = self._questions.get(name)
        if question is None:
            raise NotFound(name)
        return json.dumps(question(params))

    def clear(self) -> None:
        """Forget all events."""
        self._store.clear()

    def _state(self, _params: Params) -> dict[str, Any]:
        """What the page asks again and again: has anything changed?"""
        return {
            "version": __version__,
            "change": self._store.change,
            # In the order in which they came, so that the page can colour them.
            "services": [row[0] for row in self._store.query("SELECT service FROM services ORDER BY rowid")],
            "size": self._store.size(),
            "size_cap": self._store.size_cap,
            "evicted": self._store.evicted,
            "rejected": self._tally.summary()["rejected"],
        }

    def _services(self, params: Params) -> list[dict[str, Any]]:
        window = self._window(params)
        measured = self._measure(params, lambda row: row["service"])
        spans = self._count("spans", params)
        errors = self._count("errors", params)
        return [
            {
                **dict(row),
                **measured.get(row["service"], Measured()).figures(window),
                "spans": spans.get(row["service"], 0),
                "errors": errors.get(row["service"], 0),
            }
            for row in self._store.query(
                "SELECT service, agent, agent_version, language, runtime, framework, environment, version,"
                " first_seen, last_seen FROM services ORDER BY service"
            )
        ]

    def _transactions(self, params: Params) -> dict[str, Any]:
        window = self._window(params)
        measured = self._measure(params, lambda row: (row["service"], row["type"], row["name"]))
        groups = [
            {"service": service, "type": type_, "name": name, **group.figures(window)}
            for (service, type_, name), group in measured.items()
        ]
        groups.sort(key=lambda group: -group["total"])
        return {"groups": groups[:_MOST_LISTED], "all": len(groups)}

    def _transaction(self, params: Params) -> dict[str, Any]:
        where, values = _where(params, "service", "type", "name")
        rows = self._store.query(
            "SELECT id, trace_id, event_id, ts, duration, outcome, result FROM transactions"
            f"{where} ORDER BY ts DESC LIMIT {_MOST_ROWS}",
            *values,
        )
        if not rows:
            raise NotFound("transaction")
        measured = Measured()
        for row in rows:
            measured.add(row["duration"], row["outcome"], row["ts"])
        return {
            **measured.figures(self._window(params)),
            "distribution": figures.distribution(measured.durations),
            "samples": [dict(row) for row in rows[:_MOST_LISTED]],
        }

    def _traces(self, params: Params) -> list[dict[str, Any]]:
        """The newest transactions whose parent is not here: roots, and heads of what came from elsewhere."""
        where, values = _where(params, "service")
        rows = self._store.query(
            "SELECT id, trace_id, event_id, service, name, type, ts, duration, outcome, result"
            " FROM transactions t"
            f"{where or ' WHERE 1'} AND (parent_id IS NULL OR NOT ("
            " EXISTS (SELECT 1 FROM spans s WHERE s.trace_id = t.trace_id AND s.event_id = t.parent_id)"
            " OR EXISTS"
            " (SELECT 1 FROM transactions u WHERE u.trace_id = t.trace_id AND u.event_id = t.parent_id)))"
            f" ORDER BY ts DESC LIMIT {_MOST_LISTED}",
            *values,
        )
        traces = list({row["trace_id"] for row in rows})
        marks = ", ".join("?" * len(traces))

        def per_trace(what: str, table: str) -> dict[str, int]:
            sql = f"SELECT trace_id, {what} FROM {table} WHERE trace_id IN ({marks}) GROUP BY trace_id"
            return {row[0]: row[1] for row in self._store.query(sql, *traces)}

        spans, errors = per_trace("count(*)", "spans"), per_trace("count(*)", "errors")
        services = per_trace("count(DISTINCT service)", "transactions")
        return [
            {
                **dict(row),
                "spans": spans.get(row["trace_id"], 0),
                "errors": errors.get(row["trace_id"], 0),
                "services": services.get(row["trace_id"], 0),
            }
            for row in rows
        ]

    def _trace(self, params: Params) -> dict[str, Any]:
        trace = params.get("id", "")
        transactions = self._of_trace(
            "transactions", "parent_id, name, type, outcome, result, duration, sampled, dropped", trace
        )
        spans = self._of_trace(
            "spans",
            "parent_id, transaction_id, name, type, subtype, action, outcome, start, duration, sync, calls, target",
            trace,
        )
        errors = self._of_trace("errors", "parent_id, transaction_id, type, message, culprit, handled", trace)
        logs = self._store.query(
            "SELECT id, service, ts, level, logger, message, transaction_id, span_id FROM logs"
            f" WHERE trace_id = ? ORDER BY ts LIMIT {_MOST_OF_TRACE}",
            trace,
        )
        if not (transactions or spans or errors or logs):
            raise NotFound("trace")
        starts = {each["event_id"]: each["ts"] for each in transactions}
        for span in spans:
            if span["ts"] is None:
                # A span may say its start only as milliseconds after its transaction's.
                begin = starts.get(span["transaction_id"], min(starts.values(), default=0))
                span["ts"] = begin + int((span["start"] or 0) * 1000)
        return {
            "id": trace,
            "transactions": transactions,
            "spans": spans,
            "errors": errors,
            "logs": [dict(row) for row in logs],
            "most": _MOST_OF_TRACE,
        }

    def _of_trace(self, table: str, columns: str, trace: str) -> list[dict[str, Any]]:
        rows = self._store.query(
            f"SELECT id, event_id, service, ts, {columns} FROM {table} WHERE trace_id = ?"
            f" ORDER BY ts LIMIT {_MOST_OF_TRACE}",
            trace,
        )
        return [dict(row) for row in rows]

    def _errors(self, params: Params) -> list[dict[str, Any]]:
        where, values = _where(params, "service")
        # With max() SQLite takes the bare columns from the row that holds the maximum: the newest.
        rows = self._store.query(
            "SELECT service, grouping, count(*) AS count, max(ts) AS last, type, message, culprit,"
            f" handled, transaction_name FROM errors{where} GROUP BY service, grouping"
            f" ORDER BY last DESC LIMIT {_MOST_LISTED}",
            *values,
        )
        return [dict(row) for row in rows]

    def _error(self, params: Params) -> dict[str, Any]:
        where, values = _where(params, "service", "grouping")
        rows = self._store.query(
            "SELECT id, trace_id, transaction_id, transaction_name, ts, type, message, culprit, handled"
            f" FROM errors{where} ORDER BY ts DESC LIMIT {_MOST_ROWS}",
            *values,
        )
        if not rows:
            raise NotFound("error")
        window = self._window(params)
        return {
            "count": len(rows),
            "series": figures.counts((row["ts"] for row in rows), window),
            "window": window,
            "occurrences": [dict(row) for row in rows[:_MOST_LISTED]],
        }

    def _dependencies(self, params: Params) -> list[dict[str, Any]]:
        where, values = _where(params, "service")
        rows = self._store.query(
            "SELECT service, target, type, subtype, duration, outcome, ts, calls FROM spans"
            f"{where or ' WHERE 1'} AND target IS NOT NULL ORDER BY id DESC LIMIT {_MOST_ROWS}",
            *values,
        )
        groups: dict[tuple[str, ...], Measured] = {}
        for row in rows:
            key = (row["target"], row["service"], row["type"], row["subtype"] or "")
            groups.setdefault(key, Measured()).add(row["duration"], row["outcome"], row["ts"], row["calls"])
        window = self._window(params)
        found = [
            {"target": target, "service": service, "type": type_, "subtype": subtype, **group.figures(window)}
            for (target, service, type_, subtype), group in groups.items()
        ]
        return sorted(found, key=lambda each: -each["total"])[:_MOST_LISTED]

    def _metrics(self, params: Params) -> list[dict[str, Any]]:
        where, values = _where(params, "service")
        rows = self._store.query(
            f"SELECT name, labels, ts, value FROM samples{where} ORDER BY ts DESC LIMIT {_MOST_ROWS}", *values
        )
        series: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in reversed(rows):
            series.setdefault((row["name"], row["labels"]), []).append((row["ts"], row["value"]))
        return [
            {"name": name, "labels": labels, "points": figures.thinned(points)}
            for (name, labels), points in sorted(series.items())[:_MOST_SERIES]
        ]

    def _logs(self, params: Params) -> list[dict[str, Any]]:
        where, values = _where(params, "service", "level")
        rows = self._store.query(
            "SELECT id, service, ts, level, logger, message, trace_id, transaction_id, span_id FROM logs"
            f"{where} ORDER BY ts DESC, id DESC LIMIT 500",
            *values,
        )
        return [dict(row) for row in rows]

    def _rejections(self, _params: Params) -> list[dict[str, Any]]:
        rows = self._store.query("SELECT ts, message, document FROM rejections ORDER BY id DESC")
        return [dict(row) for row in rows]

    def _event(self, params: Params) -> str:
        """One event whole, with the metadata of its request; the stored text is passed on as it came."""
        table, number = params.get("table", ""), params.get("id", "")
        if table not in _EVENT_TABLES or not number.isdecimal():
            raise NotFound("event")
        rows = self._store.query(
            f"SELECT e.raw, m.raw FROM {table} e JOIN metadata m ON m.id = e.metadata WHERE e.id = ?",
            min(int(number), 2**62),
        )
        if not rows:
            raise NotFound("event")
        return f'{{"event":{rows[0][0]},"metadata":{rows[0][1]}}}'

    def _measure(self, params: Params, key: Callable[[sqlite3.Row], Any]) -> dict[Any, Measured]:
        where, values = _where(params, "service", "type")
        rows = self._store.query(
            f"SELECT service, type, name, duration, outcome, ts FROM transactions{where}"
            f" ORDER BY id DESC LIMIT {_MOST_ROWS}",
            *values,
        )
        groups: dict[Any, Measured] = {}
        for row in rows:
            groups.setdefault(key(row), Measured()).add(row["duration"], row["outcome"], row["ts"])
        return groups

    def _count(self, table: str, params: Params) -> dict[str, int]:
        where, values = _where(params, "service")
        rows = self._store.query(f"SELECT service, count(*) FROM {table}{where} GROUP BY service", *values)
        return {row[0]: row[1] for row in rows}

    def _window(self, params: Params) -> tuple[int, int]:
        """Return the time (us) that figures cover: from ``since`` until now, else all that is here."""
        since = params.get("since", "")
        if since.isdecimal():
            return min(int(since), 2**62), time_ns() // 1000
        row = self._store.query("SELECT min(ts), max(ts) FROM transactions")[0]
        return row[0] or 0, row[1] or 0


def _where(params: Params, *names: str) -> tuple[str, list[Any]]:
    """Return the WHERE clause for those of the named parameters that are given, and for ``since``."""
    clauses = [f"{name} = ?" for name in names if name in params]
    values: list[Any] = [params[name] for name in names if name in params]
    if params.get("since", "").isdecimal():
        clauses.append("ts >= ?")
        values.append(min(int(params["since"]), 2**62))
    return (f" WHERE {' AND '.join(clauses)}" if clauses else ""), values
