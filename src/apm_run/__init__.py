"""Run any Python program under Elastic APM, with no code change.

The public API is loaded when one of its names is first used: importing a submodule runs none of it.
"""

from __future__ import annotations

from apm_run.version import __version__

__all__ = ["__version__"]
