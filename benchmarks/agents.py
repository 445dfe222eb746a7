"""The agents that are compared, each in an environment of its own, made from its package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

#: What the measured programs need, the same for each agent.
PROGRAMS = ("flask", "fastapi", "httpx<1", "requests", "sqlalchemy>=2,<2.1", "gunicorn", "uvicorn")
_OTEL = (
    "opentelemetry-distro",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-fastapi",
    "opentelemetry-instrumentation-sqlite3",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-httpx",
    "opentelemetry-instrumentation-sqlalchemy",
)


class Agent(NamedTuple):
    """One agent.

    :ivar distribution: whose version is shown. :ivar packages: what is installed for it.
    :ivar launcher: words before the program's. :ivar environment: the variables that send its events to a server.
    :ivar options: words for the launcher that name the service, where it takes any.
    """

    name: str
    distribution: str
    packages: tuple[str, ...]
    launcher: tuple[str, ...]
    environment: Callable[[str], dict[str, str]]
    options: tuple[str, ...] = ()


AGENTS = (
    Agent("bare", "", (), (), lambda url: {}),
    Agent(
        "apm-run",
        "apm-run",
        (str(ROOT),),
        ("apm-run",),
        lambda url: {"ELASTIC_APM_SERVER_URL": url, "ELASTIC_APM_SERVICE_NAME": "bench"},
        ("--service-name=bench",),
    ),
    Agent(
        "elastic-apm",
        "elastic-apm",
        ("elastic-apm[flask]",),
        ("elasticapm-run",),
        lambda url: {
            "ELASTIC_APM_SERVER_URL": url,
            "ELASTIC_APM_SERVICE_NAME": "bench",
            "ELASTIC_APM_CENTRAL_CONFIG": "false",
            "ELASTIC_APM_CLOUD_PROVIDER": "none",
        },
    ),
    Agent(
        "opentelemetry",
        "opentelemetry-distro",
        _OTEL,
        ("opentelemetry-instrument",),
        lambda url: {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": "bench",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        },
        ("--service_name=bench",),
    ),
    Agent(
        "ddtrace",
        "ddtrace",
        ("ddtrace",),
        ("ddtrace-run",),
        lambda url: {
            "DD_TRACE_AGENT_URL": url,
            "DD_SERVICE": "bench",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_CRASHTRACKING_ENABLED": "false",
        },
    ),
    Agent(
        "newrelic",
        "newrelic",
        ("newrelic",),
        ("newrelic-admin", "run-program"),
        # It insists on TLS and an account: in its developer mode it makes its payloads and answers itself.
        lambda url: {
            "NEW_RELIC_LICENSE_KEY": "0" * 40,
            "NEW_RELIC_APP_NAME": "bench",
            "NEW_RELIC_DEVELOPER_MODE": "true",
            "NEW_RELIC_LOG": "/dev/null",
        },
    ),
)


def environment(agent: Agent, folder: Path) -> Path:
    """The ``bin`` of an agent's environment, made where it is not there yet; our own is always made anew."""
    place = folder / agent.name
    python = place / "bin" / "python"
    if not (place / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        _install(python, "--upgrade", "pip")
        _install(python, "--pre" if agent.name == "opentelemetry" else "--no-compile", *agent.packages, *PROGRAMS)
        (place / ".ready").touch()
    elif agent.name == "apm-run":
        _install(python, "--force-reinstall", "--no-deps", *agent.packages)
    subprocess.run([str(python), "-m", "compileall", "-q", str(place / "lib")], check=False, stdout=subprocess.DEVNULL)
    return place / "bin"


def _install(python: Path, *words: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *words], check=True)


def version(agent: Agent, folder: Path) -> str:
    """The version of an agent; empty for none."""
    if not agent.distribution:
        return ""
    words = f"from importlib.metadata import version; print(version({agent.distribution!r}))"
    python = folder / agent.name / "bin" / "python"
    return subprocess.run([str(python), "-c", words], check=True, capture_output=True, text=True).stdout.strip()
