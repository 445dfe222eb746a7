"""Certificates for the tests' servers."""

from __future__ import annotations

import ssl
import subprocess


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
