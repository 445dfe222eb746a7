"""The metadata, against the published schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from apm_run import config
from apm_run.collect import container, host, metadata
from apm_run.intake.limits import MAX_EVENT_SIZE
from apm_run.version import __version__

SCHEMA = Path(__file__).parents[4] / "shared/fixtures/schema/metadata.json"
LONG = "x\u00e9" * 1000


def build(framework: tuple[str, str] | None = None, activation: str | None = None, **options: str) -> dict[str, Any]:
    settings, problems = config.load({f"ELASTIC_APM_{name.upper()}": value for name, value in options.items()})
    assert problems == []
    return metadata.build(settings, activation, framework)


def check(event: dict[str, Any]) -> None:
    line = metadata.line(event)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_EVENT_SIZE
    sent = json.loads(line)
    assert list(sent) == ["metadata"]
    if SCHEMA.exists():
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(sent["metadata"])


def test_schema_is_there() -> None:
    if not SCHEMA.exists():
        pytest.skip("../shared/fixtures is not there")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate({"service": {"name": "x" * 1025}})


def test_without_any_option() -> None:
    found = build()
    check(found)
    version = ".".join(map(str, sys.version_info[:3]))
    agent = found["service"].pop("agent")
    assert agent.pop("ephemeral_id").isalnum()
    assert agent == {"name": "python", "version": __version__}
    assert found["service"].pop("name")
    found["service"].pop("version", None)
    assert found["service"] == {
        "language": {"name": "python", "version": version},
        "runtime": {"name": "CPython", "version": version},
    }
    assert (found["process"]["pid"], found["process"]["ppid"]) == (os.getpid(), os.getppid())
    assert set(found["process"]) <= {"pid", "ppid", "title"}
    assert found["system"]["architecture"] == os.uname().machine
    assert found["system"]["platform"] == "linux"
    assert found["system"]["detected_hostname"] == host.detect(os.environ)
    assert found["system"].get("container", {}).get("id") == container.discover()[0]
    assert "labels" not in found


def test_with_every_option() -> None:
    found = build(
        ("flask", "3.0"),
        "wrapper",
        service_name="my shop/1",
        service_version="1.2",
        environment="prod",
        service_node_name="n1",
        hostname="h1",
        framework_version="9",
        global_labels='a.b*"c=1,d=x',
    )
    check(found)
    service = found["service"]
    assert (service["name"], service["version"], service["environment"]) == ("my shop_1", "1.2", "prod")
    assert service["node"] == {"configured_name": "n1"}
    assert service["framework"] == {"name": "flask", "version": "9"}
    assert service["agent"]["activation_method"] == "wrapper"
    assert found["system"]["configured_hostname"] == "h1"
    assert found["labels"] == {"a_b__c": "1", "d": "x"}


def test_everything_is_cut() -> None:
    names = ("service_name", "service_version", "environment", "service_node_name", "hostname", "framework_name")
    found = build(("x", LONG), LONG, **dict.fromkeys(names, LONG), global_labels=f"{LONG}={LONG}")
    check(found)
    assert found["service"]["name"] == ("x_" * 512)
    assert len(found["service"]["environment"]) == 1024
    assert found["service"]["environment"].endswith("\u2026")
    assert [len(text) for pair in found["labels"].items() for text in pair] == [1024, 1024]


def test_every_process_has_its_own_ephemeral_id() -> None:
    assert build()["service"]["agent"]["ephemeral_id"] != build()["service"]["agent"]["ephemeral_id"]
    settings = config.load({})[0]
    given = metadata.build(settings, None, None, ephemeral_id="e1")
    assert given["service"]["agent"]["ephemeral_id"] == "e1"


def test_kubernetes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAMESPACE", "NODE_NAME", "POD_NAME", "POD_UID"):
        monkeypatch.setenv(f"KUBERNETES_{name}", name.lower())
    found = build()
    check(found)
    assert found["system"]["kubernetes"] == {
        "namespace": "namespace",
        "node": {"name": "node_name"},
        "pod": {"name": "pod_name", "uid": "pod_uid"},
    }


def test_pod_found_in_the_cgroup_is_named_after_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAMESPACE", "NODE_NAME", "POD_NAME", "POD_UID"):
        monkeypatch.delenv(f"KUBERNETES_{name}", raising=False)
    monkeypatch.setattr(container, "discover", lambda: ("c1", "p1"))
    system = build()["system"]
    assert system["kubernetes"] == {"pod": {"name": host.short_name(), "uid": "p1"}}
    assert system["container"] == {"id": "c1"}


class TestArguments:
    def test_are_sent_on_request_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "orig_argv", ["python", "x.py", LONG], raising=False)
        assert "argv" not in build()["process"]
        found = build(include_process_args="true")
        check(found)
        assert found["process"]["argv"] == ["python", "x.py", LONG[:1023] + "\u2026"]

    def test_where_the_original_ones_are_not_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(sys, "orig_argv", raising=False)
        monkeypatch.setattr(sys, "argv", ["x.py", 3])
        assert build(include_process_args="true")["process"]["argv"] == ["x.py"]

    def test_too_many_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "orig_argv", ["x" * 100] * 4000, raising=False)
        found = build(include_process_args="true", global_labels="a=b")
        check(found)
        sent = json.loads(metadata.line(found))["metadata"]
        assert "argv" not in sent["process"]
        assert sent["process"]["pid"] == os.getpid()
        assert sent["labels"] == {"a": "b"}
        assert len(found["process"]["argv"]) == 4000


def test_too_many_labels_are_left_out() -> None:
    found = build(global_labels=",".join(f"k{number}={'v' * 1000}" for number in range(400)))
    check(found)
    assert set(json.loads(metadata.line(found))["metadata"]) == {"service", "process", "system"}


def test_what_no_json_can_hold_costs_nothing_else() -> None:
    assert json.loads(metadata.line({"service": {"x": float("nan")}})) == {"metadata": {"service": {"x": "nan"}}}


def test_bytes_in_the_environment_that_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_NAMESPACE", "a\udcffb")
    json.loads(metadata.line(build()).decode("ascii"))


class TestWhatRuns:
    def test_odd_main_modules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Odd(types.ModuleType):
            def __getattr__(self, name: str) -> object:
                raise RuntimeError(name)

        monkeypatch.setattr(sys, "argv", ["/srv/orders/job.py", object()])
        for main in (Odd("__main__"), object(), None):
            monkeypatch.setitem(sys.modules, "__main__", main)  # type: ignore[arg-type]
            assert build()["service"]["name"] == "job"
        monkeypatch.delattr(sys, "argv")
        assert build()["service"]["name"] == "python"

    def test_working_directory_that_was_removed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        tmp_path.rmdir()
        monkeypatch.setattr(sys, "argv", ["/venv/bin/gunicorn"])
        monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
        assert build()["service"]["name"] == "gunicorn"

    def test_pre_release_and_other_interpreters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 14, 0, "candidate", 2))
        monkeypatch.setattr(sys, "pypy_version_info", (7, 3, 17, "final", 0), raising=False)
        monkeypatch.setattr(sys, "implementation", types.SimpleNamespace(name="pypy"))
        service = build()["service"]
        assert service["language"]["version"] == "3.14.0rc2"
        assert service["runtime"] == {"name": "PyPy", "version": "7.3.17"}
        monkeypatch.setattr(sys, "implementation", types.SimpleNamespace(name="other"))
        assert build()["service"]["runtime"]["name"] == "other"

    def test_a_system_without_proc_and_uname(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(container, "contents", lambda path: "")
        monkeypatch.delattr(os, "uname")
        monkeypatch.setenv("PROCESSOR_ARCHITECTURE", "AMD64")
        found = build()
        assert found["process"]["title"] == os.path.basename(sys.executable)
        assert found["system"]["architecture"] == "AMD64"
        assert found["system"]["platform"] == sys.platform

    @pytest.mark.parametrize(
        ("arguments", "want"),
        [
            (["checkout.py"], "checkout"),
            (["main.py"], "shop"),
            (["-m", "orders"], "orders"),
            (["-m", "orders.worker"], "orders-worker"),
            (["."], "shop"),
            (["-c", "from main import show; show()"], "python"),
            (["-"], "python"),
        ],
    )
    def test_real_programs(self, tmp_path: Path, arguments: list[str], want: str) -> None:
        folder = tmp_path / "shop"
        (folder / "orders").mkdir(parents=True)
        code = (
            "import apm_run.config as c, apm_run.collect.metadata as m\n"
            "def show(): print(m.build(c.load({})[0], None, None)['service']['name'])\n"
        )
        for name in ("main.py", "checkout.py", "__main__.py", "orders/__main__.py", "orders/worker.py"):
            (folder / name).write_text(code + "if __name__ == '__main__': show()\n")
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={"PYTHONPATH": str(Path(config.__file__).parents[2])},
            input=code + "show()\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == (want + "\n", "")


def test_nothing_heavy_is_imported_to_build_it() -> None:
    code = (
        "import os, sys; before = set(sys.modules); import apm_run.config as c, apm_run.collect.metadata as m\n"
        "m.build(c.load()[0], None, None)\n"
        "seen = {n for n in set(sys.modules) - before if not n.startswith('apm_run')}\n"
        "print(sorted(seen - {'__future__', '_json'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(Path(config.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
