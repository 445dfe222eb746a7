"""The metadata: the first line of every request, with what is the same for all events of a process.

spec.md section 3.
"""

from __future__ import annotations

import os
import sys

from apm_run.collect import container, host
from apm_run.config.service import clean, detect_service
from apm_run.intake import plain
from apm_run.intake.limits import MAX_EVENT_SIZE, cut
from apm_run.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from apm_run.config import Settings

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalPy"}
_LABEL_KEYS = str.maketrans('.*"', "___")


def build(
    settings: Settings,
    activation_method: str | None,
    framework: tuple[str, str] | None,
    ephemeral_id: str | None = None,
) -> dict[str, Any]:
    """Return the metadata of this process as of now: to be built anew after a fork.

    :param activation_method: ``wrapper`` if the launcher started the agent; None if nobody knows.
    :param framework: name and version of the web framework that was seen; the options take precedence.
    :param ephemeral_id: an id of this process; a random one without it.
    :return: the object inside ``{"metadata": ...}``, with what is known, every keyword cut to its limit.
    """
    metadata: dict[str, Any] = {
        "service": _service(settings, activation_method, framework, ephemeral_id or os.urandom(16).hex()),
        "process": _process(settings),
        "system": _system(settings, os.environ),
    }
    if settings.global_labels:
        metadata["labels"] = {
            cut(key.translate(_LABEL_KEYS)): cut(value) for key, value in settings.global_labels.items()
        }
    return metadata


def line(metadata: dict[str, Any]) -> bytes:
    """Return ``metadata`` as the line of a request, its newline included.

    A line above the limit would lose the whole request: the arguments of the process are left out of one that
    is, then the labels, since nothing else is without a bound of its own.
    """
    encoded = plain.line("metadata", metadata)
    if len(encoded) > MAX_EVENT_SIZE:
        process = {key: value for key, value in metadata["process"].items() if key != "argv"}
        metadata = {**metadata, "process": process}
        encoded = plain.line("metadata", metadata)
    if len(encoded) > MAX_EVENT_SIZE:
        encoded = plain.line("metadata", {key: value for key, value in metadata.items() if key != "labels"})
    return encoded


def _known(**entries: Any) -> dict[str, Any]:
    """Leave out what is not known, cut the texts."""
    return {key: cut(value) if isinstance(value, str) else value for key, value in entries.items() if value}


def service_name(settings: Settings) -> str:
    """The service's name, as events show it."""
    return _named(settings, _detected_service()[0])


def _named(settings: Settings, detected: str) -> str:
    return clean(settings.service_name) if settings.service_name else detected


def _service(
    settings: Settings, activation_method: str | None, framework: tuple[str, str] | None, ephemeral_id: str
) -> dict[str, Any]:
    name, version = _detected_service()
    framework_name, framework_version = framework or (None, None)
    return _known(
        name=_named(settings, name),
        version=settings.service_version or version,
        environment=settings.environment,
        agent=_known(
            # Kibana offers the options of the official agent by this name, and we have the same ones.
            name="python",
            version=__version__,
            ephemeral_id=ephemeral_id,
            activation_method=activation_method,
        ),
        language={"name": "python", "version": _version(sys.version_info)},
        runtime=_runtime(),
        framework=_known(
            name=settings.framework_name or framework_name,
            version=settings.framework_version or framework_version,
        ),
        node=_known(configured_name=settings.service_node_name),
    )


def _detected_service() -> tuple[str, str | None]:
    # Its namespace and not its attributes: the program may define a __getattr__.
    main = getattr(sys.modules.get("__main__"), "__dict__", {})
    path = main.get("__file__")
    module = getattr(main.get("__spec__"), "name", None)
    try:
        cwd = os.getcwd()
    except OSError:  # it was removed
        cwd = ""
    return detect_service(
        [argument for argument in getattr(sys, "argv", ()) if isinstance(argument, str)],
        path if isinstance(path, str) else None,
        cwd,
        os.environ,
        # The spec of a script in a zip file or directory is called __main__, too.
        module if isinstance(module, str) and module != "__main__" else None,
    )


def _runtime() -> dict[str, str]:
    name = sys.implementation.name
    own = getattr(sys, "pypy_version_info", sys.version_info)
    return {"name": cut(_IMPLEMENTATIONS.get(name, name)), "version": _version(own)}


def _version(info: Any) -> str:
    level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info[3])
    return f"{info[0]}.{info[1]}.{info[2]}" + (f"{level}{info[4]}" if level else "")


def _process(settings: Settings) -> dict[str, Any]:
    process = _known(pid=os.getpid(), ppid=os.getppid(), title=_title())
    if settings.include_process_args:
        arguments: Any = getattr(sys, "orig_argv", None) or getattr(sys, "argv", ())
        process["argv"] = [cut(argument) for argument in arguments if isinstance(argument, str)]
    return process


def _title() -> str:
    return container.contents("/proc/self/comm").strip() or os.path.basename(sys.executable or "")


def _system(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    container_id, pod_uid = container.discover()
    pod_name = environ.get("KUBERNETES_POD_NAME") or (host.short_name() if pod_uid else None)
    kubernetes = _known(
        namespace=environ.get("KUBERNETES_NAMESPACE"),
        node=_known(name=environ.get("KUBERNETES_NODE_NAME")),
        pod=_known(name=pod_name, uid=environ.get("KUBERNETES_POD_UID") or pod_uid),
    )
    uname = os.uname() if hasattr(os, "uname") else None
    return _known(
        architecture=uname.machine if uname else environ.get("PROCESSOR_ARCHITECTURE"),
        platform=uname.sysname.lower() if uname else sys.platform,
        configured_hostname=settings.hostname,
        detected_hostname=host.detect(environ),
        container=_known(id=container_id),
        kubernetes=kubernetes,
    )
