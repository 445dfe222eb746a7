"""The embedded receiver: an APM Server for one machine, with its own page.

It lives in the launcher's process or stands alone, never in a traced program. It needs the extra
``apm-run[local]``; without it :class:`LocalExtraMissing` says what to install.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.local.server import Receiver as Receiver

__all__ = ["LocalExtraMissing", "Receiver"]


class LocalExtraMissing(RuntimeError):
    """The packages of the extra ``local`` are not installed; the message says what to do."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"the local receiver needs {missing}: pip install 'apm-run[local]'")


def __getattr__(name: str) -> object:
    # The receiver's modules are loaded by those who start one, not by those who ask for the error class.
    if name == "Receiver":
        from apm_run.local.server import Receiver

        return Receiver
    raise AttributeError(name)
