"""What whole programs have received, as a text.

Their own transaction is left out: whether it is reported before the first message claims the program is a matter of
how long that took.
"""

from __future__ import annotations

from typing import Any


def received(sink: Any) -> str:
    """Each transaction of a message with its spans, in order of their start."""
    lines = []
    for one in sorted(sink.transactions, key=lambda event: event["timestamp"]):
        if one["type"] == "messaging":
            lines.append(f"{one['name']} [{one['type']}] {one['outcome']}")
            below = [span for span in sink.spans if span["transaction_id"] == one["id"]]
            for span in sorted(below, key=lambda event: event["timestamp"]):
                kind = "/".join(filter(None, (span["type"], span.get("subtype"), span.get("action"))))
                lines.append(f"  {span['name']} [{kind}] {span['outcome']}")
    return "\n".join(lines)
