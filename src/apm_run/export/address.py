"""Where to send: the server's URL, and the proxy between, if any."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"})
_PORTS = {"http": 80, "https": 443}


class Address:
    """A URL of scheme http or https, taken apart."""

    __slots__ = ("host", "path", "port", "scheme", "userinfo")

    def __init__(self, url: str) -> None:
        """:raises ValueError: with the reason, which never quotes the userinfo."""
        scheme, separator, rest = url.strip().partition("://")
        self.scheme = scheme.lower()
        if not separator or self.scheme not in _PORTS:
            raise ValueError("it must begin with http:// or https://")
        for mark in "#?":
            rest = rest.partition(mark)[0]
        authority, slash, path = rest.partition("/")
        self.path = (slash + path).rstrip("/")
        self.userinfo, _, authority = authority.rpartition("@")
        self.host, port = _split_port(authority)
        if not self.host or not _is_plain(self.host + self.path):
            raise ValueError("it names no host" if not self.host else "it holds characters that no URL may hold")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError("its port is not a number from 1 to 65535")
        self.port = int(port) if port else _PORTS[self.scheme]

    @property
    def is_loopback(self) -> bool:
        """Whether spec 1 takes the host for this machine."""
        return self.host.lower() in _LOOPBACK

    @property
    def authority(self) -> str:
        """Host and port as a ``Host`` header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The URL without userinfo."""
        return f"{self.scheme}://{self.authority}{self.path}"


def _split_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, closed, port = authority[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise ValueError("its IPv6 address is not in brackets")
        return host, port[1:]
    host, _, port = authority.partition(":")
    return host, port


def _is_plain(text: str) -> bool:
    return all("!" <= letter <= "~" for letter in text)


def proxy_for(address: Address, environ: Mapping[str, str]) -> Address | None:
    """The proxy for that server: ``https_proxy`` or ``http_proxy`` by its scheme, lower case first, as in urllib.

    This machine itself is never asked for through a proxy, unlike in urllib: no proxy could reach it.

    :raises ValueError: the variable names no usable proxy.
    """
    if address.is_loopback or address.host.startswith("127.") or _bypassed(address, _any_case(environ, "no_proxy")):
        return None
    # In CGI, HTTP_PROXY is a header that a client sent.
    cgi = address.scheme == "http" and "REQUEST_METHOD" in environ
    name = address.scheme + "_proxy"
    value = environ.get(name) if cgi else _any_case(environ, name)
    if not value:
        return None
    try:
        proxy = Address(value if "://" in value else f"http://{value}")
    except ValueError as error:
        raise ValueError(f"{name} is not usable: {error}") from None
    if proxy.scheme != "http":
        raise ValueError(f"{name} is not usable: only proxies that speak plain http are")
    return proxy


def _any_case(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _bypassed(address: Address, rule: str) -> bool:
    host = address.host.lower()
    for entry in rule.lower().split(","):
        name = entry.strip().strip("[]")
        if name == "*":
            return True
        name = name.lstrip(".")
        for own in (host, f"{host}:{address.port}"):
            if name and (own == name or own.endswith(f".{name}")):
                return True
    return False
