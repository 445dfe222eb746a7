from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A state directory of the test's own; no proxy of the developer's."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("APM_RUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / "state"


@pytest.fixture
def said(monkeypatch):
    """The lines that went to stderr."""
    from apm_run import guard

    lines = []
    monkeypatch.setattr(guard, "say", lines.append)
    return lines
