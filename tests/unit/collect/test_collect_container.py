"""Container and pod, against the published cases and the rules of spec.md 3.2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apm_run.collect import container

FIXTURE = Path(__file__).parents[4] / "shared/fixtures/json-specs/container_metadata_discovery.json"
HEX64 = "0123456789abcdefABCDEF0123456789" * 2
UUID = "90d81341-92de-11e7-8cf2-507b9d4141fa"


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is not there")
def test_published_cases() -> None:
    cases = json.loads(FIXTURE.read_text())
    assert len(cases) == 6
    for name, case in cases.items():
        texts = ["\n".join(case["files"].get(f"/proc/self/{file}", ())) for file in ("cgroup", "mountinfo")]
        assert container.find(*texts) == (case["containerId"], case["podId"]), name


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/", (None, None)),
        ("", (None, None)),
        (f"/docker/{HEX64}", (HEX64, None)),
        (f"/docker/{HEX64}0", (None, None)),
        (f"/docker/{HEX64[:-1]}", (None, None)),
        (f"/docker/{HEX64[:-1]}g", (None, None)),
        (f"/system.slice/docker-{HEX64}.scope", (HEX64, None)),
        (f"/garden/{UUID}", (UUID, None)),
        ("/garden/90d81341-92de-11e7-8cf2-507b", ("90d81341-92de-11e7-8cf2-507b", None)),
        ("/garden/90d81341-92de-11e7-8cf2-507", (None, None)),
        ("/garden/90d81341-92de-11e7-8cf2-507z", (None, None)),
        ("/garden/90d8134-92de-11e7-8cf2-507b", (None, None)),
        ("/garden/90d81341-92de-11e7", (None, None)),
        ("/garden/90d81341-92de-11e7-8cf2-507b-1", (None, None)),
        (f"/ecs/x/{HEX64[:32]}-1234567890", (f"{HEX64[:32]}-1234567890", None)),
        (f"/ecs/x/{HEX64[:32]}-12345678901", (None, None)),
        (f"/ecs/x/{HEX64[:32]}-", (None, None)),
        (f"/ecs/x/{HEX64[:32]}-\u0661", (None, None)),
        (f"/ecs/x/{HEX64[:31]}-1", (None, None)),
        ("/kubepods/besteffort/podab-c/anything", ("anything", "ab-c")),
        ("/kubepods/podab_c/x", ("x", "ab-c")),
        ("/kubepods/pod/x", (None, None)),
        ("/kubepods/xab/x", (None, None)),
        ("/kubepods x/podab/x", (None, None)),
        ("/x/kubepods/podab/x", (None, None)),
        ("/kubepods.slice/kubepods-podab_c.slice:cri-containerd:1:x", ("x", "ab-c")),
        ("/kubepods.slice/kubepods-burst-pod1-pod2.slice/crio-77.scope", ("77", "2")),
        ("/kubepods.slice/kubepods-pod1-pod.slice/crio-77.scope", ("77", "1-pod")),
        ("/kubepods.slice/kubepods-pod.slice/crio-77.scope", (None, None)),
        ("/x.slice-kubepods/crio-77.scope", (None, None)),
        ("/kubepods-x.slice/crio-77.scope", (None, None)),
    ],
)
def test_cgroup_paths(path: str, want: tuple[str | None, str | None]) -> None:
    assert container.find(f"0::{path}\n", "") == want
    assert container.find(f"5:cpu,cpuacct:/\n1:name=systemd:{path}", "") == want


def test_lines_that_are_none() -> None:
    assert container.find("\n::\nx\n1:2\n", "\n/etc/hostname\n1 2 3 / /etc/hostname\n") == (None, None)


def test_cgroup_wins_over_mountinfo() -> None:
    mount = f"1 2 8:3 /x/{HEX64}/hostname /etc/hostname ro"
    other = f"1 2 8:3 /x/{HEX64}/hostname /etc/hosts ro"
    assert container.find("0::/\n", f"{other}\n{mount}") == (HEX64, None)
    assert container.find("0::/\n", other) == (None, None)
    assert container.find(f"0::/docker/{'a' * 64}\n", mount) == ("a" * 64, None)


def test_long_hex_run_is_the_first_64_digits() -> None:
    assert container.find("", f"1 2 3 /zz/{'b' * 63}/{'a' * 70} /etc/hostname") == ("a" * 64, None)


def test_this_process_is_read() -> None:
    assert container.contents("/proc/self/comm").strip()
    assert container.contents("/nonexistent") == ""
    texts = [container.contents(f"/proc/self/{file}") for file in ("cgroup", "mountinfo")]
    assert container.discover() == container.find(*texts)
