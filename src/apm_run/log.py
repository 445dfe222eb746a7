"""The agent's own log (spec 23): only where it was asked for, and never through the program's logging.

A line reads ``2026-01-31T12:00:00.123Z 4711 warning send.refused text``: time, pid, level, slug, text.
"""

from __future__ import annotations

import os
import posix
from time import gmtime, strftime, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.config import Settings

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")

#: A file that has grown beyond this many bytes becomes ``FILE.1`` in the place of an older one.
_ROTATE = 50 * 1024 * 1024

_threshold = len(LEVELS)
_path: str | None = None


def configure(settings: Settings) -> None:
    """Log to ``log_file``, or with an explicit ``log_level`` alone to stderr; otherwise nowhere."""
    global _threshold, _path
    asked = settings.log_file is not None or settings.origin("log_level") != "default"
    _threshold = LEVELS.index(settings.log_level) if asked else len(LEVELS)
    if settings.log_level == "off":
        _threshold = len(LEVELS)
    _path = settings.log_file


def write(level: str, slug: str, text: str) -> None:
    """Write one line, if its level is asked for. A log that can not be written is no reason to fail.

    :param level: one of :data:`LEVELS` but ``off``. :param slug: what happened, as the documentation lists it.
    """
    if LEVELS.index(level) >= _threshold:
        now = time_ns()
        stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(now // 1_000_000_000))
        line = f"{stamp}.{now // 1_000_000 % 1000:03d}Z {os.getpid()} {level} {slug} {' '.join(text.splitlines())}\n"
        try:
            _append(line.encode("utf-8", "backslashreplace"))
        except OSError:
            return


def _append(line: bytes) -> None:
    if _path is None:
        posix.write(2, line)
        return
    # Opened for each line: there are few, and a descriptor that is kept may become the program's by number.
    handle = posix.open(_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        posix.write(handle, line)
        full = os.fstat(handle).st_size > _ROTATE
    finally:
        os.close(handle)
    if full:
        os.replace(_path, f"{_path}.1")


def preamble(settings: Settings, version: str) -> None:
    """What starts, and with which options: always the four that matter most, and all that are not the default."""
    from sys import version_info

    python = ".".join(map(str, version_info[:3]))
    write("info", "agent.start", f"apm-run {version}, Python {python}, {os.uname().sysname} {os.uname().machine}")
    always = ("server_url", "service_name", "service_version", "log_level")
    for name in settings.__slots__:
        if not name.startswith("_") and (name in always or settings.origin(name) != "default"):
            write("info", "agent.option", f'{name}: "{settings.shown(name)}" ({settings.origin(name)})')
