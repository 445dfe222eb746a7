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
    parts = [_encoded(first)]
    for part in rest:
        try:
            byte = bytes.fromhex(part[:2]) if part[:2].isalnum() else b""
        except ValueError:
            byte = b""
        parts.append(byte + _encoded(part[2:]) if byte else _encoded(f"%{part}"))
    return b"".join(parts).decode("utf-8", "replace")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which no environment holds
        return text.encode("utf-8", "replace")
