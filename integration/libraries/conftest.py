"""One server of each kind for all tests that want it."""

from __future__ import annotations
