"""``OTEL_RESOURCE_ATTRIBUTES``: pairs ``key=value`` with commas between, values percent-encoded."""

from __future__ import annotations

from apm_run.config.percent import unquoted


def attributes(text: str) -> dict[str, str]:
    """Return the pairs of ``text``; what is no pair is left out, since the variable is another product's."""
    pairs: dict[str, str] = {}
    for item in text.split(","):
        key, separator, value = item.partition("=")
        if separator:
            value = value.strip()
            pairs[key.strip()] = unquoted(value).decode("utf-8", "replace") if "%" in value else value
    return pairs
