"""What is in a bundle: the agent as it is installed here, and the pure Python packages that its launcher uses."""

from __future__ import annotations

import os
import re
import zipfile

from apm_run.cli import bundle_place, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is taken from a package: no bytecode, no C, no editor's leftovers.
_SOURCES = (".py", "py.typed", ".html", ".css", ".js", ".svg", ".sql")
_LICENCES = re.compile(r"(^|/)(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)
_LICENCE = "LICENSE"
_ANEW = "install it anew, with pip install --force-reinstall"


class Unusable(Exception):
    """A part of the bundle can not be had; the message names the option and what to do."""


class Part:
    """One dependency.

    :ivar version: as its metadata has it, "(version unknown)" without.
    :ivar oldest: (major, minor) of the oldest Python that it takes.
    :ivar files: path inside the bundle -> content.
    """

    __slots__ = ("files", "oldest", "version")

    def __init__(self, files: dict[str, bytes], metadata: str) -> None:
        self.files = files
        headers = metadata.partition("\n\n")[0]
        version = re.search(r"(?m)^Version: *(\S+)", headers)
        oldest = re.search(r"(?m)^Requires-Python:.*>= *(\d+)\.(\d+)", headers)
        self.version = version[1] if version else "(version unknown)"
        self.oldest = (int(oldest[1]), int(oldest[2])) if oldest else (3, 0)

    def preference(self, oldest: tuple[int, int]) -> tuple[bool, list[int]]:
        """Return what to sort by: one that takes the ``oldest`` Python first, then the newest."""
        return self.oldest <= oldest, [int(number) for number in re.findall(r"\d+", self.version)]


def agent() -> dict[str, bytes]:
    """Return the files of the agent: the package, the bootstrap, the launcher, the licence.

    :raises Unusable: this installation lacks one of them.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    bootstrap = launch.bootstrap()
    if bootstrap is None:
        raise Unusable(f"this installation of apm-run has no bootstrap; {_ANEW}")
    files = dict(_package(package, "apm_run"))
    for name in (bundle_place.ENTRY, bundle_place.COPY):
        files[name] = files[f"apm_run/cli/{os.path.basename(name)}"] = _read(
            os.path.join(package, "cli", os.path.basename(name))
        )
    files[bundle_place.LAST] = _read(os.path.join(bootstrap, "sitecustomize.py"))
    files[_LICENCE] = _licence(os.path.dirname(package))
    return files


def _licence(root: str) -> bytes:
    """Return our licence, out of a bundle, an installed package or a checkout."""
    from importlib.metadata import distributions

    if os.path.exists(os.path.join(root, bundle_place.MARKER)):
        return _read(os.path.join(root, _LICENCE))
    for found in distributions(name="apm-run", path=[root]):
        text = found.read_text(f"licenses/{_LICENCE}")
        if text:
            return text.encode()
    path = os.path.join(os.path.dirname(root), _LICENCE)
    if os.path.isfile(path):
        return _read(path)
    raise Unusable(f"this installation of apm-run has no licence file; {_ANEW}")


def wheels_of(name: str, folder: str) -> list[str]:
    """Return the names of the package's wheels in a directory."""
    return sorted(file for file in os.listdir(folder) if re.match(f"{name}-[^-]+-.*\\.whl$", file))


def dependency(name: str, wheels: str | None, oldest: tuple[int, int]) -> Part | None:
    """Return the package ``name``, from the best of the ``wheels``, else as it is installed; None if there is none.

    :param oldest: the Python that it should take, if one of several wheels does.
    :raises Unusable: a wheel is broken.
    """
    if wheels is not None:
        parts = [_of_wheel(os.path.join(wheels, file), name) for file in wheels_of(name, wheels)]
        if parts:
            return max(parts, key=lambda part: part.preference(oldest))
    return _installed(name)


def _installed(name: str) -> Part | None:
    from importlib.metadata import PackageNotFoundError, distribution
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    files = dict(_package(spec.submodule_search_locations[0], name))
    metadata = ""
    try:
        found = distribution(name)
    except PackageNotFoundError:  # it works without, so it is taken without
        pass
    else:
        files.update(_info(str(found.locate_file(f"{name}-{found.version}.dist-info"))))
        # Debian's packages have a PKG-INFO in its place.
        metadata = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return Part(files, metadata) if f"{name}/__init__.py" in files else None


def _of_wheel(path: str, name: str) -> Part:
    files = dict(_wheel(path, name))
    metadata = next((data for file, data in files.items() if file.endswith(".dist-info/METADATA")), b"")
    return Part(files, metadata.decode("utf-8", "replace"))


def _info(folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield metadata and licences out of a ``.dist-info`` directory."""
    for path, _folders, names in os.walk(folder):
        for name in names:
            inside = os.path.relpath(os.path.join(path, name), folder).replace(os.sep, "/")
            if _of_info(inside):
                yield f"{os.path.basename(folder)}/{inside}", _read(os.path.join(path, name))


def _of_info(inside: str) -> bool:
    return inside == "METADATA" or inside.startswith("licenses/") or bool(_LICENCES.search(inside))


def _package(folder: str, name: str) -> Iterator[tuple[str, bytes]]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(entry for entry in folders if entry not in {"__pycache__", "_bootstrap"})
        for entry in sorted(names):
            if entry.endswith(_SOURCES):
                full = os.path.join(path, entry)
                yield f"{name}/{os.path.relpath(full, folder).replace(os.sep, '/')}", _read(full)


def _wheel(path: str, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a wheel that a bundle takes; of a compiled one, the Python sources it was made of."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if f"{name}/__init__.py" not in members:
                raise Unusable(f"--wheels: {path} has no {name}/__init__.py; download it anew")
            for member in sorted(members):
                top, _, inside = member.partition("/")
                wanted = member.endswith(_SOURCES) if top == name else top.endswith(".dist-info") and _of_info(inside)
                if wanted and not member.endswith("/") and ".." not in member.split("/"):
                    yield member, archive.read(member)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise Unusable(f"--wheels: {path} can not be read ({error}); download it anew") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
