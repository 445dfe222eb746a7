"""Delivery: outbox, agent thread, HTTP, back-off (design 5a)."""

from apm_run.export.exporter import Exporter
from apm_run.export.stats import ExportStats

__all__ = ["ExportStats", "Exporter"]
