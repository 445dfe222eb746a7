"""Whom to trust: the TLS context of the connection to the server."""

from __future__ import annotations

import os
import sys

from apm_run.export.connection import Unsent
from apm_run.export.private import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from apm_run.config import Settings


def context(settings: Settings, environ: Mapping[str, str]) -> tuple[object, bytes | None]:
    """The context, and the certificate (DER) that the server's must equal, if one is pinned.

    :raises Unsent: a file that was named cannot be used.
    """
    ssl = load("ssl")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.server_cert:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made, _der(settings.server_cert, ssl)
    if not settings.verify_server_cert:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made, None
    _load_authorities(made, settings, environ)
    return made, None


def _load_authorities(made: object, settings: Settings, environ: Mapping[str, str]) -> None:
    load_file = made.load_verify_locations  # type: ignore[attr-defined]
    if settings.server_ca_cert_file:
        try:
            load_file(cafile=settings.server_ca_cert_file)
        except OSError as error:
            raise Unsent("tls", f"server_ca_cert_file: {error.strerror or error}") from None
        return
    chosen = environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR")
    bundle = None if chosen or not settings.use_certifi else certifi_bundle()
    if bundle is not None:
        try:
            load_file(cafile=bundle)
            return
        except OSError:
            pass
    made.set_default_verify_paths()  # type: ignore[attr-defined]


def certifi_bundle() -> str | None:
    """The file of the ``certifi`` the program could import, found without importing it."""
    for entry in sys.path:
        path = os.path.join(entry or os.curdir, "certifi", "cacert.pem")
        if os.path.isfile(path):
            return path
    return None


def _der(path: str, ssl: object) -> bytes:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = "-----END CERTIFICATE-----"
        text = text[begin : text.index(end, begin) + len(end)]
        der: bytes = ssl.PEM_cert_to_DER_cert(text)  # type: ignore[attr-defined]
    except OSError as error:
        raise Unsent("tls", f"server_cert: {error.strerror}") from None
    except ValueError:
        raise Unsent("tls", "server_cert: it holds no certificate in PEM form") from None
    return der
