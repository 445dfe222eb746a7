from __future__ import annotations

import shutil
import ssl
import subprocess

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


class Authority:
    """A certificate authority of our own, and a server's certificate of it, made with the openssl command."""

    def __init__(self, folder) -> None:
        self.ca = str(folder / "ca.pem")
        self.certificate = str(folder / "server.pem")
        self.key = key = str(folder / "key.pem")
        extensions = folder / "ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
        sign = ["openssl", "x509", "-req", "-days", "30", "-in", folder / "csr"]
        for command in (
            [*new, "-x509", "-subj", "/CN=own authority", "-keyout", folder / "ca.key", "-out", self.ca],
            [*new, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", folder / "csr"],
            [*sign, "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", extensions, "-out",
             self.certificate],
        ):  # fmt: skip
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """A certificate authority."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    return Authority(tmp_path_factory.mktemp("tls"))
