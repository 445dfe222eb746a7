"""The configuration file: TOML, with the options at the top level or in a table ``[apm-run]``.

Loaded only where ``APM_RUN_CONFIG`` names a file.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TABLE = "apm-run"
_LARGEST = 1 << 20


def read(path: str) -> tuple[dict[str, Any], list[str]]:
    """Read the file.

    :return: its entries, those of the table before those of the top level; and the names to hold against the
        option table: all of them, but only those of the table if there is one, since the file is then shared.
    :raises ValueError: if there is nothing to be had from it, with the reason as the rest of a sentence.
    """
    content = _content(path)
    loads = _loads()
    try:
        top = loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except Exception as error:  # also RecursionError, and whatever a foreign tomli may raise
        raise ValueError(f"is not valid TOML: {_one_line(error)}") from None
    table = top.pop(_TABLE, None)
    if isinstance(table, dict):
        return {**top, **table}, list(table)
    if table is not None:
        raise ValueError(f"is not usable: `{_TABLE}` is not a table")
    return top, list(top)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _content(path: str) -> bytes:
    try:
        # Only a regular file: reading a pipe or a terminal would hang the program, or take its input away.
        if not os.path.isfile(path):
            raise ValueError("is not a file" if os.path.exists(path) else "does not exist")
        with open(path, "rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise ValueError("is larger than 1 MiB")
    return content


def _loads() -> Any:
    """Return the ``loads`` of the standard library's TOML parser, or of tomli below Python 3.11."""
    try:
        import tomllib  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        return _tomli().loads
    return tomllib.loads


def _tomli() -> Any:
    """Load tomli from beside the agent, else from the program's path, without leaving it to the program.

    :raises ValueError: if there is none.
    """
    if "tomli" in sys.modules:
        return sys.modules["tomli"]
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    spec = PathFinder.find_spec("tomli", [ours, *sys.path])
    if spec is None or spec.loader is None:
        raise ValueError("cannot be read: it needs Python 3.11, or the package tomli beside apm-run")
    module = module_from_spec(spec)
    sys.modules["tomli"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"cannot be read: tomli cannot be loaded: {_one_line(error)}") from None
    finally:
        for name in [name for name in sys.modules if name == "tomli" or name.startswith("tomli.")]:
            del sys.modules[name]
    return module
