"""``OTEL_RESOURCE_ATTRIBUTES``: pairs ``key=value`` with commas between, values percent-encoded."""

from __future__ import annotations


def attributes(text: str) -> dict[str, str]:
    """Return the pairs of ``text``; what is no pair is left out, since the variable is another product's."""
    pairs: dict[str, str] = {}
    for item in text.split(","):
        key, separator, value = item.partition("=")
        if separator:
            pairs[key.strip()] = _decoded(value.strip())
    return pairs


def _decoded(value: str) -> str:
    first, *rest = value.split("%")
    if not rest:
        return value
    parts = [first.encode("utf-8", "surrogateescape")]
    for part in rest:
        try:
            byte = bytes.fromhex(part[:2]) if part[:2].isalnum() else b""
        except ValueError:
            byte = b""
        parts.append(
            byte + part[2:].encode("utf-8", "surrogateescape")
            if byte
            else f"%{part}".encode("utf-8", "surrogateescape")
        )
    return b"".join(parts).decode("utf-8", "replace")
