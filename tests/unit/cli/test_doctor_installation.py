"""What doctor makes of the installation and the state directory."""

from __future__ import annotations

from apm_run.cli import doctor_installation as installation
from apm_run.cli import launch
from apm_run.export import statedir


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_no_state_directory(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(statedir, "candidates", lambda environ: [str(tmp_path / "file" / "below")])
    findings, facts = installation.state_directory({})
    assert states(findings) == {"directory": "warning"}
    assert "APM_RUN_STATE_DIR" in findings[0].fix
    assert facts == {"directory": None, "files": 0, "events": 0, "oldest_s": 0.0}


def test_a_bootstrap_that_is_missing_or_can_not_be_named(monkeypatch):
    for folder in (None, "/with:colon"):
        monkeypatch.setattr(launch, "bootstrap", lambda folder=folder: folder)
        assert states(installation.installation())["bootstrap"] == "problem"


def test_a_bootstrap_that_others_can_not_read(tmp_path, monkeypatch):
    folder = tmp_path / "bootstrap"
    folder.mkdir()
    tmp_path.chmod(0o700)
    monkeypatch.setattr(launch, "bootstrap", lambda: str(folder))
    found = [one for one in installation.installation() if one.name == "permissions"]
    assert [(one.state, str(folder) in one.text) for one in found] == [("warning", True)]
