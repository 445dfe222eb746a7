"""Name and version of the framework that answers requests (spec 3, ``service.framework``)."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from apm_run.config import Settings


class Framework:
    """A framework; its version is looked up when the first request reaches it, once."""

    __slots__ = ("_version", "name")

    def __init__(self, name: str) -> None:
        """:param name: of its top-level package, which is its distribution's too."""
        self.name = name
        self._version: str | None = None

    def facts(self, settings: Settings) -> tuple[str, str]:
        """Name and version, those of the options first; the version is empty where it is not to be found."""
        if self._version is None:
            self._version = version(self.name)
        return settings.framework_name or self.name, settings.framework_version or self._version


def version(name: str) -> str:
    """The version of an imported package: what it says itself, else what its distribution's folder is called.

    Reading that folder's name takes no import; ``importlib.metadata`` would load a dozen modules by names that a
    file beside the program may have taken.
    """
    package = sys.modules.get(name)
    # Not getattr(): Flask computes the attribute, with a warning that the program did not ask for.
    said = getattr(package, "__dict__", {}).get("__version__")
    if isinstance(said, str):
        return said
    file = getattr(package, "__file__", None) or ""
    for folder in (file.rsplit("/", 2)[0], *sys.path):
        try:
            names = os.listdir(folder) if folder else ()
        except OSError:
            continue
        for entry in names:
            distribution, _, rest = entry.partition("-")
            if distribution.lower() == name and rest[:1].isdigit() and rest.endswith((".dist-info", ".egg-info")):
                return rest.rpartition(".")[0].partition("-")[0]
    return ""
