"""Who may talk to the receiver: programs of this machine, and pages that the receiver itself served.

A web page of another site can make a browser send requests to 127.0.0.1, and by rebinding its own name (DNS)
read the answers. Names in the Host and Origin headers give both away.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether a host name or address (without port and brackets) is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(headers: dict[str, str], port: int) -> str | None:
    """Return why a request with these headers (names in lower case) is refused; None when it is welcome."""
    if not _ours(f"http://{headers.get('host', '')}", port):
        return "the Host header must name this machine's loopback address and the receiver's port"
    origin = headers.get("origin")
    if origin is not None and not _ours(origin, port):
        return "requests of pages from another origin are refused"
    # Browsers say so even where they send no Origin (images, scripts); opening the page from a link is fine.
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return "requests of pages from another site are refused"
    return None


def _ours(origin: str, port: int) -> bool:
    try:
        parts = urlsplit(origin)
        return (
            parts.scheme == "http"
            and parts.username is None
            and is_loopback(parts.hostname or "")
            and (parts.port or 80) == port
        )
    except ValueError:
        return False
