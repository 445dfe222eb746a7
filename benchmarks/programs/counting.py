"""Run ``web.py`` with its other arguments and print how many bytecodes its requests took, all told.

Unlike times they are the same on every run and machine, whatever else it does: only the requesting thread is counted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

counted = 0


def frame(entered: FrameType, event: str, argument: Any) -> Any:
    """What the interpreter calls for each frame: wants to hear of every bytecode in it."""
    entered.f_trace_opcodes, entered.f_trace_lines = True, False
    return step


def step(running: FrameType, event: str, argument: Any) -> Any:
    """One more."""
    global counted
    counted += event == "opcode"
    return step


source = Path(__file__).with_name("web.py").read_text("utf-8")
for loop in ("    for _ in range(COUNT):\n        once()\n", "    for _ in range(COUNT):\n        connection"):
    source = source.replace(loop, f"    settrace(frame)\n{loop}")
source = source.replace("    told(process", "    settrace(None)\n    told(process")
exec(compile(source, "web.py", "exec"), {"__name__": "__main__", "settrace": sys.settrace, "frame": frame})
print(counted)
