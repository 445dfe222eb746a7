"""Fixtures that any test may use; the strict switch; what a run has shown and what it has left out."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter

# Before anything of ours is imported: an error of the agent's fails the test, here and in launched programs.
os.environ["APM_RUN_STRICT"] = "1"
# gRPC's threads are busy in this process, which other tests fork; what they start begins as without this.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import hypothesis
import pytest
from tests.receiver import SCHEMAS, Sink
from tests.tls import Authority

# A busy machine is no failure, and what was found belongs into a test and not into a file.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")


@pytest.fixture
def sink():
    """A receiver of its own; the test fails at its end when an invalid event came in."""
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """A certificate authority."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    return Authority(tmp_path_factory.mktemp("tls"))


def _skipped(config) -> Counter:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skips = reporter.stats.get("skipped", ()) if reporter else ()
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skips)


def pytest_sessionfinish(session):
    """In CI a skip that an install would cure is a failure: .ci/run installs everything."""
    words = ("not installed", "could not import", "no openssl", "no busybox", "no bash", "no dash")
    curable = [reason for reason in _skipped(session.config) if any(word in reason for word in words)]
    if os.environ.get("APM_RUN_CI") and curable and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.pluginmanager.get_plugin("terminalreporter").line(f"skips that CI does not allow: {curable}")


def pytest_terminal_summary(terminalreporter, config):
    present = "present" if SCHEMAS.exists() else "absent: events are judged by our own model only"
    terminalreporter.section("what this run shows")
    terminalreporter.line(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}")
    terminalreporter.line(f"../shared/fixtures: {present}")
    reasons = _skipped(config)
    terminalreporter.line(f"skipped: {sum(reasons.values())}")
    for reason, times in sorted(reasons.items()):
        terminalreporter.line(f"  {times} x {reason}")
