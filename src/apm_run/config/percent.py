"""Percent-encoded text: in URLs, baggage and ``OTEL_RESOURCE_ATTRIBUTES``."""

from __future__ import annotations

_HEX = frozenset("0123456789abcdefABCDEF")


def unquoted(text: str) -> bytes:
    """The bytes of a percent-encoded text; what is no encoding stays as it is."""
    first, *rest = text.split("%")
    data = _bytes(first)
    for part in rest:
        if len(part) >= 2 and _HEX.issuperset(part[:2]):
            data += bytes.fromhex(part[:2]) + _bytes(part[2:])
        else:
            data += b"%" + _bytes(part)
    return data


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return text.encode("utf-8", "replace")
